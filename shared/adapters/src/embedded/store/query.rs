//! Queries as SQL over the composite index that the port declares for them.

use oscillink_ports::{Collection, DocKey, Op, Operand, PortError, Query};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::Value;

use super::field::Field;
use super::{rules, table};
use crate::embedded::error::EmbeddedError;

/// A statement and its parameters.
#[derive(Debug)]
pub(super) struct Plan {
    sql: String,
    operands: Vec<Operand>,
    limit: i64,
}

impl Plan {
    /// Ids and bodies of a page.
    pub(super) fn documents(query: &Query) -> Result<Self, PortError> {
        let (mut conditions, mut operands) = conditions(query);
        if let Some(cursor) = &query.after {
            let direction = if query.descending { "<" } else { ">" };
            conditions.push_str(&format!(
                " AND (f_{}, id) {direction} (?, ?)",
                query.order_by
            ));
            operands.push(cursor.value.clone());
            operands.push(Operand::Text(cursor.id.clone()));
        }
        let order = if query.descending { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT id, body FROM {} WHERE {conditions} ORDER BY f_{} {order}, id {order} LIMIT ?",
            source(query)?,
            query.order_by,
        );
        Ok(Self::new(sql, operands, query))
    }

    /// The number of matches, at most the query's limit.
    pub(super) fn count(query: &Query) -> Result<Self, PortError> {
        let (conditions, operands) = conditions(query);
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {} WHERE {conditions} LIMIT ?)",
            source(query)?
        );
        Ok(Self::new(sql, operands, query))
    }

    fn new(sql: String, operands: Vec<Operand>, query: &Query) -> Self {
        Self {
            sql,
            operands,
            limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn documents_of(
        &self,
        connection: &Connection,
        collection: Collection,
    ) -> Result<Vec<(String, Value)>, EmbeddedError> {
        let mut statement = connection.prepare_cached(&self.sql)?;
        let mut rows = statement.query(params_from_iter(self.values()))?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            let key = DocKey::new(collection, row.get::<_, String>(0)?);
            let text = row.get_ref(1)?;
            let text = text
                .as_bytes()
                .map_err(|error| EmbeddedError::malformed(key.to_string(), error))?;
            let body = rules::parse(text, &key)?;
            documents.push((key.id, body));
        }
        Ok(documents)
    }

    pub(super) fn counted(&self, connection: &Connection) -> Result<u64, EmbeddedError> {
        let mut statement = connection.prepare_cached(&self.sql)?;
        let count: i64 = statement.query_row(params_from_iter(self.values()), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn values(&self) -> Vec<Box<dyn ToSql + '_>> {
        self.operands
            .iter()
            .map(|operand| Box::new(Field::from(operand)) as Box<dyn ToSql>)
            .chain([Box::new(self.limit) as Box<dyn ToSql>])
            .collect()
    }
}

/// The table, read by the index made for this query.
fn source(query: &Query) -> Result<String, PortError> {
    let collection = query.collection;
    let mut wanted = Vec::new();
    for filter in &query.filters {
        if filter.field != query.order_by {
            if filter.op != Op::Eq {
                return Err(refused(query, "a range on a field that is not the order's"));
            }
            if !wanted.contains(&filter.field) {
                wanted.push(filter.field);
            }
        }
    }
    let index = table::of(collection).index_for(collection, &wanted, query.order_by);
    let index = index.ok_or_else(|| refused(query, "no composite index"))?;
    Ok(format!("{} INDEXED BY {index}", table::name(collection)))
}

fn conditions(query: &Query) -> (String, Vec<Operand>) {
    // A document without the order field has no place in the order.
    let mut sql = format!("f_{} IS NOT NULL", query.order_by);
    let mut operands = Vec::with_capacity(query.filters.len());
    for filter in &query.filters {
        let op = match filter.op {
            Op::Eq => "=",
            Op::Le => "<=",
            Op::Lt => "<",
            Op::Ge => ">=",
        };
        sql.push_str(&format!(" AND f_{} {op} ?", filter.field));
        operands.push(filter.value.clone());
    }
    (sql, operands)
}

fn refused(query: &Query, why: &str) -> PortError {
    let fields: Vec<&str> = query.filters.iter().map(|f| f.field).collect();
    PortError::Refused {
        detail: format!(
            "query of {} by {fields:?} ordered by {}: {why}",
            query.collection.as_str(),
            query.order_by
        ),
    }
}

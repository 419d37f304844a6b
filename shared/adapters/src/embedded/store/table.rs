//! The statements of each collection's table, and the indexes that its queries use.

use std::fmt::Write as _;
use std::sync::LazyLock;

use oscillink_ports::Collection;

/// What does not depend on the query or on what changes.
pub(super) struct Table {
    /// `(id) -> body`.
    pub(super) read_body: String,
    /// `(id) -> rowid, body`.
    pub(super) read_row: String,
    /// `(id, body, fields…)`.
    pub(super) insert: String,
    /// `(rowid)`.
    pub(super) delete: String,
    indexes: Vec<Index>,
}

/// An index of the table.
///
/// One index serves several of the collection's composite indexes where all it takes is to skip
/// entries: jobs by key and time also answer for jobs by key, status and time, since the status is
/// kept in the entry. A list by status then passes over the key's other jobs, which is cheap and
/// rare; in return each change of a job touches three indexes fewer, which is dear and constant.
struct Index {
    name: String,
    /// Equality fields, in order.
    equal: Vec<&'static str>,
    order: &'static str,
    /// Fields kept in the entry to skip by.
    kept: Vec<&'static str>,
}

static TABLES: LazyLock<Vec<(Collection, Table)>> = LazyLock::new(|| {
    Collection::ALL
        .into_iter()
        .map(|collection| (collection, Table::new(collection)))
        .collect()
});

/// The table of `collection`.
pub(super) fn of(collection: Collection) -> &'static Table {
    let found = TABLES.iter().find(|(name, _)| *name == collection);
    // Invariant: the list is made of every collection.
    &found.expect("every collection has a table").1
}

impl Table {
    fn new(collection: Collection) -> Self {
        let table = name(collection);
        let fields = collection.indexed_fields();
        let columns: String = fields.iter().map(|f| format!(", f_{f}")).collect();
        let marks: String = fields.iter().map(|_| ", ?").collect();
        Self {
            read_body: format!("SELECT body FROM {table} WHERE id = ?"),
            read_row: format!("SELECT rowid, body FROM {table} WHERE id = ?"),
            insert: format!("INSERT INTO {table} (id, body{columns}) VALUES (?, ?{marks})"),
            delete: format!("DELETE FROM {table} WHERE rowid = ?"),
            indexes: indexes(collection),
        }
    }

    /// The index for a query with these equalities, in any order, and this order; `None` if the
    /// collection declares no such composite index.
    pub(super) fn index_for(
        &self,
        collection: Collection,
        equal: &[&str],
        order: &str,
    ) -> Option<&str> {
        let declared = collection.composite_indexes().iter().any(|composite| {
            composite
                .split_last()
                .is_some_and(|(last, first)| *last == order && same(first, equal))
        });
        let index = self.indexes.iter().find(|index| {
            index.order == order
                && index.equal.iter().all(|field| equal.contains(field))
                && equal
                    .iter()
                    .all(|field| index.equal.contains(field) || index.kept.contains(field))
        });
        index.filter(|_| declared).map(|index| index.name.as_str())
    }
}

fn same(a: &[&str], b: &[&str]) -> bool {
    a.len() == b.len() && a.iter().all(|field| b.contains(field))
}

/// The fewest indexes that serve the collection's composite indexes.
fn indexes(collection: Collection) -> Vec<Index> {
    let mut composites = collection.composite_indexes().to_vec();
    composites.sort_by_key(|fields| fields.len());
    let mut indexes: Vec<Index> = Vec::new();
    for fields in composites {
        let Some((order, equal)) = fields.split_last() else {
            continue;
        };
        let serving = indexes.iter_mut().find(|index| {
            index.order == *order
                && !index.equal.is_empty()
                && index.equal.iter().all(|field| equal.contains(field))
        });
        match serving {
            Some(index) => {
                for field in equal {
                    if !index.equal.contains(field) && !index.kept.contains(field) {
                        index.kept.push(field);
                    }
                }
            }
            None => indexes.push(Index {
                name: format!("{}_by_{}", name(collection), fields.join("_")),
                equal: equal.to_vec(),
                order,
                kept: Vec::new(),
            }),
        }
    }
    indexes
}

/// `(body, changed fields…, rowid)`. Columns that keep their value are left out: naming one would
/// have SQLite rewrite every index that contains it.
pub(super) fn update(collection: Collection, changed: &[&str]) -> String {
    let mut sql = format!("UPDATE {} SET body = ?", name(collection));
    for field in changed {
        let _ = write!(sql, ", f_{field} = ?");
    }
    sql.push_str(" WHERE rowid = ?");
    sql
}

/// The collection's table.
pub(super) fn name(collection: Collection) -> String {
    format!("doc_{}", collection.as_str())
}

/// The statements that make all tables.
pub(crate) fn create_tables() -> String {
    let mut sql = String::new();
    for collection in Collection::ALL {
        let table = name(collection);
        let fields = collection.indexed_fields();
        let columns: String = fields.iter().map(|f| format!(", f_{f}")).collect();
        let _ = writeln!(
            sql,
            "CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL{columns});"
        );
        for index in &of(collection).indexes {
            let equal: String = index.equal.iter().map(|f| format!("f_{f}, ")).collect();
            let kept: String = index.kept.iter().map(|f| format!(", f_{f}")).collect();
            let _ = writeln!(
                sql,
                "CREATE INDEX {} ON {table} ({equal}f_{}, id{kept});",
                index.name, index.order
            );
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_composite_index_is_served_in_order() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&create_tables()).unwrap();
        for collection in Collection::ALL {
            for composite in collection.composite_indexes() {
                let (order, equal) = composite.split_last().unwrap();
                let index = of(collection).index_for(collection, equal, order).unwrap();
                let conditions: String = equal.iter().map(|f| format!("f_{f} = ? AND ")).collect();
                let sql = format!(
                    "EXPLAIN QUERY PLAN SELECT id, body FROM {} INDEXED BY {index}
                     WHERE {conditions} f_{order} IS NOT NULL ORDER BY f_{order}, id",
                    name(collection)
                );
                let mut statement = connection.prepare(&sql).unwrap();
                let nothing = vec![rusqlite::types::Value::Null; equal.len()];
                let plan: Vec<String> = statement
                    .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                assert_eq!(plan.len(), 1, "no sorting: {plan:?}");
            }
        }
    }

    #[test]
    fn jobs_by_key_and_time_answer_for_status_and_kind_too() {
        let table = of(Collection::Jobs);
        let index = |equal: &[&str]| table.index_for(Collection::Jobs, equal, "created_at");
        let by_key = index(&["key_id"]);
        assert!(by_key.is_some());
        assert_eq!(index(&["status", "key_id"]), by_key);
        assert_eq!(index(&["kind", "status", "key_id"]), by_key);
        assert_eq!(index(&["status"]), None);
        assert_eq!(index(&["key_id", "live"]), None);
        assert_eq!(table.indexes.len(), 5);
    }
}

//! The port's queries as structured queries, and the indexes that they need.

use firestore::gcloud_sdk::google::firestore::v1::structured_aggregation_query::aggregation::{
    Count, Operator,
};
use firestore::gcloud_sdk::google::firestore::v1::structured_aggregation_query::{
    Aggregation, QueryType,
};
use firestore::gcloud_sdk::google::firestore::v1::structured_query::composite_filter::Operator as Junction;
use firestore::gcloud_sdk::google::firestore::v1::structured_query::field_filter::Operator as Comparison;
use firestore::gcloud_sdk::google::firestore::v1::structured_query::filter::FilterType;
use firestore::gcloud_sdk::google::firestore::v1::structured_query::{
    CollectionSelector, CompositeFilter, Direction, FieldFilter, FieldReference, Filter, Order,
};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{
    Cursor, StructuredAggregationQuery, StructuredQuery, Value,
};
use oscillink_ports::{Op, Operand, PortError, Query};

use super::name::Names;
use super::value::stored;

/// The field that stands for a document's name.
const NAME_FIELD: &str = "__name__";

/// The query that finds the documents of `query`.
pub(super) fn documents(names: &Names, query: &Query) -> Result<StructuredQuery, PortError> {
    check(query)?;
    let direction = if query.descending {
        Direction::Descending
    } else {
        Direction::Ascending
    };
    let order = |field: &str| Order {
        field: Some(reference(field)),
        direction: direction.into(),
    };
    let start_at = query.after.as_ref().map(|cursor| {
        let document = names.place(query.collection, &cursor.id);
        Cursor {
            values: vec![
                operand(&cursor.value),
                stored(ValueType::ReferenceValue(document)),
            ],
            before: false,
        }
    });
    Ok(StructuredQuery {
        from: vec![CollectionSelector {
            collection_id: query.collection.as_str().to_owned(),
            all_descendants: false,
        }],
        r#where: conditions(query),
        // Ordering by the field leaves out documents without it.
        order_by: vec![order(query.order_by), order(NAME_FIELD)],
        start_at,
        // A limit beyond the API's range is none.
        limit: i32::try_from(query.limit).ok(),
        ..StructuredQuery::default()
    })
}

/// The aggregation that counts the documents of `query`, at most its limit.
pub(super) fn count(names: &Names, query: &Query) -> Result<StructuredAggregationQuery, PortError> {
    let mut counted = documents(names, query)?;
    // A count begins at the beginning.
    (counted.start_at, counted.limit) = (None, None);
    let up_to = i64::try_from(query.limit).ok();
    Ok(StructuredAggregationQuery {
        aggregations: vec![Aggregation {
            alias: "count".to_owned(),
            operator: Some(Operator::Count(Count { up_to })),
        }],
        query_type: Some(QueryType::StructuredQuery(counted)),
    })
}

fn conditions(query: &Query) -> Option<Filter> {
    let filters: Vec<Filter> = query
        .filters
        .iter()
        .map(|filter| {
            let op = match filter.op {
                Op::Eq => Comparison::Equal,
                Op::Le => Comparison::LessThanOrEqual,
                Op::Lt => Comparison::LessThan,
                Op::Ge => Comparison::GreaterThanOrEqual,
            };
            Filter {
                filter_type: Some(FilterType::FieldFilter(FieldFilter {
                    field: Some(reference(filter.field)),
                    op: op.into(),
                    value: Some(operand(&filter.value)),
                })),
            }
        })
        .collect();
    (!filters.is_empty()).then(|| Filter {
        filter_type: Some(FilterType::CompositeFilter(CompositeFilter {
            op: Junction::And.into(),
            filters,
        })),
    })
}

fn reference(field: &str) -> FieldReference {
    FieldReference {
        field_path: field.to_owned(),
    }
}

fn operand(value: &Operand) -> Value {
    stored(match value {
        Operand::Bool(value) => ValueType::BooleanValue(*value),
        Operand::Int(value) => ValueType::IntegerValue(*value),
        Operand::Text(value) => ValueType::StringValue(value.clone()),
    })
}

/// Refuses a query that no declared index serves, which the emulator would answer and the service
/// would not.
fn check(query: &Query) -> Result<(), PortError> {
    let mut equal = Vec::new();
    for filter in query.filters.iter().filter(|f| f.field != query.order_by) {
        if filter.op != Op::Eq {
            return Err(refused(query, "a range on a field that is not the order's"));
        }
        if !equal.contains(&filter.field) {
            equal.push(filter.field);
        }
    }
    equal.sort_unstable();
    let served = query.collection.composite_indexes().iter().any(|index| {
        index.split_last().is_some_and(|(order, fields)| {
            let mut fields = fields.to_vec();
            fields.sort_unstable();
            *order == query.order_by && fields == equal
        })
    });
    if served {
        Ok(())
    } else {
        Err(refused(query, "no composite index"))
    }
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

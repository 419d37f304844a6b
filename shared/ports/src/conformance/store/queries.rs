//! Checks of queries: every composite index, ranges, order, pages, counts.

use super::*;
use crate::conformance::unique_number;
use crate::{Cursor, Op, Operand, Query};

/// Indexed fields that are booleans; the others are integers or strings.
const BOOLEANS: &[&str] = &["live", "dead_letter"];
/// Indexed fields that are integers.
const INTEGERS: &[&str] = &[
    "created_at",
    "due_at",
    "expires_at",
    "ts",
    "chain",
    "seq",
    "tag",
    "received_at",
];

/// Documents for one composite index, told apart from all others by values of their own.
struct Sample {
    collection: Collection,
    equal: Vec<(&'static str, Value)>,
    order: &'static str,
    base: i64,
    run: String,
}

impl Sample {
    fn of(collection: Collection, index: &[&'static str]) -> Self {
        let run = unique("q");
        let (order, equal) = index.split_last().expect("an index has fields");
        let equal = equal
            .iter()
            .map(|field| {
                let value = if BOOLEANS.contains(field) {
                    json!(true)
                } else if INTEGERS.contains(field) {
                    json!(7)
                } else {
                    json!(format!("{run}-{field}"))
                };
                (*field, value)
            })
            .collect();
        Self {
            collection,
            equal,
            order,
            base: (unique_number() >> 14) as i64,
            run,
        }
    }

    /// The order field's value number `n`; numbers and texts sort alike.
    fn place(&self, n: i64) -> Value {
        if INTEGERS.contains(&self.order) {
            json!(self.base + n)
        } else {
            json!(format!("{}-{n:04}", self.run))
        }
    }

    fn document(&self, n: i64) -> Value {
        let mut body = json!({ "n": n });
        for (field, value) in &self.equal {
            body[*field] = value.clone();
        }
        body[self.order] = self.place(n);
        body
    }

    fn key(&self, id: &str) -> DocKey {
        DocKey::new(self.collection, format!("{}-{id}", self.run))
    }

    /// Everything of this sample: its equalities, and its part of the order field.
    fn query(&self, limit: usize) -> Query {
        let mut query = Query::new(self.collection, self.order, limit);
        for (field, value) in &self.equal {
            query = query.filter(field, Op::Eq, operand(value));
        }
        query
            .filter(self.order, Op::Ge, operand(&self.place(0)))
            .filter(self.order, Op::Lt, operand(&self.place(1_000)))
    }

    async fn ids(&self, store: &Arc<dyn Store>, query: &Query) -> Vec<String> {
        let page = store.query(query).await;
        let page = page.unwrap_or_else(|error| panic!("{query:?}: {error}"));
        page.documents
            .into_iter()
            .map(|(id, _)| id.replace(&format!("{}-", self.run), ""))
            .collect()
    }
}

fn operand(value: &Value) -> Operand {
    Operand::from_value(value).expect("a string, an integer or a boolean")
}

fn samples() -> impl Iterator<Item = Sample> {
    Collection::ALL.into_iter().flat_map(|collection| {
        collection
            .composite_indexes()
            .iter()
            .map(move |index| Sample::of(collection, index))
    })
}

/// A sample of jobs by key and time.
fn jobs() -> Sample {
    Sample::of(Collection::Jobs, &["key_id", "created_at"])
}

/// Each composite index finds what matches all its fields, in both directions.
pub async fn every_composite_index_is_queried(fixture: &StoreFixture) {
    for sample in samples() {
        let mut writes: Vec<Write> = [3i64, 1, 2]
            .into_iter()
            .map(|n| Write::Create(sample.key(&format!("{n}")), sample.document(n).into()))
            .collect();
        // For each equality, one document that differs in it alone.
        for (field, value) in &sample.equal {
            let mut other = sample.document(2);
            other[*field] = match value {
                Value::Bool(b) => json!(!b),
                Value::Number(_) => json!(8),
                _ => json!("other"),
            };
            writes.push(Write::Create(
                sample.key(&format!("not-{field}")),
                other.into(),
            ));
        }
        write(&fixture.store, writes).await.unwrap();
        let query = sample.query(10);
        let ids = sample.ids(&fixture.store, &query).await;
        assert_eq!(ids, ["1", "2", "3"], "{query:?}");
        let ids = sample.ids(&fixture.store, &query.descending()).await;
        assert_eq!(ids, ["3", "2", "1"], "descending {:?}", sample.query(10));
        assert_eq!(fixture.store.count(&sample.query(10)).await.unwrap(), 3);
        let page = fixture.store.query(&sample.query(10)).await.unwrap();
        assert_eq!(
            page.documents[0].1,
            sample.document(1),
            "the body comes along"
        );
    }
}

/// Each comparison on the order field includes and excludes the right documents.
pub async fn ranges_bound_the_order_field(fixture: &StoreFixture) {
    let sample = jobs();
    let writes = (1..=5)
        .map(|n| Write::Create(sample.key(&n.to_string()), sample.document(n).into()))
        .collect();
    write(&fixture.store, writes).await.unwrap();
    let only_key = || {
        let (field, value) = &sample.equal[0];
        Query::new(sample.collection, sample.order, 100).filter(field, Op::Eq, operand(value))
    };
    let at = |n: i64| operand(&sample.place(n));
    for (query, expected) in [
        (only_key(), "12345"),
        (only_key().filter(sample.order, Op::Ge, at(3)), "345"),
        (only_key().filter(sample.order, Op::Lt, at(3)), "12"),
        (only_key().filter(sample.order, Op::Le, at(3)), "123"),
        (only_key().filter(sample.order, Op::Eq, at(3)), "3"),
        (
            only_key()
                .filter(sample.order, Op::Ge, at(2))
                .filter(sample.order, Op::Le, at(4)),
            "234",
        ),
        (only_key().filter(sample.order, Op::Ge, at(6)), ""),
    ] {
        let ids = sample.ids(&fixture.store, &query).await.concat();
        assert_eq!(ids, expected, "{query:?}");
        let count = fixture.store.count(&query).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{query:?}");
    }
}

/// A document without a filtered field, or without the order field, is not found.
pub async fn documents_without_the_field_do_not_match(fixture: &StoreFixture) {
    let sample = jobs();
    let mut unfiltered = sample.document(1);
    unfiltered.as_object_mut().unwrap().remove("key_id");
    let mut unordered = sample.document(2);
    unordered.as_object_mut().unwrap().remove("created_at");
    let writes = vec![
        Write::Create(sample.key("unfiltered"), unfiltered.into()),
        Write::Create(sample.key("unordered"), unordered.into()),
        Write::Create(sample.key("whole"), sample.document(3).into()),
    ];
    write(&fixture.store, writes).await.unwrap();
    let ids = sample.ids(&fixture.store, &sample.query(10)).await;
    assert_eq!(ids, ["whole"]);
    let (field, value) = &sample.equal[0];
    let unbounded =
        Query::new(sample.collection, sample.order, 10).filter(field, Op::Eq, operand(value));
    assert_eq!(sample.ids(&fixture.store, &unbounded).await, ["whole"]);
}

/// Pages put together give every document once, in the order of `(order field, id)`, also where many
/// have the same value; the last page, not being full, has no cursor.
pub async fn pages_continue_among_equal_values(fixture: &StoreFixture) {
    let sample = jobs();
    let mut expected: Vec<(i64, String)> = Vec::new();
    for n in 0..23i64 {
        let place = [1, 2, 2, 2, 3][n as usize % 5];
        expected.push((place, format!("d{:02}", n * 7 % 23)));
    }
    let writes = expected
        .iter()
        .map(|(place, id)| Write::Create(sample.key(id), sample.document(*place).into()))
        .collect();
    write(&fixture.store, writes).await.unwrap();
    expected.sort_unstable();
    for descending in [false, true] {
        if descending {
            expected.reverse();
        }
        for limit in [1, 4, 10, 23, 24, 100] {
            let mut seen = Vec::new();
            let mut after: Option<Cursor> = None;
            loop {
                let mut query = sample.query(limit).after(after.clone());
                query.descending = descending;
                let page = fixture.store.query(&query).await.unwrap();
                assert!(page.documents.len() <= limit);
                assert!(page.next.is_some() == (page.documents.len() == limit));
                seen.extend(page.documents.into_iter().map(|(id, _)| id));
                after = page.next;
                if after.is_none() {
                    break;
                }
                // A cursor travels to clients as text.
                let text = serde_json::to_string(&after).unwrap();
                after = serde_json::from_str(&text).unwrap();
            }
            let expected: Vec<String> = expected.iter().map(|(_, id)| sample.key(id).id).collect();
            assert_eq!(seen, expected, "limit {limit}, descending {descending}");
        }
    }
}

/// A count is the number of matches, or the limit if there are more.
pub async fn counts_stop_at_the_limit(fixture: &StoreFixture) {
    let sample = jobs();
    let writes = (0..12)
        .map(|n| Write::Create(sample.key(&n.to_string()), sample.document(n).into()))
        .collect();
    write(&fixture.store, writes).await.unwrap();
    for (limit, expected) in [(5, 5), (12, 12), (13, 12), (1_000, 12)] {
        let count = fixture.store.count(&sample.query(limit)).await.unwrap();
        assert_eq!(count, expected, "limit {limit}");
    }
    let none = sample
        .query(10)
        .filter(sample.order, Op::Lt, operand(&sample.place(0)));
    assert_eq!(fixture.store.count(&none).await.unwrap(), 0);
}

/// A query finds documents as the last transaction left them.
pub async fn queries_see_completed_transactions(fixture: &StoreFixture) {
    let sample = Sample::of(Collection::Jobs, &["key_id", "status", "created_at"]);
    let key = sample.key("moving");
    let found = |query: Query| {
        let (store, sample) = (Arc::clone(&fixture.store), &sample);
        async move { sample.ids(&store, &query).await.len() }
    };
    let with_status = |status: &str| {
        let mut query = sample.query(10);
        query.filters[1].value = Operand::from(status);
        query
    };
    for n in 0..5 {
        let mut body = sample.document(n);
        let status = format!("{}-{n}", sample.run);
        body["status"] = json!(status);
        write(&fixture.store, vec![Write::Put(key.clone(), body.into())])
            .await
            .unwrap();
        assert_eq!(found(with_status(&status)).await, 1, "as it is now");
        let before = format!("{}-{}", sample.run, n - 1);
        assert_eq!(found(with_status(&before)).await, 0, "as it was");
    }
    let mut unchanged = sample.document(4);
    let status = format!("{}-4", sample.run);
    unchanged["status"] = json!(status);
    unchanged["beside"] = json!("changed");
    write(
        &fixture.store,
        vec![Write::Put(key.clone(), unchanged.into())],
    )
    .await
    .unwrap();
    assert_eq!(found(with_status(&status)).await, 1, "fields kept");
    write(&fixture.store, vec![Write::Delete(key)])
        .await
        .unwrap();
    assert_eq!(found(with_status(&status)).await, 0, "deleted");
}

/// A combination of fields that is not a composite index is refused, rather than slow.
pub async fn queries_without_an_index_are_refused(fixture: &StoreFixture) {
    let jobs = |order| Query::new(Collection::Jobs, order, 10);
    for query in [
        jobs("created_at"),
        jobs("created_at").filter("kind", Op::Eq, "settle"),
        jobs("key_id").filter("created_at", Op::Eq, 1),
        jobs("created_at").filter("key_id", Op::Ge, "a"),
        Query::new(Collection::Customers, "created_at", 10),
        Query::new(Collection::ApiKeys, "tier", 10),
    ] {
        let refused = fixture.store.query(&query).await;
        assert!(
            matches!(refused, Err(PortError::Refused { .. })),
            "{query:?}: {refused:?}"
        );
        let refused = fixture.store.count(&query).await;
        assert!(
            matches!(refused, Err(PortError::Refused { .. })),
            "{query:?}: {refused:?}"
        );
    }
}

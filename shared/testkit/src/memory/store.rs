//! A document store in memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oscillink_ports::{
    Collection, Decide, DocKey, Filter, Op, Operand, PortError, Query, QueryPage, Snapshot, Store,
    Write,
};
use serde_json::Value;

use crate::faults::Faults;

type Documents = BTreeMap<DocKey, Value>;
type Watcher = Box<dyn Fn(&DocKey, Option<&Value>, Option<&Value>) + Send>;

/// Documents in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryStore {
    documents: Arc<Mutex<Documents>>,
    watcher: Arc<Mutex<Option<Watcher>>>,
    faults: Faults,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            documents: Arc::default(),
            watcher: Arc::default(),
            faults,
        }
    }

    /// Calls `watcher` with each document's old and new content as it is written.
    pub fn watch(
        &self,
        watcher: impl Fn(&DocKey, Option<&Value>, Option<&Value>) + Send + 'static,
    ) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }

    /// All documents of a collection, past every fault.
    #[must_use]
    pub fn all(&self, collection: Collection) -> Vec<(String, Value)> {
        self.documents()
            .iter()
            .filter(|(key, _)| key.collection == collection)
            .map(|(key, value)| (key.id.clone(), value.clone()))
            .collect()
    }

    fn documents(&self) -> MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), PortError> {
        let mut documents = self.documents();
        for write in &writes {
            if let Write::Create(key, _) = write
                && documents.contains_key(key)
            {
                return Err(PortError::AlreadyExists {
                    detail: key.to_string(),
                });
            }
        }
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            let (key, new) = match write {
                Write::Create(key, body) | Write::Put(key, body) => (key, Some(body.into_tree()?)),
                Write::Delete(key) => (key, None),
            };
            if let Some(watcher) = watcher.as_ref() {
                watcher(&key, documents.get(&key), new.as_ref());
            }
            match new {
                Some(value) => documents.insert(key, value),
                None => documents.remove(&key),
            };
        }
        Ok(())
    }

    fn select(&self, query: &Query) -> Vec<(Operand, String, Value)> {
        let mut found: Vec<_> = self
            .documents()
            .iter()
            .filter(|(key, body)| {
                key.collection == query.collection
                    && query.filters.iter().all(|filter| matches(filter, body))
            })
            .filter_map(|(key, body)| {
                let value = Operand::from_value(body.get(query.order_by)?)?;
                Some((value, key.id.clone(), body.clone()))
            })
            .collect();
        found.sort_by(|a, b| {
            let order = (&a.0, &a.1).cmp(&(&b.0, &b.1));
            if query.descending {
                order.reverse()
            } else {
                order
            }
        });
        let wanted = if query.descending {
            Ordering::Less
        } else {
            Ordering::Greater
        };
        if let Some(after) = &query.after {
            found.retain(|(value, id, _)| (value, id).cmp(&(&after.value, &after.id)) == wanted);
        }
        found.truncate(query.limit);
        found
    }
}

fn matches(filter: &Filter, body: &Value) -> bool {
    let Some(value) = body.get(filter.field).and_then(Operand::from_value) else {
        return false;
    };
    let order = value.cmp(&filter.value);
    match filter.op {
        Op::Eq => order == Ordering::Equal,
        Op::Le => order != Ordering::Greater,
        Op::Lt => order == Ordering::Less,
        Op::Ge => order != Ordering::Less,
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &DocKey) -> Result<Option<Value>, PortError> {
        self.faults
            .call(|| Ok(self.documents().get(key).cloned()))
            .await
    }

    async fn query(&self, query: &Query) -> Result<QueryPage, PortError> {
        self.faults
            .call(|| {
                let found = self
                    .select(query)
                    .into_iter()
                    .map(|(_, id, body)| (id, body))
                    .collect();
                Ok(QueryPage::of(query, found))
            })
            .await
    }

    async fn count(&self, query: &Query) -> Result<u64, PortError> {
        self.faults
            .call(|| Ok(self.select(query).len() as u64))
            .await
    }

    async fn transact(&self, reads: Vec<DocKey>, decide: Decide) -> Result<(), PortError> {
        self.faults
            .call(|| {
                let snapshot =
                    {
                        let documents = self.documents();
                        Snapshot::new(reads.into_iter().filter_map(|key| {
                            documents.get(&key).cloned().map(|value| (key, value))
                        }))
                    };
                if self.faults.conflict() {
                    drop(decide(&snapshot));
                }
                self.apply(decide(&snapshot))
            })
            .await
    }

    async fn check(&self) -> Result<(), PortError> {
        Ok(())
    }
}

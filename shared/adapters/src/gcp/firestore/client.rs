//! The calls of the API that the store is made of, each bounded in time and in number.

use std::time::Duration;

use firestore::FirestoreDb;
use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_request::ConsistencySelector;
use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_response::Result as Got;
use firestore::gcloud_sdk::google::firestore::v1::run_aggregation_query_request::QueryType as Counted;
use firestore::gcloud_sdk::google::firestore::v1::run_query_request::QueryType as Asked;
use firestore::gcloud_sdk::google::firestore::v1::transaction_options::{
    Mode, ReadOnly, ReadWrite,
};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{
    BatchGetDocumentsRequest, CommitRequest, Document, RollbackRequest, RunAggregationQueryRequest,
    RunQueryRequest, StructuredAggregationQuery, StructuredQuery, TransactionOptions, Write,
};
use firestore::gcloud_sdk::tonic::{Request, Status};
use tokio::sync::Semaphore;

/// Identity of a transaction that the server holds.
pub(super) type TransactionId = Vec<u8>;

/// One database.
pub(super) struct Client {
    db: FirestoreDb,
    call_timeout: Duration,
    slots: Semaphore,
}

impl Client {
    pub(super) fn new(db: FirestoreDb, call_timeout: Duration, max_concurrent: usize) -> Self {
        Self {
            db,
            call_timeout,
            slots: Semaphore::new(max_concurrent.max(1)),
        }
    }

    pub(super) fn documents_root(&self) -> &str {
        self.db.get_documents_path()
    }

    fn database(&self) -> String {
        self.db.get_database_path().clone()
    }

    /// Runs one call, from waiting for a free place to its last byte, within the time for a call.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let work = async {
            let _slot = self
                .slots
                .acquire()
                .await
                .map_err(|closed| Status::unavailable(closed.to_string()))?;
            call.await
        };
        tokio::time::timeout(self.call_timeout, work)
            .await
            .unwrap_or_else(|_| {
                Err(Status::deadline_exceeded(format!(
                    "no answer within {:?}",
                    self.call_timeout
                )))
            })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call_timeout);
        request
    }

    /// The documents of `names` that exist, as of one moment.
    pub(super) async fn get(&self, names: Vec<String>) -> Result<Vec<Document>, Status> {
        // Several are read at one time by a transaction that only reads, which locks nothing and
        // needs no end.
        let mode = (names.len() > 1).then(|| Mode::ReadOnly(ReadOnly::default()));
        self.batch_get(names, mode).await.map(|(found, _)| found)
    }

    /// Begins a transaction and reads in it; `again` names the one that it tries again.
    pub(super) async fn begin_and_get(
        &self,
        names: Vec<String>,
        again: TransactionId,
    ) -> Result<(Vec<Document>, TransactionId), Status> {
        let mode = Mode::ReadWrite(ReadWrite {
            retry_transaction: again,
            ..ReadWrite::default()
        });
        self.batch_get(names, Some(mode)).await
    }

    async fn batch_get(
        &self,
        documents: Vec<String>,
        mode: Option<Mode>,
    ) -> Result<(Vec<Document>, TransactionId), Status> {
        let consistency_selector = mode.map(|mode| {
            ConsistencySelector::NewTransaction(TransactionOptions { mode: Some(mode) })
        });
        let message = BatchGetDocumentsRequest {
            database: self.database(),
            documents,
            consistency_selector,
            ..BatchGetDocumentsRequest::default()
        };
        self.bounded(async {
            let mut client = self.db.client().get();
            let call = client.batch_get_documents(self.request(message));
            let mut answers = call.await?.into_inner();
            let (mut found, mut transaction) = (Vec::new(), TransactionId::new());
            while let Some(answer) = answers.message().await? {
                if !answer.transaction.is_empty() {
                    transaction = answer.transaction;
                }
                if let Some(Got::Found(document)) = answer.result {
                    found.push(document);
                }
            }
            Ok((found, transaction))
        })
        .await
    }

    /// Applies `writes`, all or none; an empty `transaction` is one that has read nothing.
    pub(super) async fn commit(
        &self,
        writes: Vec<Write>,
        transaction: TransactionId,
    ) -> Result<(), Status> {
        let message = CommitRequest {
            database: self.database(),
            writes,
            transaction,
            ..CommitRequest::default()
        };
        self.bounded(async {
            let mut client = self.db.client().get();
            client.commit(self.request(message)).await.map(|_| ())
        })
        .await
    }

    /// Ends a transaction without writing, so that the server need not wait for it.
    pub(super) async fn rollback(&self, transaction: TransactionId) -> Result<(), Status> {
        let message = RollbackRequest {
            database: self.database(),
            transaction,
            ..RollbackRequest::default()
        };
        self.bounded(async {
            let mut client = self.db.client().get();
            client.rollback(self.request(message)).await.map(|_| ())
        })
        .await
    }

    /// The documents that a query finds.
    pub(super) async fn query(&self, query: StructuredQuery) -> Result<Vec<Document>, Status> {
        let message = RunQueryRequest {
            parent: self.documents_root().to_owned(),
            query_type: Some(Asked::StructuredQuery(query)),
            ..RunQueryRequest::default()
        };
        self.bounded(async {
            let mut client = self.db.client().get();
            let mut answers = client.run_query(self.request(message)).await?.into_inner();
            let mut found = Vec::new();
            while let Some(answer) = answers.message().await? {
                found.extend(answer.document);
            }
            Ok(found)
        })
        .await
    }

    /// The number that an aggregation of one count gives.
    pub(super) async fn count(&self, query: StructuredAggregationQuery) -> Result<i64, Status> {
        let message = RunAggregationQueryRequest {
            parent: self.documents_root().to_owned(),
            query_type: Some(Counted::StructuredAggregationQuery(query)),
            ..RunAggregationQueryRequest::default()
        };
        self.bounded(async {
            let mut client = self.db.client().get();
            let call = client.run_aggregation_query(self.request(message));
            let mut answers = call.await?.into_inner();
            let mut count = None;
            while let Some(answer) = answers.message().await? {
                let fields = answer.result.map(|result| result.aggregate_fields);
                for value in fields.into_iter().flat_map(|fields| fields.into_values()) {
                    if let Some(ValueType::IntegerValue(number)) = value.value_type {
                        count = Some(number);
                    }
                }
            }
            count.ok_or_else(|| Status::data_loss("an aggregation without its count"))
        })
        .await
    }
}

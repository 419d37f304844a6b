//! Settings of the Google Cloud backends, read from variables and checked once.

mod lookup;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oscillink_domain::QueueName;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};

use super::retry::Tries;

/// Everything that [`connect`](super::connect) needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct GcpConfig {
    /// Documents.
    pub firestore: FirestoreConfig,
    /// Task queues; `None` for a process that makes and serves no tasks.
    pub tasks: Option<TasksConfig>,
    /// The bus.
    pub pubsub: PubSubConfig,
    /// Payloads and results.
    pub blobs: BlobConfig,
    /// Where the keys lie that tokens are verified with; `None` is Google's own place.
    pub jwks_url: Option<String>,
}

/// The document store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirestoreConfig {
    /// The project.
    pub project: String,
    /// The database.
    pub database: String,
    /// Address of the emulator, `http://host:port`.
    pub emulator: Option<String>,
    /// Time for one call.
    pub call_timeout: Duration,
    /// Calls under way at once; further ones wait.
    pub max_concurrent: usize,
    /// Tries of a call that only reads.
    pub read: Tries,
    /// Tries of a transaction; the time includes waiting for others on the same documents.
    pub transaction: Tries,
}

/// The task queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TasksConfig {
    /// The project.
    pub project: String,
    /// The location of the queues, for example `europe-west1`.
    pub location: String,
    /// Address of an emulator.
    pub endpoint: Option<String>,
    /// Begins every queue's id.
    pub queue_prefix: String,
    /// Base address of the worker pool that serves each queue.
    pub workers: BTreeMap<QueueName, String>,
    /// E-mail of the service account that tokens are made for.
    pub service_account: String,
    /// Audience of tokens; `None` is the origin of the worker pool's address.
    pub audience: Option<String>,
    /// A delivery that takes longer has failed.
    pub dispatch_deadline: Duration,
    /// Time for one call.
    pub call_timeout: Duration,
    /// Calls under way at once; further ones wait.
    pub max_concurrent: usize,
    /// Tries of a call.
    pub tries: Tries,
}

/// The bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubSubConfig {
    /// The project.
    pub project: String,
    /// Address of the emulator, `http://host:port`.
    pub emulator: Option<String>,
    /// Deliveries of an event to one subscription before it becomes a dead letter.
    pub max_deliveries: u32,
    /// Pause after the first refusal; it doubles with each.
    pub min_backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Time after which the service delivers again what a process that has died was handling; a live
    /// one extends it. 10 to 600 seconds, set when the subscription is made.
    pub ack_deadline: Duration,
    /// Events that one subscription handles at once, each of another ordering key.
    pub max_concurrent: usize,
    /// A handler that takes longer has refused.
    pub handle_deadline: Duration,
    /// Time for one call.
    pub call_timeout: Duration,
    /// Tries of a call.
    pub tries: Tries,
}

/// Where blobs lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// In a bucket, all names behind `prefix`, which ends in `/` unless it is empty.
    Bucket {
        /// The bucket.
        bucket: String,
        /// Begins every object's name.
        prefix: String,
    },
    /// In a folder of this machine.
    Folder(PathBuf),
}

/// The blob store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobConfig {
    /// Where blobs lie.
    pub place: BlobPlace,
    /// Address of a local server that speaks the XML API.
    pub endpoint: Option<String>,
    /// Time for one call, its retries not counted.
    pub call_timeout: Duration,
    /// Calls under way at once; further ones wait.
    pub max_concurrent: usize,
    /// Tries of a call.
    pub tries: Tries,
}

impl GcpConfig {
    /// Reads and checks all variables.
    ///
    /// # Errors
    /// Variables are missing or cannot be used; the error names each.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Self::read(variables, true)
    }

    /// The same without the variables of task queues, for a process that makes and serves no tasks.
    ///
    /// # Errors
    /// As above.
    pub fn without_tasks(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Self::read(variables, false)
    }

    fn read(variables: &Variables<'_>, with_tasks: bool) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let project = lookup::project(&mut read, "FIRESTORE_PROJECT");
        let (tasks, jwks_url) = if with_tasks {
            let (tasks, jwks_url) = TasksConfig::read(&mut read, &project);
            (Some(tasks), jwks_url)
        } else {
            (None, None)
        };
        let config = Self {
            firestore: FirestoreConfig {
                database: lookup::database(&mut read, "FIRESTORE_DATABASE"),
                emulator: lookup::address(&mut read, "FIRESTORE_EMULATOR_HOST"),
                ..FirestoreConfig::new(&project)
            },
            tasks,
            pubsub: PubSubConfig {
                emulator: lookup::address(&mut read, "PUBSUB_EMULATOR_HOST"),
                ..PubSubConfig::new(&project)
            },
            blobs: BlobConfig {
                endpoint: lookup::url(&mut read, "OSCILLINK_BLOB_ENDPOINT"),
                ..BlobConfig::new(lookup::blob_place(&mut read, "OSCILLINK_BLOB_URL"))
            },
            jwks_url,
        };
        read.finish(config)
    }
}

impl FirestoreConfig {
    /// The project's default database, with bounds that suit a service.
    #[must_use]
    pub fn new(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            database: firestore::FIREBASE_DEFAULT_DATABASE_ID.to_owned(),
            emulator: None,
            call_timeout: Duration::from_secs(10),
            // Google's front ends take 100 streams a connection.
            max_concurrent: 100,
            read: Tries {
                max_attempts: 5,
                min_pause: Duration::from_millis(50),
                max_pause: Duration::from_secs(1),
                max_total: Duration::from_secs(15),
            },
            transaction: Tries {
                max_attempts: 20,
                min_pause: Duration::from_millis(20),
                max_pause: Duration::from_secs(2),
                max_total: Duration::from_secs(30),
            },
        }
    }
}

impl TasksConfig {
    /// Queues that are served by `workers`.
    #[must_use]
    pub fn new(project: &str, workers: BTreeMap<QueueName, String>) -> Self {
        Self {
            project: project.to_owned(),
            location: String::new(),
            endpoint: None,
            queue_prefix: "oscillink-".to_owned(),
            workers,
            service_account: String::new(),
            audience: None,
            dispatch_deadline: Duration::from_secs(600),
            call_timeout: Duration::from_secs(10),
            max_concurrent: 32,
            tries: CALL_TRIES,
        }
    }

    /// The queues, and where the keys lie that their tokens are verified with.
    fn read(read: &mut Lookup<'_>, project: &str) -> (Self, Option<String>) {
        let endpoint = lookup::url(read, "OSCILLINK_TASKS_ENDPOINT");
        let jwks_url = lookup::url(read, "OSCILLINK_OIDC_JWKS_URL");
        if jwks_url.is_some() && endpoint.is_none() {
            read.refuse(
                "OSCILLINK_OIDC_JWKS_URL",
                "is for an emulator: it needs OSCILLINK_TASKS_ENDPOINT",
            );
        }
        let workers = lookup::workers(read, endpoint.is_some());
        let tasks = Self {
            location: lookup::location(read, "OSCILLINK_TASKS_LOCATION"),
            endpoint,
            queue_prefix: lookup::queue_prefix(read, "OSCILLINK_TASKS_QUEUE_PREFIX"),
            service_account: lookup::email(read, "OSCILLINK_TASKS_SERVICE_ACCOUNT"),
            audience: read.text("OSCILLINK_TASKS_AUDIENCE"),
            ..Self::new(project, workers)
        };
        (tasks, jwks_url)
    }

    /// The audience of tokens for the pool that serves `queue`; `None` if none does.
    #[must_use]
    pub fn audience_of(&self, queue: QueueName) -> Option<String> {
        let worker = self.workers.get(&queue)?;
        let origin = || url::Url::parse(worker).map(|url| url.origin().ascii_serialization());
        self.audience.clone().or_else(|| origin().ok())
    }
}

impl PubSubConfig {
    /// The project's topics, with bounds that suit a service.
    #[must_use]
    pub fn new(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            emulator: None,
            max_deliveries: 10,
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(60),
            ack_deadline: Duration::from_secs(60),
            max_concurrent: 16,
            handle_deadline: Duration::from_secs(60),
            call_timeout: Duration::from_secs(10),
            tries: CALL_TRIES,
        }
    }
}

impl BlobConfig {
    /// Blobs at `place`.
    #[must_use]
    pub const fn new(place: BlobPlace) -> Self {
        Self {
            place,
            endpoint: None,
            call_timeout: Duration::from_secs(60),
            max_concurrent: 32,
            tries: Tries {
                max_attempts: 5,
                min_pause: Duration::from_millis(100),
                max_pause: Duration::from_secs(5),
                max_total: Duration::from_secs(90),
            },
        }
    }
}

const CALL_TRIES: Tries = Tries {
    max_attempts: 5,
    min_pause: Duration::from_millis(100),
    max_pause: Duration::from_secs(2),
    max_total: Duration::from_secs(20),
};

//! Reads variables and gathers what is wrong with them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use oscillink_domain::QueueName;
use oscillink_ports::valid_blob_name;
use url::Url;

use super::BlobPlace;

/// Serves the queues that have no variable of their own.
const ALL_WORKERS: &str = "OSCILLINK_WORKER_URL";
/// Longest text of a name: of a project, a location, a queue's prefix.
const MAX_NAME_LEN: usize = 63;

/// Variables that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

pub(super) struct Lookup<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<String>,
}

impl<'a> Lookup<'a> {
    pub(super) const fn new(variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variables,
            errors: Vec::new(),
        }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.errors))
        }
    }

    pub(super) fn refuse(&mut self, name: &str, detail: impl Display) {
        self.errors.push(format!("{name} {detail}"));
    }

    /// An empty variable counts as not set.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.variables)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// A variable that must be set and of a form; empty if it is not.
    fn required(&mut self, name: &str, form: &str, valid: impl Fn(&str) -> bool) -> String {
        match self.text(name) {
            Some(text) if valid(&text) => return text,
            Some(_) => self.refuse(name, format_args!("must be {form}")),
            None => self.refuse(name, format_args!("is not set; it must be {form}")),
        }
        String::new()
    }

    pub(super) fn project(&mut self, name: &str) -> String {
        self.required(name, "a Google Cloud project id", |text| {
            is_name(text, b"-:.") && text.starts_with(|c: char| c.is_ascii_lowercase())
        })
    }

    pub(super) fn location(&mut self, name: &str) -> String {
        self.required(name, "a location such as europe-west1", |text| {
            is_name(text, b"-")
        })
    }

    pub(super) fn email(&mut self, name: &str) -> String {
        self.required(name, "the e-mail address of a service account", |text| {
            let parts = text.split_once('@');
            parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
                && text.bytes().all(|b| b.is_ascii_graphic())
        })
    }

    pub(super) fn database(&mut self, name: &str) -> String {
        let default = firestore::FIREBASE_DEFAULT_DATABASE_ID;
        let database = self.text(name).unwrap_or_else(|| default.to_owned());
        if database != default && !is_name(&database, b"-") {
            self.refuse(name, "must be the id of a database");
        }
        database
    }

    pub(super) fn queue_prefix(&mut self, name: &str) -> String {
        let prefix = self.text(name).unwrap_or_else(|| "oscillink-".to_owned());
        let valid = prefix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !valid || prefix.len() > MAX_NAME_LEN {
            self.refuse(name, "must be letters, digits and hyphens");
        }
        prefix
    }

    /// An emulator's `host:port`, with or without `http://`.
    pub(super) fn address(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let address = if text.contains("://") {
            text
        } else {
            format!("http://{text}")
        };
        let address = address.trim_end_matches('/');
        let has_port = || {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            port.is_some_and(|port| port.is_ok())
        };
        match Url::parse(address) {
            Ok(url) if url.scheme() == "http" && url.has_host() && has_port() => {
                Some(address.to_owned())
            }
            _ => {
                self.refuse(name, "must be host:port");
                None
            }
        }
    }

    pub(super) fn url(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Some(text.trim_end_matches('/').to_owned())
            }
            _ => {
                self.refuse(name, "must be an http or https address");
                None
            }
        }
    }

    /// The worker pool of each queue. Without an emulator they must have https addresses: Cloud
    /// Tasks gives no token to others.
    pub(super) fn workers(&mut self, emulated: bool) -> BTreeMap<QueueName, String> {
        let all = self.url(ALL_WORKERS);
        let mut workers = BTreeMap::new();
        for queue in QueueName::ALL.iter().copied() {
            let name = format!("{ALL_WORKERS}_{}", queue.as_str().to_ascii_uppercase());
            let own = self.text(&name).is_some();
            let Some(worker) = self.url(&name).or_else(|| all.clone()) else {
                if !own && self.text(ALL_WORKERS).is_none() {
                    self.refuse(&name, format_args!("is not set, nor is {ALL_WORKERS}"));
                }
                continue;
            };
            if !emulated && !worker.starts_with("https://") {
                let variable = if own { name.as_str() } else { ALL_WORKERS };
                self.refuse(variable, "must be an https address");
            }
            workers.insert(queue, worker);
        }
        self.errors.dedup();
        workers
    }

    /// `gs://bucket/prefix` or `file:///folder`.
    pub(super) fn blob_place(&mut self, name: &str) -> BlobPlace {
        let form = "must be gs://bucket, gs://bucket/prefix or file:///folder";
        let text = self.text(name).unwrap_or_default();
        if let Some(folder) = text.strip_prefix("file://")
            && folder.starts_with('/')
        {
            return BlobPlace::Folder(PathBuf::from(folder));
        }
        let (bucket, prefix) = text
            .strip_prefix("gs://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .unwrap_or_default();
        let prefix = prefix.trim_end_matches('/');
        let valid_bucket = (3..=222).contains(&bucket.len())
            && bucket
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if !valid_bucket || !(prefix.is_empty() || valid_blob_name(prefix)) {
            self.refuse(name, form);
        }
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        BlobPlace::Bucket {
            bucket: bucket.to_owned(),
            prefix,
        }
    }
}

fn is_name(text: &str, others: &[u8]) -> bool {
    (1..=MAX_NAME_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || others.contains(&b))
}

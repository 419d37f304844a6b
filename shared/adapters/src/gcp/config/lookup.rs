//! The forms that variables of Google Cloud have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oscillink_domain::QueueName;
use oscillink_domain::settings::Lookup;
use oscillink_ports::valid_blob_name;
use url::Url;

use super::BlobPlace;

/// Serves the queues that have no variable of their own.
const ALL_WORKERS: &str = "OSCILLINK_WORKER_URL";
/// Longest text of a name: of a project, a location, a queue's prefix.
const MAX_NAME_LEN: usize = 63;

/// A variable that must be set and of a form; empty if it is not.
fn required(read: &mut Lookup<'_>, name: &str, form: &str, valid: impl Fn(&str) -> bool) -> String {
    match read.text(name) {
        Some(text) if valid(&text) => return text,
        Some(_) => read.refuse(name, format_args!("must be {form}")),
        None => read.refuse(name, format_args!("is not set; it must be {form}")),
    }
    String::new()
}

pub(super) fn project(read: &mut Lookup<'_>, name: &str) -> String {
    required(read, name, "a Google Cloud project id", |text| {
        is_name(text, b"-:.") && text.starts_with(|c: char| c.is_ascii_lowercase())
    })
}

pub(super) fn location(read: &mut Lookup<'_>, name: &str) -> String {
    required(read, name, "a location such as europe-west1", |text| {
        is_name(text, b"-")
    })
}

pub(super) fn email(read: &mut Lookup<'_>, name: &str) -> String {
    required(
        read,
        name,
        "the e-mail address of a service account",
        |text| {
            let parts = text.split_once('@');
            parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
                && text.bytes().all(|b| b.is_ascii_graphic())
        },
    )
}

pub(super) fn database(read: &mut Lookup<'_>, name: &str) -> String {
    let default = firestore::FIREBASE_DEFAULT_DATABASE_ID;
    let database = read.text(name).unwrap_or_else(|| default.to_owned());
    if database != default && !is_name(&database, b"-") {
        read.refuse(name, "must be the id of a database");
    }
    database
}

pub(super) fn queue_prefix(read: &mut Lookup<'_>, name: &str) -> String {
    let prefix = read.text(name).unwrap_or_else(|| "oscillink-".to_owned());
    let valid = prefix
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !valid || prefix.len() > MAX_NAME_LEN {
        read.refuse(name, "must be letters, digits and hyphens");
    }
    prefix
}

/// An emulator's `host:port`, with or without `http://`.
pub(super) fn address(read: &mut Lookup<'_>, name: &str) -> Option<String> {
    let text = read.text(name)?;
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
            read.refuse(name, "must be host:port");
            None
        }
    }
}

pub(super) fn url(read: &mut Lookup<'_>, name: &str) -> Option<String> {
    let text = read.text(name)?;
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Some(text.trim_end_matches('/').to_owned())
        }
        _ => {
            read.refuse(name, "must be an http or https address");
            None
        }
    }
}

/// The worker pool of each queue. Without an emulator they must have https addresses: Cloud Tasks
/// gives no token to others.
pub(super) fn workers(read: &mut Lookup<'_>, emulated: bool) -> BTreeMap<QueueName, String> {
    let usable = |url: &str| emulated || url.starts_with("https://");
    let all = url(read, ALL_WORKERS);
    if all.as_deref().is_some_and(|all| !usable(all)) {
        read.refuse(ALL_WORKERS, "must be an https address");
    }
    let mut workers = BTreeMap::new();
    for queue in QueueName::ALL.iter().copied() {
        let name = format!("{ALL_WORKERS}_{}", queue.as_str().to_ascii_uppercase());
        let own = url(read, &name);
        if own.as_deref().is_some_and(|own| !usable(own)) {
            read.refuse(&name, "must be an https address");
        }
        match own.or_else(|| all.clone()) {
            Some(worker) => {
                workers.insert(queue, worker);
            }
            // One that is set and of no use has been refused already.
            None if read
                .text(&name)
                .or_else(|| read.text(ALL_WORKERS))
                .is_none() =>
            {
                read.refuse(&name, format_args!("is not set, nor is {ALL_WORKERS}"));
            }
            None => {}
        }
    }
    workers
}

/// `gs://bucket/prefix` or `file:///folder`.
pub(super) fn blob_place(read: &mut Lookup<'_>, name: &str) -> BlobPlace {
    let form = "must be gs://bucket, gs://bucket/prefix or file:///folder";
    let text = read.text(name).unwrap_or_default();
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
        read.refuse(name, form);
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

fn is_name(text: &str, others: &[u8]) -> bool {
    (1..=MAX_NAME_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || others.contains(&b))
}

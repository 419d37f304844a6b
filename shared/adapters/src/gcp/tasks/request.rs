//! A task as the service wants it: an HTTP request with a token.

use std::collections::HashMap;

use google_cloud_tasks_v2::model;
use google_cloud_tasks_v2::model::{HttpMethod, HttpRequest, OidcToken};
use oscillink_domain::Timestamp;
use oscillink_ports::{MAX_TASK_BYTES, PortError, Task};

use crate::gcp::config::TasksConfig;
use crate::gcp::gax::duration;

/// Longest task name, characters.
const MAX_NAME_LEN: usize = 500;

/// Refuses a name that is not 1 to 500 characters of `[A-Za-z0-9_-]`.
pub(super) fn check_name(name: &str) -> Result<(), PortError> {
    let valid = (1..=MAX_NAME_LEN).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if valid {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    Err(PortError::Refused {
        detail: format!("{start:?} is not a task name"),
    })
}

/// The task of the queue `parent`, to be delivered to the queue's worker pool.
pub(super) fn task(
    config: &TasksConfig,
    parent: &str,
    task: Task,
) -> Result<model::Task, PortError> {
    check_name(&task.name)?;
    let refused = |detail: String| PortError::Refused {
        detail: format!("task {}: {detail}", task.name),
    };
    if task.body.len() > MAX_TASK_BYTES {
        return Err(refused(format!(
            "{} bytes are more than the {MAX_TASK_BYTES} of a task",
            task.body.len()
        )));
    }
    let (Some(worker), Some(audience)) = (
        config.workers.get(&task.queue),
        config.audience_of(task.queue),
    ) else {
        return Err(refused(format!(
            "no worker pool serves queue {}",
            task.queue
        )));
    };
    let mut headers = HashMap::from([(
        "Content-Type".to_owned(),
        "application/octet-stream".to_owned(),
    )]);
    if let Some(traceparent) = &task.traceparent {
        headers.insert("traceparent".to_owned(), traceparent.clone());
    }
    let token = OidcToken::new()
        .set_service_account_email(&config.service_account)
        .set_audience(audience);
    let request = HttpRequest::new()
        .set_url(format!("{worker}/tasks/{}", task.queue))
        .set_http_method(HttpMethod::Post)
        .set_headers(headers)
        .set_body(task.body.clone())
        .set_oidc_token(token);
    let schedule_time = task
        .not_before
        .map(|at| timestamp(at).ok_or_else(|| refused(format!("{at} is not a time for it"))))
        .transpose()?;
    Ok(model::Task::new()
        .set_name(format!("{parent}/tasks/{}", task.name))
        .set_http_request(request)
        .set_or_clear_schedule_time(schedule_time)
        .set_dispatch_deadline(duration(config.dispatch_deadline)))
}

fn timestamp(at: Timestamp) -> Option<google_cloud_wkt::Timestamp> {
    let ms = at.as_millis();
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).ok()?;
    google_cloud_wkt::Timestamp::new(ms.div_euclid(1_000), nanos).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use oscillink_domain::QueueName;

    use super::*;

    fn config() -> TasksConfig {
        let worker = "https://worker-abc.a.run.app".to_owned();
        TasksConfig {
            location: "europe-west1".to_owned(),
            service_account: "tasks@p.iam.gserviceaccount.com".to_owned(),
            ..TasksConfig::new("p", BTreeMap::from([(QueueName::Settle, worker)]))
        }
    }

    fn of(queue: QueueName, name: &str, body: usize) -> Task {
        Task {
            queue,
            name: name.to_owned(),
            body: Bytes::from(vec![1; body]),
            not_before: Some(Timestamp::from_millis(1_500)),
            traceparent: Some("00-a-b-01".to_owned()),
        }
    }

    #[test]
    fn a_task_is_a_request_with_a_token() {
        let made = task(&config(), "queues/settle", of(QueueName::Settle, "t1", 3)).unwrap();
        assert_eq!(made.name, "queues/settle/tasks/t1");
        let at = made.schedule_time.unwrap();
        assert_eq!((at.seconds(), at.nanos()), (1, 500_000_000));
        assert_eq!(made.dispatch_deadline.unwrap().seconds(), 600);
        let Some(model::task::MessageType::HttpRequest(request)) = made.message_type else {
            panic!("not an HTTP request");
        };
        assert_eq!(request.url, "https://worker-abc.a.run.app/tasks/settle");
        assert_eq!(request.headers["traceparent"], "00-a-b-01");
        assert_eq!(request.body.len(), 3);
        let Some(model::http_request::AuthorizationHeader::OidcToken(token)) =
            request.authorization_header
        else {
            panic!("no token");
        };
        assert_eq!(token.audience, "https://worker-abc.a.run.app");
        assert_eq!(
            token.service_account_email,
            "tasks@p.iam.gserviceaccount.com"
        );
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for bad in [
            of(QueueName::Settle, "a.b", 1),
            of(QueueName::Settle, "", 1),
            of(QueueName::Settle, "t", MAX_TASK_BYTES + 1),
            of(QueueName::Callback, "no-pool", 1),
        ] {
            let refused = task(&config(), "queues/q", bad);
            assert!(matches!(refused, Err(PortError::Refused { .. })));
        }
    }
}

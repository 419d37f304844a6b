//! Tokens as pushes carry them: made by the Cloud Tasks emulator, checked as Google's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::Trial;
use oscillink_adapters::gcp::{CloudTasksQueue, OidcConfig, OidcError, OidcVerifier};
use oscillink_domain::QueueName;
use oscillink_emulators::TasksEmulator;
use oscillink_ports::conformance::queue::Target;
use oscillink_ports::{QueueLimits, Task, TaskQueue};

use super::queue::{ACCOUNT, Pool, config, start_tasks};
use super::{Bench, trial};

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let nothing = |_: &Bench| Ok(());
    vec![
        trial(bench, "oidc::a_push_is_accepted", nothing, |()| {
            a_push_is_accepted()
        }),
        trial(bench, "oidc::others_are_not", nothing, |()| {
            others_are_not()
        }),
        trial(bench, "oidc::many_at_once_are_accepted", nothing, |()| {
            many_at_once_are_accepted()
        }),
        trial(bench, "oidc::without_keys_it_cannot_tell", nothing, |()| {
            without_keys_it_cannot_tell()
        }),
    ]
}

/// A push's `Authorization` header and who should accept it.
struct Push {
    tasks: TasksEmulator,
    authorization: String,
    audience: String,
}

impl Push {
    async fn make() -> Self {
        let tasks = start_tasks().await;
        let target = Target::acknowledging();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let pool = Pool::start(target.clone(), Arc::clone(&seen)).await;
        let config = config(&tasks, &pool.address);
        let audience = config.audience_of(QueueName::Settle).unwrap();
        let queue = CloudTasksQueue::connect(config).await.unwrap();
        let limits = [(QueueName::Settle, QueueLimits::default())];
        queue.ensure_queues(&limits).await.unwrap();
        let task = Task {
            queue: QueueName::Settle,
            name: "push".to_owned(),
            body: Bytes::new(),
            not_before: None,
            traceparent: None,
        };
        queue.create(vec![task]).await.remove(0).unwrap();
        target.wait_for_deliveries(1).await;
        let authorization = seen.lock().unwrap().remove(0);
        Self {
            tasks,
            authorization,
            audience,
        }
    }

    fn config(&self) -> OidcConfig {
        OidcConfig {
            audiences: vec!["https://another".to_owned(), self.audience.clone()],
            service_account: ACCOUNT.to_owned(),
            jwks_url: Some(self.tasks.jwks_url()),
            timeout: Duration::from_secs(20),
        }
    }
}

/// The audience is the origin of the pool's address, the account the configured one.
async fn a_push_is_accepted() {
    let push = Push::make().await;
    let verifier = OidcVerifier::new(push.config());
    assert_eq!(verifier.verify(Some(&push.authorization)).await, Ok(()));
    // Keys that are known need not be fetched.
    let Push {
        tasks,
        authorization,
        ..
    } = push;
    drop(tasks);
    assert_eq!(verifier.verify(Some(&authorization)).await, Ok(()));
}

/// Another audience, another account, another signature.
async fn others_are_not() {
    let push = Push::make().await;
    let refused = |config: OidcConfig, authorization: String| async move {
        let told = OidcVerifier::new(config).verify(Some(&authorization)).await;
        assert!(matches!(told, Err(OidcError::Invalid(_))), "{told:?}");
    };
    let other_audience = OidcConfig {
        audiences: vec!["https://another".to_owned()],
        ..push.config()
    };
    refused(other_audience, push.authorization.clone()).await;
    let other_account = OidcConfig {
        service_account: "someone@else.iam.gserviceaccount.com".to_owned(),
        ..push.config()
    };
    refused(other_account, push.authorization.clone()).await;
    let (signed, signature) = push.authorization.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    refused(push.config(), format!("{signed}.{forged}")).await;
    // A key that its issuer does not have.
    let stranger = Push::make().await;
    refused(push.config(), stranger.authorization).await;
}

/// The first tokens come together, before any key is known.
async fn many_at_once_are_accepted() {
    let push = Push::make().await;
    let verifier = Arc::new(OidcVerifier::new(push.config()));
    let checks: Vec<_> = (0..64)
        .map(|_| {
            let (verifier, authorization) = (Arc::clone(&verifier), push.authorization.clone());
            tokio::spawn(async move { verifier.verify(Some(&authorization)).await })
        })
        .collect();
    for check in checks {
        assert_eq!(check.await.unwrap(), Ok(()));
    }
}

/// That is nobody's fault, and may pass.
async fn without_keys_it_cannot_tell() {
    let push = Push::make().await;
    let verifier = OidcVerifier::new(OidcConfig {
        jwks_url: Some("http://127.0.0.1:9/jwks".to_owned()),
        ..push.config()
    });
    let told = verifier.verify(Some(&push.authorization)).await;
    assert!(
        told.as_ref().is_err_and(OidcError::is_transient),
        "{told:?}"
    );
}

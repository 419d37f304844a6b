//! A process is killed while it writes; what it had acknowledged must be there, and nothing by halves.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::event::Topic;
use oscillink_domain::{Event, EventId, QueueName, Sha256Hex, Timestamp};
use oscillink_ports::conformance::bus::Handler;
use oscillink_ports::conformance::queue::Target;
use oscillink_ports::{BlobStore, Bus, Collection, DocKey, Store, TaskQueue, Write};
use serde_json::{Value, json};

use crate::scene::{Folder, start, task};

const CALLERS: u64 = 8;
const KEY: &str = "tenant";

fn pair(id: &str) -> [DocKey; 2] {
    [
        DocKey::new(Collection::Outbox, id),
        DocKey::new(Collection::Contents, id),
    ]
}

fn event(id: &str) -> Event {
    let event_id = EventId::from_digest(&Sha256Hex::of(id.as_bytes()));
    let now = Timestamp::from_millis(0);
    Event::new(event_id, "job.completed", now, "crash", json!({}))
}

/// Says that something is done, so that it counts.
fn acknowledge(what: &str, id: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what} {id}").unwrap();
    out.flush().unwrap();
}

/// The process that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by what_was_acknowledged_survives_a_kill"]
async fn writes_until_it_is_killed() {
    let Some(data_dir) = std::env::var_os("CRASH_DATA_DIR") else {
        return;
    };
    let round = std::env::var("CRASH_ROUND").unwrap();
    let mut folder = Folder::new();
    folder.config.data_dir = data_dir.into();
    // Kills should meet checkpoints too.
    folder.config.database.checkpoint_bytes = 256 << 10;
    let opened = folder.open();
    let handler = Handler::accepting(KEY);
    handler.hold(KEY);
    opened
        .bus
        .subscribe(Topic::JobEvents, "crash", false, handler)
        .await
        .unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (opened, round) = (opened.clone(), round.clone());
            tokio::spawn(async move {
                for n in 0u64.. {
                    let id = format!("{round}-{caller}-{n}");
                    let [a, b] = pair(&id);
                    let body = json!({"lane": "x", "tag": n, "text": "x".repeat(5_000)});
                    let counter = DocKey::new(Collection::Quota, format!("caller-{caller}"));
                    let reads = vec![counter.clone()];
                    let decide = move |snapshot: &oscillink_ports::Snapshot| {
                        let before: Option<Value> = snapshot.get(&counter).unwrap();
                        let count = before.and_then(|d| d["count"].as_u64()).unwrap_or(0);
                        vec![
                            Write::Create(a.clone(), body.clone().into()),
                            Write::Create(b.clone(), body.clone().into()),
                            Write::Put(counter.clone(), json!({"count": count + 1}).into()),
                        ]
                    };
                    let done = opened.store.transact(reads, Arc::new(decide));
                    done.await.unwrap();
                    acknowledge("document", &id);
                    opened.queue.create(vec![task(&id)]).await[0]
                        .clone()
                        .unwrap();
                    acknowledge("task", &id);
                    let event = event(&id);
                    let published = opened.bus.publish(Topic::JobEvents, KEY, &event);
                    published.await.unwrap();
                    acknowledge("event", &id);
                    if n % 8 == 0 {
                        let bytes = Bytes::from(id.clone().into_bytes());
                        opened
                            .blobs
                            .create(&format!("b/{id}"), bytes)
                            .await
                            .unwrap();
                        acknowledge("blob", &id);
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Runs the process, kills it after it has acknowledged that many things, gives what it said.
fn killed_after(folder: &Folder, round: usize, lines: usize) -> BTreeSet<(String, String)> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("crash::writes_until_it_is_killed")
        .env("CRASH_DATA_DIR", &folder.config.data_dir)
        .env("CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let mut seen = 0;
    while seen < lines {
        let before = text.len();
        assert!(output.read_line(&mut text).unwrap() > 0, "ended: {text}");
        seen += usize::from(text[before..].contains(' '));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died, without a line that was cut.
    output.read_to_string(&mut text).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(what, _)| ["document", "task", "event", "blob"].contains(what))
        .map(|(what, id)| (what.to_owned(), id.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = Folder::new();
    let mut acknowledged: BTreeSet<(String, String)> = BTreeSet::new();
    for (round, lines) in [60, 700, 1_500, 333].into_iter().enumerate() {
        acknowledged.extend(killed_after(&folder, round, lines));
    }
    let of = |what: &str| -> BTreeSet<String> {
        let mine = acknowledged.iter().filter(|(w, _)| w == what);
        mine.map(|(_, id)| id.clone()).collect()
    };
    let opened = folder.open();

    for id in of("document") {
        for key in pair(&id) {
            let found = opened.store.get(&key).await.unwrap();
            assert!(found.is_some(), "{key} was acknowledged");
        }
    }
    // Each caller's counter tells how many of its transactions there are, and each made two documents.
    for caller in 0..CALLERS {
        let counter = DocKey::new(Collection::Quota, format!("caller-{caller}"));
        let found = opened.store.get(&counter).await.unwrap().unwrap();
        let mut count = 0;
        for round in 0..4 {
            for n in 0u64.. {
                let [a, b] = pair(&format!("{round}-{caller}-{n}"));
                let a = opened.store.get(&a).await.unwrap();
                assert_eq!(a.is_some(), opened.store.get(&b).await.unwrap().is_some());
                if a.is_none() {
                    break;
                }
                count += 1;
            }
        }
        assert_eq!(found["count"].as_u64(), Some(count));
    }

    for id in of("blob") {
        let bytes = opened.blobs.get(&format!("b/{id}")).await.unwrap();
        assert_eq!(bytes, id.as_bytes());
    }

    let target = Target::acknowledging();
    start(&opened, &target);
    let depth = opened.queue.stats(QueueName::Settle).await.unwrap().depth;
    let tasks = of("task");
    assert!(depth as usize + target.deliveries().len() >= tasks.len());
    target.wait_for_deliveries(tasks.len()).await;
    oscillink_ports::conformance::eventually("all tasks are done", || async {
        (opened.queue.stats(QueueName::Settle).await.unwrap().depth == 0).then_some(())
    })
    .await;
    let delivered: BTreeSet<String> = target
        .deliveries()
        .into_iter()
        .map(|d| d.delivery.name)
        .collect();
    assert!(tasks.is_subset(&delivered));

    let handler = Handler::accepting(KEY);
    opened
        .bus
        .subscribe(Topic::JobEvents, "crash", false, handler.clone())
        .await
        .unwrap();
    let events: BTreeSet<EventId> = of("event").iter().map(|id| event(id).event_id).collect();
    oscillink_ports::conformance::eventually("all events came", || async {
        let accepted: BTreeSet<EventId> = handler.accepted().into_iter().collect();
        events.is_subset(&accepted).then_some(())
    })
    .await;
    assert!(events.len() > 20 && tasks.len() > 20 && of("blob").len() > 8);
}

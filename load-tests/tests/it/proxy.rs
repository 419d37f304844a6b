//! A proxy that spoils what passes through it, in ways that services do.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oscillink_load_tests::http::{Answer, Client, Target};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Accepts a submission and forgets it.
    LoseJob,
    /// Has a synchronous request done twice.
    DoubleWork,
    /// Leaves a row out of the ledger.
    DropRow,
    /// Charges a row differently.
    OtherUnits,
    /// Changes a digit of a result.
    WrongResult,
    /// Has a job's state change after its end.
    ChangeEnd,
}

/// Starts it in front of `target`; it lives as long as the process.
pub fn start(target: &str, fault: Fault) -> String {
    let target = Target::parse(target).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
            let listener = TcpListener::bind(nowhere).await.unwrap();
            tell.send(format!("http://{}", listener.local_addr().unwrap()))
                .unwrap();
            serve(listener, target, fault).await;
        });
    });
    told.recv().unwrap()
}

struct Proxy {
    client: Rc<Client>,
    fault: Fault,
    posts: Cell<u32>,
}

async fn serve(listener: TcpListener, target: Target, fault: Fault) {
    let proxy = Rc::new(Proxy {
        client: Client::new(target, 64, Duration::from_secs(60)),
        fault,
        posts: Cell::new(0),
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let proxy = Rc::clone(&proxy);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| proxy.pass(request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Proxy {
    async fn pass(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path().to_owned();
        let settles = head.method == Method::POST && path == "/v1/settle";
        let submits = head.method == Method::POST && path == "/v1/jobs/settle";
        if settles || submits {
            self.posts.set(self.posts.get() + 1);
        }
        // One of the middle of the run.
        let chosen = self.posts.get() == 5;
        if submits && chosen && self.fault == Fault::LoseJob {
            let view = json!({"job_id": "job_0000000000000000000000", "status": "queued"});
            let mut response = Response::new(Full::from(view.to_string()));
            *response.status_mut() = http::StatusCode::ACCEPTED;
            return Ok(response);
        }
        if settles && chosen && self.fault == Fault::DoubleWork {
            self.forward(&head, &body).await;
        }
        let mut answer = self.forward(&head, &body).await;
        self.spoil(&path, settles && chosen, &mut answer);
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response.headers_mut().remove("transfer-encoding");
        response.headers_mut().remove("content-length");
        Ok(response)
    }

    async fn forward(&self, head: &http::request::Parts, body: &Bytes) -> Answer {
        let path = head.uri.path_and_query().unwrap().as_str();
        let mut request = self
            .client
            .request(head.method.clone(), path)
            .body(Full::new(body.clone()))
            .unwrap();
        for (name, value) in &head.headers {
            if name != "host" && name != "content-length" && name != "connection" {
                request.headers_mut().insert(name.clone(), value.clone());
            }
        }
        self.client.call(request).await.unwrap()
    }

    fn spoil(&self, path: &str, chosen: bool, answer: &mut Answer) {
        let Ok(mut body) = answer.json() else { return };
        match self.fault {
            Fault::WrongResult if chosen => {
                let value = body["receipt"]["deltaH_total"].as_f64().unwrap();
                body["receipt"]["deltaH_total"] = (value * 1.01).into();
            }
            Fault::DropRow if path == "/v1/usage/ledger" => {
                items(&mut body).retain(|row| row["seq"] != 5);
            }
            Fault::OtherUnits if path == "/v1/usage/ledger" => {
                for row in items(&mut body).iter_mut().filter(|row| row["seq"] == 5) {
                    row["units"] = (row["units"].as_u64().unwrap() + 1).into();
                }
            }
            Fault::ChangeEnd if path == "/v1/jobs" => {
                if let Some(job) = items(&mut body).first_mut() {
                    job["status"] = "error".into();
                }
            }
            _ => return,
        }
        answer.body = body.to_string().into();
    }
}

fn items(body: &mut Value) -> &mut Vec<Value> {
    body["items"].as_array_mut().unwrap()
}

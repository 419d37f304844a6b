//! A receiver of callbacks on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::Value;

/// A request as it came, and the connection to answer it on.
pub struct Incoming {
    /// `webhook-id`.
    pub id: String,
    /// `traceparent`.
    pub traceparent: String,
    /// What it says.
    pub body: Value,
    stream: TcpStream,
}

impl Incoming {
    /// Answers with this status.
    pub fn answer(mut self, status: u16) {
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // The sender may be gone.
        let _ = self.stream.write_all(text.as_bytes());
    }
}

/// Listens, and gives requests as they come.
pub fn receiver() -> (SocketAddr, Receiver<Incoming>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, incoming) = channel();
    std::thread::spawn(move || take(&listener, &sender));
    (address, incoming)
}

fn take(listener: &TcpListener, sender: &Sender<Incoming>) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut id, mut traceparent, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name {
                "webhook-id" => id = value.to_owned(),
                "traceparent" => traceparent = value.to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let incoming = Incoming {
            id,
            traceparent,
            body: serde_json::from_slice(&body).unwrap(),
            stream,
        };
        if sender.send(incoming).is_err() {
            return;
        }
    }
}

//! Plain requests to the emulators' REST interfaces, which need no client of their own.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a part of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server answers to a GET, head and body. `address` is `http://host:port`.
///
/// # Errors
/// The server does not answer.
pub fn get(address: &str, path: &str) -> Result<String> {
    ask(address, &format!("GET {path} HTTP/1.0"), "")
}

/// What a server answers to a POST of JSON, head and body.
///
/// # Errors
/// The server does not answer.
pub fn post(address: &str, path: &str, json: &str) -> Result<String> {
    ask(address, &format!("POST {path} HTTP/1.0"), json)
}

fn ask(address: &str, line: &str, body: &str) -> Result<String> {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    write!(
        stream,
        "{line}\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer owner\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    // The emulators keep the connection open, whatever they are asked.
    while !is_whole(&answer) {
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    String::from_utf8(answer).map_err(std::io::Error::other)
}

/// Whether an answer is complete, by its length or its last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n"),
    }
}

//! Which protocol a connection speaks, told by its first bytes within a bounded time.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The first bytes of HTTP/2 with prior knowledge; no HTTP/1 method begins with them.
const PREFACE: &[u8] = b"PRI ";
/// Pause between looks at a first piece that is shorter than that.
const PAUSE: Duration = Duration::from_millis(5);

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.
    Http1,
    /// HTTP/2 in clear text.
    Http2,
}

/// Looks at the first bytes without taking them. `None`: they did not come.
pub async fn peek(stream: &TcpStream, limit: Duration) -> Option<Protocol> {
    let look = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let count = stream
                .peek(&mut first)
                .await
                .ok()
                .filter(|count| *count > 0)?;
            if first[..count] != PREFACE[..count] {
                return Some(Protocol::Http1);
            }
            if count == PREFACE.len() {
                return Some(Protocol::Http2);
            }
            sleep(PAUSE).await;
        }
    };
    timeout(limit, look).await.ok().flatten()
}

//! Server-sent events out of a stream of bytes.

/// Longest event that is kept, bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: String,
}

/// Bytes that are not an event yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
}

impl Events {
    /// Takes bytes as they come and gives the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let event = parse(&String::from_utf8_lossy(&block));
            // Comments, `retry` alone: nothing happened.
            if event != Event::default() {
                events.push(event);
            }
        }
        if self.buffer.len() > MAX_EVENT_BYTES {
            self.buffer.clear();
        }
        events
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut event.name),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_come() {
        let text = b"retry: 2000\n\n: still here\n\nid: 1-done\nevent: status\ndata: {\"a\":\ndata: 1}\n\n";
        let mut events = Events::default();
        let found: Vec<Event> = text.iter().flat_map(|byte| events.push(&[*byte])).collect();
        let expected = Event {
            id: Some("1-done".to_owned()),
            name: "status".to_owned(),
            data: "{\"a\":\n1}".to_owned(),
        };
        assert_eq!(found, Events::default().push(text));
        assert_eq!(found, [expected]);
    }
}

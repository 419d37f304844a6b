//! File descriptors: each connection takes one, and a process often starts with far fewer than it may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for everything that is not a connection: the store, blobs, calls to other services.
const RESERVE: u64 = 256;
/// Connections that are always taken: with fewer, nothing works.
const LEAST: usize = 16;

/// Makes room for `connections` as far as the system allows; gives how many there can be.
pub fn room_for(connections: usize) -> usize {
    let needed = (connections as u64).saturating_add(RESERVE);
    let limit = getrlimit(Resource::Nofile);
    let mut room = limit.current.unwrap_or(u64::MAX);
    if room < needed {
        let wanted = needed.min(limit.maximum.unwrap_or(u64::MAX));
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => room = wanted,
            Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
        }
    }
    let places = usize::try_from(room.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    let places = places.clamp(LEAST, connections.max(LEAST));
    if places < connections {
        tracing::warn!(
            connections,
            places,
            "the system allows fewer open files than OSCILLINK_MAX_CONNECTIONS asks for"
        );
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_few_and_not_for_everything() {
        assert_eq!(room_for(20), 20);
        let most = room_for(usize::MAX >> 8);
        assert!((LEAST..usize::MAX >> 8).contains(&most), "{most}");
    }
}

//! Connections of each address, so that one client cannot hold them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rate::network;

/// Counts connections by address; addresses without one are forgotten.
#[derive(Clone, Debug)]
pub struct Addresses {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place(Option<(Addresses, IpAddr)>);

impl Addresses {
    /// Each address may have `most` connections; 0 is no limit.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// A place for a connection; `None`: its address has all that it may have.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        if self.most == 0 {
            return Some(Place(None));
        }
        let address = network(address);
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place(Some((self.clone(), address))))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.0.take() else {
            return;
        };
        let mut open = addresses.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_none_is_remembered_after() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let (first, second) = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none(), "one /64 is one client");
        let other = enter("10.0.0.1").unwrap();
        drop(first);
        let third = enter("2001:db8::3").unwrap();
        drop((second, third, other));
        assert!(addresses.open().is_empty());
        let free = Addresses::new(0);
        let many: Vec<_> = (0..100).map(|_| free.enter([10, 0, 0, 1].into())).collect();
        assert!(many.iter().all(Option::is_some));
    }
}

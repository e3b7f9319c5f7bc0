//! Counts what is in use, in all and by address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How much of something may be in use at once. Cloning shares the count.
#[derive(Clone, Debug)]
pub struct Quota {
    in_all: u32,
    per_address: u32,
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    in_all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// Nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Of all.
    #[error("{0} are in use, which is all there are")]
    InAll(u32),
    /// Of this address.
    #[error("your address has {0}, which is all it may have")]
    PerAddress(u32),
}

/// One that is in use, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    address: IpAddr,
    used: Arc<Mutex<Used>>,
}

impl Quota {
    /// Nothing is in use yet.
    pub fn new(in_all: u32, per_address: u32) -> Self {
        Self {
            in_all,
            per_address,
            used: Arc::default(),
        }
    }

    /// Takes one for an address.
    ///
    /// # Errors
    /// All of them, or all of this address, are in use.
    pub fn take(&self, address: IpAddr) -> Result<Permit, Exceeded> {
        let address = network(address);
        let mut used = lock(&self.used);
        if used.in_all >= self.in_all {
            return Err(Exceeded::InAll(self.in_all));
        }
        let of_address = used.by_address.entry(address).or_default();
        if *of_address >= self.per_address {
            return Err(Exceeded::PerAddress(self.per_address));
        }
        *of_address += 1;
        used.in_all += 1;
        Ok(Permit {
            address,
            used: Arc::clone(&self.used),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = lock(&self.used);
        used.in_all = used.in_all.saturating_sub(1);
        if let Some(count) = used.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                used.by_address.remove(&self.address);
            }
        }
    }
}

/// Whoever has one IPv6 address has its whole network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_and_all_of_them_have_their_limit_and_what_is_dropped_is_free() {
        let quota = Quota::new(3, 2);
        let take = |address: &str| quota.take(address.parse().unwrap());
        let first = take("10.0.0.1").unwrap();
        let _second = take("::ffff:10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.1").unwrap_err(), Exceeded::PerAddress(2));
        let _third = take("2001:db8::1").unwrap();
        assert_eq!(take("10.0.0.2").unwrap_err(), Exceeded::InAll(3));
        drop(first);
        let fourth = take("2001:db8::ffff:1").unwrap();
        drop(fourth);
        take("10.0.0.1").unwrap();
        assert_eq!(
            lock(&quota.used).by_address.len(),
            2,
            "addresses with nothing in use are forgotten"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let quota = Quota::new(9, 1);
        let _held = quota.take("2001:db8:0:1::1".parse().unwrap()).unwrap();
        assert!(quota.take("2001:db8:0:1:ffff::2".parse().unwrap()).is_err());
        assert!(quota.take("2001:db8:0:2::1".parse().unwrap()).is_ok());
    }
}

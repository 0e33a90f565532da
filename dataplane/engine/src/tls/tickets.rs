//! Session tickets (RFC 5077, RFC 8446 4.6.1) without a store: sealed by keys that all workers, all generations of the
//! engine and, where the operator gives keys, all nodes share.
//!
//! Rule: a policy's key is derived from the shared one and the policy's digest, so that no ticket opens under a policy
//! that changed.

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A period's key seals for one period and opens for one more.
const PERIOD_S: u64 = 12 * 3600;
/// The name of the key that sealed a ticket leads it.
const NAME_BYTES: usize = 16;
pub const KEY_BYTES: usize = 32;

pub type Key = [u8; KEY_BYTES];

/// A new key, from the kernel.
pub fn make_key() -> Key {
    let mut key = Key::default();
    while aws_lc_rs::rand::fill(&mut key).is_err() {
        std::thread::yield_now();
    }
    key
}

/// The keys of the process. The operator's hold where there are any, else those of the periods, from the supervisor's.
pub struct TicketKeys {
    own: Key,
    given: ArcSwap<Vec<Key>>,
}

impl TicketKeys {
    /// `own` outlives engines: the supervisor keeps it.
    pub fn new(own: Key) -> Self {
        Self { own, given: ArcSwap::default() }
    }

    /// Takes the operator's keys, newest first. Refuses keys of another length.
    pub fn set(&self, keys: &[impl AsRef<[u8]>]) -> Result<(), String> {
        let read =
            |key: &[u8]| Key::try_from(key).map_err(|_| format!("a ticket key of {} bytes", key.len()));
        let keys: Result<Vec<Key>, String> = keys.iter().map(|key| read(key.as_ref())).collect();
        self.given.store(Arc::new(keys?));
        Ok(())
    }

    fn at(&self, period: u64) -> (Arc<Vec<Key>>, Vec<Key>) {
        let given = self.given.load_full();
        let keys = match given.as_slice() {
            [] => {
                [period, period.wrapping_sub(1)].map(|period| derive(&self.own, &period.to_be_bytes())).into()
            }
            keys => keys.to_vec(),
        };
        (given, keys)
    }
}

fn derive(key: &[u8], label: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), label);
    let mut derived = Key::default();
    derived.copy_from_slice(tag.as_ref());
    derived
}

/// The keys of a policy in a period.
struct Sealing {
    /// What they were derived from.
    given: Arc<Vec<Key>>,
    period: u64,
    keys: Vec<([u8; NAME_BYTES], LessSafeKey)>,
}

/// Seals and opens the tickets of one policy.
pub struct Ticketer {
    keys: Arc<TicketKeys>,
    policy: Box<[u8]>,
    sealing: ArcSwap<Sealing>,
    now_s: fn() -> u64,
}

impl Ticketer {
    pub fn new(keys: Arc<TicketKeys>, policy: &[u8]) -> Self {
        Self::with_clock(keys, policy, unix_s)
    }

    fn with_clock(keys: Arc<TicketKeys>, policy: &[u8], now_s: fn() -> u64) -> Self {
        let sealing = ArcSwap::from_pointee(Sealing::derive(&keys, policy, now_s() / PERIOD_S));
        Self { keys, policy: policy.into(), sealing, now_s }
    }

    fn sealing(&self) -> Arc<Sealing> {
        let period = (self.now_s)() / PERIOD_S;
        let sealing = self.sealing.load();
        if sealing.period == period && Arc::ptr_eq(&sealing.given, &self.keys.given.load()) {
            return Arc::clone(&sealing);
        }
        let derived = Arc::new(Sealing::derive(&self.keys, &self.policy, period));
        self.sealing.store(derived.clone());
        derived
    }

    fn try_decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let sealing = self.sealing();
        let (_, key) = sealing.keys.iter().find(|(known, _)| known == name)?;
        let mut content = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.open_in_place(nonce, Aad::from(name), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

impl Sealing {
    fn derive(keys: &TicketKeys, policy: &[u8], period: u64) -> Self {
        let (given, shared) = keys.at(period);
        let keys = shared.iter().filter_map(|key| {
            let secret = derive(key, &[b"ticket", policy].concat());
            let mut name = [0; NAME_BYTES];
            name.copy_from_slice(&derive(&secret, b"name")[..NAME_BYTES]);
            // A key of the algorithm's length is never refused.
            let key = UnboundKey::new(&AES_256_GCM, &derive(&secret, b"key")).ok()?;
            Some((name, LessSafeKey::new(key)))
        });
        Self { given, period, keys: keys.collect() }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let sealing = self.sealing();
        let (name, key) = sealing.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut content = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&name[..]), &mut content)
            .ok()?;
        Some([&name[..], &nonce, &content].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.try_decrypt(ticket)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn shared() -> Arc<TicketKeys> {
        Arc::new(TicketKeys::new([7; KEY_BYTES]))
    }

    #[test]
    fn tickets_open_in_every_engine_of_a_supervisor() {
        let ticket = Ticketer::new(shared(), b"policy").encrypt(b"session").unwrap();
        assert_eq!(Ticketer::new(shared(), b"policy").decrypt(&ticket).unwrap(), b"session");
        assert_eq!(
            Ticketer::new(Arc::new(TicketKeys::new([8; KEY_BYTES])), b"policy").decrypt(&ticket),
            None
        );
    }

    #[test]
    fn a_ticket_of_another_policy_does_not_open() {
        let ticket = Ticketer::new(shared(), b"policy").encrypt(b"session").unwrap();
        assert_eq!(Ticketer::new(shared(), b"changed").decrypt(&ticket), None);
    }

    #[test]
    fn the_operator_s_keys_are_taken_and_former_ones_go_on_opening() {
        let keys = shared();
        let ticketer = Ticketer::new(keys.clone(), b"policy");
        let of_own = ticketer.encrypt(b"session").unwrap();
        keys.set(&[[1; KEY_BYTES]]).unwrap();
        assert_eq!(ticketer.decrypt(&of_own), None);
        let first = ticketer.encrypt(b"session").unwrap();
        keys.set(&[[2; KEY_BYTES], [1; KEY_BYTES]]).unwrap();
        assert!(ticketer.decrypt(&first).is_some());
        let second = ticketer.encrypt(b"session").unwrap();
        keys.set(&[[3; KEY_BYTES], [2; KEY_BYTES]]).unwrap();
        assert!(ticketer.decrypt(&first).is_none() && ticketer.decrypt(&second).is_some());
        assert!(keys.set(&[[0; 31]]).is_err());
    }

    #[test]
    fn a_period_s_key_opens_for_one_period_more() {
        static NOW_S: AtomicU64 = AtomicU64::new(10 * PERIOD_S);
        let ticketer = Ticketer::with_clock(shared(), b"policy", || NOW_S.load(Ordering::Relaxed));
        let ticket = ticketer.encrypt(b"session").unwrap();
        NOW_S.store(12 * PERIOD_S - 1, Ordering::Relaxed);
        assert!(ticketer.decrypt(&ticket).is_some());
        NOW_S.store(12 * PERIOD_S, Ordering::Relaxed);
        assert!(ticketer.decrypt(&ticket).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_open_but_those_sealed(bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..60) {
            let ticketer = Ticketer::new(shared(), b"policy");
            prop_assert_eq!(ticketer.decrypt(&bytes), None);
            let mut ticket = ticketer.encrypt(b"a session's content").unwrap();
            let at = at % ticket.len();
            ticket[at] ^= 1;
            prop_assert_eq!(ticketer.decrypt(&ticket), None);
        }
    }
}

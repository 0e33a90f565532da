//! Password checks off the workers' threads: bcrypt, argon2id, $apr1$, {SHA}; results cached by keyed hash.

use crate::control::{WorkerMessage, WorkerSender};
use crate::exchange::Exchange;
use crate::locks::lock;
use crate::snapshot::VirtualHost;
use aws_lc_rs::{digest, hmac};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

/// Checks that may wait: at bcrypt's 50 ms a longer queue only answers clients that have given up.
const QUEUE_MAX: usize = 256;
const THREADS: usize = 2;
/// Results kept; both rights and wrongs, so that guessing costs a hash each.
const CACHE_ENTRIES_MAX: usize = 8192;

/// Stands for accounts that do not exist: a check costs what it costs for one that does (bcrypt, cost 14 like Caddy's
/// default), so that time does not tell names. It is never right, whatever the password.
pub const UNKNOWN_ACCOUNT: &str = "$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6";

/// The pool's front, shared by all workers.
pub struct Passwords {
    queue: SyncSender<Check>,
    waiting: Arc<AtomicUsize>,
}

struct Check {
    hash: Box<str>,
    account_exists: bool,
    password: Vec<u8>,
    ticket: u64,
    reply: WorkerSender,
}

impl Passwords {
    /// Starts the pool's threads.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let (queue, receiver) = sync_channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let waiting = Arc::new(AtomicUsize::new(0));
        for index in 0..THREADS {
            let (receiver, waiting) = (receiver.clone(), waiting.clone());
            thread::Builder::new()
                .name(format!("password-{index}"))
                .spawn(move || work(&receiver, &waiting))?;
        }
        // The key is made while the engine may still do anything it likes.
        cache();
        Ok(Arc::new(Self { queue, waiting }))
    }

    /// Queues the check of row `row` for this exchange; the answer comes as `WorkerMessage::PasswordChecked` with
    /// `ticket`. False when the queue is full: answer 503.
    pub fn submit(
        &self,
        host: &Arc<VirtualHost>,
        row: u32,
        exchange: &Exchange,
        ticket: u64,
        reply: &WorkerSender,
    ) -> bool {
        let (user, password) = exchange.credentials().unwrap_or_default();
        let credentials = host.tables.credentials.get(row as usize);
        let found = credentials.and_then(|credentials| credentials.find(&user));
        let hash = found.unwrap_or(UNKNOWN_ACCOUNT).into();
        let check = Check { hash, account_exists: found.is_some(), password, ticket, reply: reply.clone() };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let queued = self.queue.try_send(check).is_ok();
        if !queued {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        queued
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

fn work(receiver: &Mutex<Receiver<Check>>, waiting: &AtomicUsize) {
    loop {
        let next = lock(receiver).recv();
        let Ok(check) = next else { return };
        // The same password may have been checked while this one waited.
        let known = cache().find(&check.hash, &check.password);
        let right = known.unwrap_or_else(|| {
            let right = verify(&check.hash, &check.password);
            cache().insert(&check.hash, &check.password, right);
            right
        });
        waiting.fetch_sub(1, Ordering::Relaxed);
        let right = right && check.account_exists;
        check.reply.send(WorkerMessage::PasswordChecked { ticket: check.ticket, right });
    }
}

/// Compares a password with a hash of any kind that Caddy or ingress-nginx carries; unknown kinds are never right.
pub fn verify(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$2") {
        // htpasswd writes $2y$; the algorithm is the same.
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    if hash.starts_with("$argon2id$") {
        return argon2::verify_encoded(hash, password).unwrap_or(false);
    }
    if let Some(rest) = hash.strip_prefix("$apr1$") {
        let Some((salt, _)) = rest.split_once('$') else { return false };
        return same(apr1(password, salt.as_bytes()).as_bytes(), hash.as_bytes());
    }
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        use base64::Engine;
        let found = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
        return same(base64::engine::general_purpose::STANDARD.encode(found).as_bytes(), encoded.as_bytes());
    }
    false
}

fn same(left: &[u8], right: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    left.ct_eq(right).into()
}

/// Apache's MD5 scheme (apr_md5.c): weak by today's measure, but what `htpasswd` wrote for twenty years.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    use md5::{Digest, Md5};
    let salt = &salt[..salt.len().min(8)];
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut context = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for chunk in password.chunks(16) {
        context.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        context.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut result = context.finalize();
    for round in 0..1000 {
        let mut context = Md5::new();
        context.update(if round & 1 == 1 { password } else { &result[..] });
        if round % 3 != 0 {
            context.update(salt);
        }
        if round % 7 != 0 {
            context.update(password);
        }
        context.update(if round & 1 == 1 { &result[..] } else { password });
        result = context.finalize();
    }
    encode_apr1(salt, &result)
}

fn encode_apr1(salt: &[u8], result: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = format!("$apr1${}$", String::from_utf8_lossy(salt));
    let mut push = |mut value: u32, digits: usize| {
        for _ in 0..digits {
            out.push(char::from(DIGITS[(value & 63) as usize]));
            value >>= 6;
        }
    };
    let byte = |index: usize| u32::from(result[index]);
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    push(byte(11), 2);
    out
}

/// Results by keyed hash of (hash, password): neither can be read out of it.
pub struct Cache {
    key: hmac::Key,
    results: Mutex<HashMap<[u8; 32], bool, ahash::RandomState>>,
}

/// The process' cache.
pub fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let mut secret = [0; 32];
        // Without randomness the cache only loses its secrecy against readers of this memory.
        let _ = aws_lc_rs::rand::fill(&mut secret);
        Cache { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), results: Mutex::default() }
    })
}

impl Cache {
    pub fn find(&self, hash: &str, password: &[u8]) -> Option<bool> {
        let tag = self.tag(hash, password);
        lock(&self.results).get(&tag).copied()
    }

    fn insert(&self, hash: &str, password: &[u8], right: bool) {
        let tag = self.tag(hash, password);
        let mut results = lock(&self.results);
        if results.len() >= CACHE_ENTRIES_MAX {
            // Wrong guesses go first: they are what fills it.
            results.retain(|_, right| *right);
            if results.len() >= CACHE_ENTRIES_MAX {
                results.clear();
            }
        }
        results.insert(tag, right);
    }

    fn tag(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(password);
        context.sign().as_ref().try_into().unwrap_or([0; 32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_accepts_its_password_and_no_other() {
        let argon2 = argon2::hash_encoded(
            b"secret",
            b"somesaltysalt",
            &argon2::Config {
                variant: argon2::Variant::Argon2id,
                mem_cost: 1024,
                ..argon2::Config::default()
            },
        );
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        for hash in [
            bcrypt.as_str(),
            &bcrypt.replacen("$2b$", "$2y$", 1),
            &argon2.unwrap(),
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "$apr1$salt1234$G61s9lpZAELkzUFCbj/53/",
        ] {
            assert!(verify(hash, b"secret"), "{hash}");
            assert!(!verify(hash, b"Secret"), "{hash}");
        }
        assert!(!verify("secret", b"secret") && !verify("", b"") && !verify("$apr1$x", b"x"));
    }

    /// Vectors of `openssl passwd -apr1 -salt SALT PASSWORD`.
    #[test]
    fn apr1_is_that_of_apache() {
        for (password, salt, hash) in [
            ("secret", "salt1234", "$apr1$salt1234$G61s9lpZAELkzUFCbj/53/"),
            ("", "salt1234", "$apr1$salt1234$5H34QiH40LY95k4Ru.Rsw0"),
            (
                "a longer password of more than sixteen bytes",
                "salt1234",
                "$apr1$salt1234$Qu64HyLnkoCmL5/0z6W6K0",
            ),
            ("myPassword", "r31", "$apr1$r31$xZkm/.q4DhO3zXfRL9FLE/"),
        ] {
            assert_eq!(apr1(password.as_bytes(), salt.as_bytes()), hash);
        }
    }

    #[test]
    fn results_are_found_again_under_the_same_hash_only() {
        cache().insert("hash a", b"password", true);
        assert_eq!(cache().find("hash a", b"password"), Some(true));
        assert_eq!(cache().find("hash b", b"password"), None);
        assert_eq!(cache().find("hash a", b"passwore"), None);
    }
}

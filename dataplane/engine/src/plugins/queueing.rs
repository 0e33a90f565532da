//! Whose request goes up next: what plugins ask of upstreams, shared fairly by namespaces.
//!
//! In: jobs with their namespaces. Out: the job of whoever has the fewest under way. Rules: a namespace has so many
//! under way, so many waiting, and holds so many bytes of answers; its upstreams that hang take no other's turn.

use crate::locks::lock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Of a namespace, at once: four that hang leave nothing, and then each takes no more than the next.
const RUNNING_MAX: usize = 8;
/// Of a namespace; beyond, its plugins get no answer at once.
const WAITING_MAX: usize = 64;
/// Of answers that a namespace's requests remember: waiting for clients' bodies, they could fill the node's memory.
const HELD_BYTES_MAX: usize = 32 << 20;

pub struct Queue<J> {
    tenants: Mutex<HashMap<Arc<str>, Tenant<J>>>,
    ready: Condvar,
}

struct Tenant<J> {
    waiting: VecDeque<J>,
    running: usize,
    holder: Holder,
}

/// A job, and who will hold its answer.
pub struct Turn<J> {
    pub job: J,
    pub tenant: Holder,
}

/// What a namespace holds.
#[derive(Clone, Default)]
pub struct Holder(Arc<AtomicUsize>);

/// Bytes that count until they are dropped.
#[derive(Debug, Default)]
pub struct Held(Option<(Arc<AtomicUsize>, usize)>);

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { tenants: Mutex::default(), ready: Condvar::new() }
    }
}

impl<J> Queue<J> {
    /// False: the namespace has enough waiting, or holds enough.
    pub fn put(&self, namespace: &Arc<str>, job: J) -> bool {
        let mut tenants = lock(&self.tenants);
        let tenant = tenants.entry(namespace.clone()).or_insert_with(|| Tenant {
            waiting: VecDeque::new(),
            running: 0,
            holder: Holder::default(),
        });
        let fits = tenant.waiting.len() < WAITING_MAX && tenant.holder.bytes() < HELD_BYTES_MAX;
        if fits {
            tenant.waiting.push_back(job);
            self.ready.notify_one();
        }
        fits
    }

    /// Waits for the next job; `end` follows.
    pub fn take(&self) -> Turn<J> {
        let mut tenants = lock(&self.tenants);
        loop {
            let waits = |tenant: &&mut Tenant<J>| tenant.running < RUNNING_MAX && !tenant.waiting.is_empty();
            let next = tenants.values_mut().filter(waits).min_by_key(|tenant| tenant.running);
            if let Some(tenant) = next
                && let Some(job) = tenant.waiting.pop_front()
            {
                tenant.running += 1;
                return Turn { job, tenant: tenant.holder.clone() };
            }
            // A thread that panicked held nothing half done.
            tenants = self.ready.wait(tenants).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    pub fn end(&self, namespace: &Arc<str>) {
        let mut tenants = lock(&self.tenants);
        if let Some(tenant) = tenants.get_mut(namespace) {
            tenant.running -= 1;
        }
        // Namespaces that nothing is known of any more.
        tenants.retain(|_, tenant| {
            tenant.running > 0 || !tenant.waiting.is_empty() || tenant.holder.bytes() > 0
        });
        self.ready.notify_one();
    }
}

impl Holder {
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held(Some((self.0.clone(), bytes)))
    }

    fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((held, bytes)) = self.0.take() {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &Queue<&'static str>, namespace: &str, job: &'static str) -> bool {
        queue.put(&namespace.into(), job)
    }

    #[test]
    fn who_has_the_fewest_under_way_is_next() {
        let queue = Queue::default();
        for job in ["a1", "a2", "a3"] {
            assert!(put(&queue, "a", job));
        }
        assert_eq!((queue.take().job, queue.take().job), ("a1", "a2"));
        assert!(put(&queue, "b", "b1"));
        assert_eq!((queue.take().job, queue.take().job), ("b1", "a3"));
    }

    #[test]
    fn a_namespace_whose_upstreams_hang_leaves_threads_to_others() {
        let queue = Queue::default();
        let accepted = (0..WAITING_MAX + 9).filter(|_| put(&queue, "hangs", "job")).count();
        assert_eq!(accepted, WAITING_MAX);
        for _ in 0..RUNNING_MAX {
            assert_eq!(queue.take().job, "job");
        }
        assert!(put(&queue, "other", "its own"));
        assert_eq!(queue.take().job, "its own");
        queue.end(&"hangs".into());
        assert_eq!(queue.take().job, "job");
    }

    #[test]
    fn who_holds_too_many_bytes_asks_for_nothing_more() {
        let queue = Queue::default();
        assert!(put(&queue, "a", "first"));
        let held = queue.take().tenant.hold(HELD_BYTES_MAX);
        queue.end(&"a".into());
        assert!(!put(&queue, "a", "second") && put(&queue, "b", "third"));
        drop(held);
        assert!(put(&queue, "a", "second"));
    }
}

//! Whose request goes up next: what plugins ask of upstreams, shared fairly by namespaces, and by their upstreams.
//!
//! In: jobs with their namespaces and upstreams. Out: the job of whoever has the fewest under way. Rules: a namespace has
//! so many under way, so many waiting, and holds so many bytes of answers; of places and of turns an upstream takes no
//! more than it leaves free, so that one that hangs stops nobody else's.

use crate::locks::lock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Of a namespace, at once: four that hang leave nothing, and then each takes no more than the next.
const RUNNING_MAX: usize = 16;
/// Of a namespace; beyond, its plugins get no answer at once.
const WAITING_MAX: usize = 128;
/// Of answers that a namespace's requests remember: waiting for clients' bodies, they could fill the node's memory.
const HELD_BYTES_MAX: usize = 32 << 20;

pub struct Queue<J> {
    tenants: Mutex<HashMap<Arc<str>, Tenant<J>>>,
    ready: Condvar,
}

struct Tenant<J> {
    /// With their upstreams.
    waiting: VecDeque<(Arc<str>, J)>,
    /// The upstream of each that is under way.
    running: Vec<Arc<str>>,
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
    /// Refused: the upstream or its namespace has enough waiting, or the namespace holds enough.
    pub fn put(&self, namespace: &Arc<str>, upstream: &Arc<str>, job: J) -> Result<(), &'static str> {
        let mut tenants = lock(&self.tenants);
        let tenant = tenants.entry(namespace.clone()).or_insert_with(|| Tenant {
            waiting: VecDeque::new(),
            running: Vec::new(),
            holder: Holder::default(),
        });
        if tenant.waiting.len() >= WAITING_MAX {
            return Err("its namespace has too many under way");
        }
        if tenant.holder.bytes() >= HELD_BYTES_MAX {
            return Err("its namespace holds too many bytes of answers");
        }
        if !leaves_enough(tenant.waiting.iter().map(|(upstream, _)| upstream), upstream, WAITING_MAX) {
            return Err("its upstream has too many under way");
        }
        tenant.waiting.push_back((upstream.clone(), job));
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for the next job; `end` follows.
    pub fn take(&self) -> Turn<J> {
        let mut tenants = lock(&self.tenants);
        loop {
            let next = tenants.values_mut().filter_map(|tenant| Some((tenant.find_next()?, tenant)));
            if let Some((place, tenant)) = next.min_by_key(|(_, tenant)| tenant.running.len())
                && let Some((upstream, job)) = tenant.waiting.remove(place)
            {
                tenant.running.push(upstream);
                return Turn { job, tenant: tenant.holder.clone() };
            }
            // A thread that panicked held nothing half done.
            tenants = self.ready.wait(tenants).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    pub fn end(&self, namespace: &Arc<str>, upstream: &Arc<str>) {
        let mut tenants = lock(&self.tenants);
        if let Some(tenant) = tenants.get_mut(namespace)
            && let Some(place) = tenant.running.iter().position(|running| running == upstream)
        {
            tenant.running.swap_remove(place);
        }
        // Namespaces that nothing is known of any more.
        tenants.retain(|_, tenant| {
            !tenant.running.is_empty() || !tenant.waiting.is_empty() || tenant.holder.bytes() > 0
        });
        self.ready.notify_one();
    }
}

impl<J> Tenant<J> {
    /// The place of the first job that may begin now.
    fn find_next(&self) -> Option<usize> {
        let may_begin = |upstream| leaves_enough(self.running.iter(), upstream, RUNNING_MAX);
        self.waiting.iter().position(|(upstream, _)| may_begin(upstream))
    }
}

/// Whether one more of an upstream's still leaves as much free as it takes: of 16, eight, then four of the next, then two.
fn leaves_enough<'a>(
    taken: impl ExactSizeIterator<Item = &'a Arc<str>>,
    upstream: &Arc<str>,
    max: usize,
) -> bool {
    let free = max - taken.len();
    taken.filter(|other| *other == upstream).count() < free
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
        put_to(queue, namespace, "up", job)
    }

    fn put_to(queue: &Queue<&'static str>, namespace: &str, upstream: &str, job: &'static str) -> bool {
        queue.put(&namespace.into(), &upstream.into(), job).is_ok()
    }

    /// Puts as many as are accepted and takes as many as may begin.
    fn hang(queue: &Queue<&'static str>, upstream: &str) -> (usize, usize) {
        let accepted = (0..WAITING_MAX).filter(|_| put_to(queue, "a", upstream, "hangs")).count();
        let may_begin = || lock(&queue.tenants)["a"].find_next().is_some();
        let begun = std::iter::from_fn(|| may_begin().then(|| assert_eq!(queue.take().job, "hangs"))).count();
        (accepted, begun)
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
        let upstreams: Vec<String> = (0..2 * WAITING_MAX).map(|number| number.to_string()).collect();
        let accepted = upstreams.iter().filter(|upstream| put_to(&queue, "hangs", upstream, "job")).count();
        assert_eq!(accepted, WAITING_MAX);
        for _ in 0..RUNNING_MAX {
            assert_eq!(queue.take().job, "job");
        }
        assert!(put(&queue, "other", "its own"));
        assert_eq!(queue.take().job, "its own");
        queue.end(&"hangs".into(), &"0".into());
        assert_eq!(queue.take().job, "job");
    }

    #[test]
    fn upstreams_that_hang_leave_turns_and_places_to_others_of_their_namespace() {
        let queue = Queue::default();
        assert_eq!(hang(&queue, "slow"), (WAITING_MAX / 2, RUNNING_MAX / 2));
        assert_eq!(hang(&queue, "slower").1, RUNNING_MAX / 4);
        assert!(put_to(&queue, "a", "sound", "sound") && put_to(&queue, "a", "sound", "sound too"));
        assert_eq!((queue.take().job, queue.take().job), ("sound", "sound too"));
        for ended in ["sound", "sound", "slow", "slow", "slow"] {
            queue.end(&"a".into(), &ended.into());
        }
        assert_eq!(queue.take().job, "hangs", "it leaves seven free, and takes its sixth");
    }

    #[test]
    fn who_holds_too_many_bytes_asks_for_nothing_more() {
        let queue = Queue::default();
        assert!(put(&queue, "a", "first"));
        let held = queue.take().tenant.hold(HELD_BYTES_MAX);
        queue.end(&"a".into(), &"up".into());
        assert!(!put(&queue, "a", "second") && put(&queue, "b", "third"));
        drop(held);
        assert!(put(&queue, "a", "second"));
    }
}

//! One copy of what many hosts have alike.

use crate::digests::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Values by their digest, forgotten when nobody holds them any more.
pub struct Interned<T> {
    known: HashMap<Digest, Weak<T>>,
    sweep_at: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: 64 }
    }
}

impl<T> Interned<T> {
    /// The value of this digest; made where nobody holds it.
    pub fn get<E>(&mut self, digest: Digest, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(found) = self.known.get(&digest).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        self.insert(digest, &made);
        Ok(made)
    }

    fn insert(&mut self, digest: Digest, value: &Arc<T>) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = self.known.len() * 2 + 64;
        }
        self.known.insert(digest, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(known: &mut Interned<u32>, key: u8, value: u32) -> Arc<u32> {
        known.get([key; 16], || Ok::<_, ()>(value)).unwrap()
    }

    #[test]
    fn equal_values_are_one_while_anybody_holds_them() {
        let mut known = Interned::default();
        let first = get(&mut known, 1, 10);
        assert!(Arc::ptr_eq(&first, &get(&mut known, 1, 11)));
        drop(first);
        assert_eq!(*get(&mut known, 1, 12), 12);
        assert!(known.get([2; 16], || Err("bad")).is_err());
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut known = Interned::default();
        let held = get(&mut known, 0, 0);
        for key in 1..=u8::MAX {
            get(&mut known, key, u32::from(key));
        }
        assert!(known.known.len() <= 67, "{}", known.known.len());
        assert!(Arc::ptr_eq(&held, &get(&mut known, 0, 1)));
    }
}

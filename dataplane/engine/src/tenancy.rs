//! Room that tenants share: how much of something bounded each of them may take.
//!
//! One tenant may take a quarter of the room, and each one an equal small part even when the room is used up. Whoever owns the
//! node where there is no cluster may take all of it. Rule: what one tenant takes leaves every other one its part, and
//! all together never take more than twice the room.

use crate::limits::SHARING_TENANTS_MAX;
use crate::locks::lock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// What one tenant may take of the room, in parts of it.
const MOST_PART: usize = 4;
/// Tenants that come when there are too many share one.
const OTHERS: &str = "\0";

/// What tenants have of their own, while somebody holds it: reloads find what was there.
pub struct ByTenant<T> {
    tenants_max: usize,
    known: Mutex<HashMap<Box<str>, Weak<T>>>,
}

pub struct Room {
    size: usize,
    taken: AtomicUsize,
    parts: ByTenant<Part>,
}

/// What one tenant has of a room.
pub struct Part {
    room: Arc<Room>,
    is_owner: bool,
    taken: AtomicUsize,
}

/// Something taken, which is given back when it is dropped.
pub struct Piece {
    part: Arc<Part>,
    size: usize,
}

impl<T> ByTenant<T> {
    pub fn new(tenants_max: usize) -> Self {
        Self { tenants_max, known: Mutex::default() }
    }

    /// The tenant's own, made for it where nobody holds one.
    pub fn find(&self, tenant: &str, make: impl FnOnce(&str) -> T) -> Arc<T> {
        let mut known = lock(&self.known);
        if let Some(found) = known.get(tenant).and_then(Weak::upgrade) {
            return found;
        }
        known.retain(|_, one| one.strong_count() > 0);
        let tenant = if known.len() < self.tenants_max { tenant } else { OTHERS };
        if let Some(found) = known.get(tenant).and_then(Weak::upgrade) {
            return found;
        }
        let made = Arc::new(make(tenant));
        known.insert(tenant.into(), Arc::downgrade(&made));
        made
    }
}

impl Room {
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, taken: AtomicUsize::new(0), parts: ByTenant::new(SHARING_TENANTS_MAX) })
    }

    /// The part of a tenant; "" is whoever owns the node where there is no cluster.
    pub fn of_tenant(self: &Arc<Self>, tenant: &str) -> Arc<Part> {
        self.parts.find(tenant, |tenant| Part {
            room: Arc::clone(self),
            is_owner: tenant.is_empty(),
            taken: AtomicUsize::new(0),
        })
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Part {
    /// Nothing yet, to grow.
    pub fn piece(self: &Arc<Self>) -> Piece {
        Piece { part: Arc::clone(self), size: 0 }
    }

    fn may_have(&self, own: usize, all: usize) -> bool {
        let room = self.room.size;
        if self.is_owner {
            return all <= room;
        }
        own <= room / MOST_PART && (all <= room || own <= room / SHARING_TENANTS_MAX)
    }
}

impl Piece {
    /// False: the tenant may not have so much more, and has not.
    pub fn grow(&mut self, more: usize) -> bool {
        let own = self.part.taken.fetch_add(more, Ordering::Relaxed) + more;
        let all = self.part.room.taken.fetch_add(more, Ordering::Relaxed) + more;
        self.size += more;
        let fits = self.part.may_have(own, all);
        if !fits {
            self.shrink(more);
        }
        fits
    }

    /// Gives all of it back.
    pub fn clear(&mut self) {
        self.shrink(self.size);
    }

    fn shrink(&mut self, less: usize) {
        self.size -= less;
        self.part.taken.fetch_sub(less, Ordering::Relaxed);
        self.part.room.taken.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1024 * SHARING_TENANTS_MAX;

    /// Takes all that it gets, a unit at a time.
    fn fill(piece: &mut Piece, unit: usize) -> usize {
        while piece.grow(unit) {}
        piece.size
    }

    #[test]
    fn a_tenant_takes_a_quarter_and_whoever_owns_the_node_all() {
        let room = Room::new(SIZE);
        assert_eq!(fill(&mut room.of_tenant("shop").piece(), 1024), SIZE / MOST_PART);
        assert_eq!(room.taken(), 0);
        assert_eq!(fill(&mut room.of_tenant("").piece(), 1024), SIZE);
    }

    #[test]
    fn tenants_that_use_up_the_room_leave_everybody_a_part() {
        let room = Room::new(SIZE);
        let mut hostile: Vec<_> =
            (0..MOST_PART).map(|number| room.of_tenant(&number.to_string()).piece()).collect();
        hostile.iter_mut().for_each(|piece| {
            fill(piece, 1024);
        });
        assert_eq!(room.taken(), SIZE);
        let mut quiet = room.of_tenant("quiet").piece();
        assert_eq!(fill(&mut quiet, 1), SIZE / SHARING_TENANTS_MAX);
    }

    #[test]
    fn all_together_never_take_more_than_twice_the_room() {
        let room = Room::new(SIZE);
        let mut pieces: Vec<_> =
            (0..2 * SHARING_TENANTS_MAX).map(|number| room.of_tenant(&number.to_string()).piece()).collect();
        pieces.iter_mut().for_each(|piece| {
            fill(piece, 1024);
        });
        assert!(room.taken() <= 2 * SIZE);
    }

    #[test]
    fn pieces_of_one_tenant_are_one_part() {
        let room = Room::new(SIZE);
        let (mut one, mut two) = (room.of_tenant("shop").piece(), room.of_tenant("shop").piece());
        assert!(one.grow(SIZE / MOST_PART));
        assert!(!two.grow(1));
        one.clear();
        assert!(two.grow(1));
    }
}

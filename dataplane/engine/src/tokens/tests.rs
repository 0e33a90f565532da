use super::sharing::{PERIOD_MS, WAITERS_MAX};
use super::*;
use crate::control::{WorkerReceiver, worker_channel};
use crate::exchange::texts::Text;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn limit(zone: &str, events: u32, store_down: StoreDown) -> RateLimit {
    limit_of(&Room::new(SHARES_MAX).of_tenant(""), zone, events, store_down)
}

fn limit_of(keys: &Arc<Part>, zone: &str, events: u32, store_down: StoreDown) -> RateLimit {
    let rate = Rate { interval_ns: SECOND / u64::from(events), burst: events };
    let table = crate::rates::of_tenant("");
    RateLimit {
        zone: zone.as_bytes().into(),
        key: Text::compile(None),
        rate,
        table,
        keys: Arc::clone(keys),
        store_down,
    }
}

/// A table whose store is there, what it asks for, and a worker that waits.
struct Fixture {
    table: Table,
    asked: Receiver<Notice>,
    worker: WorkerSender,
    messages: WorkerReceiver,
}

impl Fixture {
    fn new() -> Self {
        let table = Table::new();
        let asked = table.noticed.lock().unwrap().take().unwrap();
        table.set_state(true, 2);
        let (worker, messages) = worker_channel().unwrap();
        Self { table, asked, worker, messages }
    }

    fn wait(&self, limit: &RateLimit, key: &[u8], ticket: u64) {
        assert_eq!(self.table.take(limit, key, 0), Taken::Unknown);
        assert_eq!(self.table.wait(limit, key, 0, (&self.worker, ticket)), None);
    }

    /// What is asked for now: how many of which bucket.
    fn needs(&self) -> Vec<(Digest, u32)> {
        let needed = self.asked.try_iter().filter_map(|notice| match notice {
            Notice::Need(bucket) => self.table.find_need(&bucket).map(|need| (bucket, need.wanted)),
            Notice::Answered => None,
        });
        needed.collect()
    }

    fn told(&self) -> Vec<(u64, Told)> {
        std::iter::from_fn(|| self.messages.take())
            .map(|message| match message {
                WorkerMessage::TokenTaken { ticket, told } => (ticket, told),
                _ => unreachable!(),
            })
            .collect()
    }
}

#[test]
fn who_finds_no_tokens_waits_and_is_served_in_order() {
    let fixture = Fixture::new();
    let zone = limit("a", 10, StoreDown::Local);
    (0..3).for_each(|ticket| fixture.wait(&zone, b"key", ticket));
    let needs = fixture.needs();
    assert_eq!(needs.iter().map(|need| need.1).collect::<Vec<_>>(), [3]);
    fixture.table.grant(&needs[0].0, 2, 70 * MS, 0);
    assert_eq!(fixture.told(), [(0, Told::Allowed), (1, Told::Allowed), (2, Told::Limited(70 * MS))]);
    assert_eq!(fixture.table.take(&zone, b"key", 10 * MS), Taken::Limited(60 * MS));
    assert_eq!(fixture.table.take(&zone, b"key", 70 * MS), Taken::Unknown);
    let tally = Tally { allowed: 2, limited: 2, waited: 3 };
    assert_eq!(fixture.table.take_tally(), (tally, 0));
}

#[test]
fn who_came_while_the_store_was_asked_causes_another_lease() {
    let fixture = Fixture::new();
    let zone = limit("a", 10, StoreDown::Local);
    fixture.wait(&zone, b"key", 0);
    let needs = fixture.needs();
    fixture.wait(&zone, b"key", 1);
    assert_eq!(fixture.needs(), []);
    fixture.table.grant(&needs[0].0, 1, 0, 0);
    assert_eq!(fixture.told(), [(0, Told::Allowed)]);
    assert_eq!(fixture.needs(), needs);
}

#[test]
fn a_busy_key_asks_ahead_and_gives_back_what_it_does_not_spend() {
    let fixture = Fixture::new();
    let zone = limit("a", 200, StoreDown::Local);
    (0..8).for_each(|ticket| fixture.wait(&zone, b"key", ticket));
    let bucket = fixture.needs()[0].0;
    fixture.table.grant(&bucket, 8, 0, 0);
    let mut returned = Vec::new();
    assert!(!fixture.table.sweep(PERIOD_MS * MS, &mut returned));
    // Nothing in hand: it waits, and asks for what it spent in a period besides.
    fixture.wait(&zone, b"key", 9);
    assert_eq!(fixture.needs(), [(bucket, 9)]);
    fixture.table.grant(&bucket, 9, 0, 0);
    for _ in 0..4 {
        assert_eq!(fixture.table.take(&zone, b"key", 0), Taken::Allowed);
        assert_eq!(fixture.needs(), []);
    }
    // Fewer than half of it are left: no request has to wait for the next ones.
    assert_eq!(fixture.table.take(&zone, b"key", 0), Taken::Allowed);
    assert_eq!(fixture.needs(), [(bucket, 5)]);
    fixture.table.grant(&bucket, 5, 0, 0);
    fixture.table.sweep(2 * PERIOD_MS * MS, &mut returned);
    assert_eq!(returned, []);
    fixture.table.sweep(3 * PERIOD_MS * MS, &mut returned);
    assert_eq!(returned.iter().map(|need| (need.wanted, need.returned)).collect::<Vec<_>>(), [(0, 8)]);
    assert_eq!(fixture.table.keys(), 1);
    fixture.table.sweep(2 * SECOND, &mut returned);
    assert_eq!(fixture.table.keys(), 0);
}

#[test]
fn while_no_tokens_can_be_had_the_zone_does_what_it_was_told() {
    let fixture = Fixture::new();
    let open = limit("open", 1, StoreDown::Open);
    let closed = limit("closed", 1, StoreDown::Closed);
    let local = limit("local of this test", 10, StoreDown::Local);
    fixture.wait(&open, b"key", 7);
    assert!(fixture.table.set_state(false, 0));
    assert_eq!(fixture.told(), [(7, Told::Away)]);
    assert_eq!(fixture.table.wait(&open, b"key", 0, (&fixture.worker, 8)), Some(Told::Away));
    assert_eq!([0, 0].map(|now| fixture.table.take(&open, b"key", now)), [Taken::Allowed; 2]);
    assert_eq!(fixture.table.take(&closed, b"key", 0), Taken::Closed);
    // One of two nodes: half of ten.
    let verdicts: Vec<_> = (0..6).map(|_| fixture.table.take(&local, b"key", 1)).collect();
    assert_eq!(verdicts[..5], [Taken::Allowed; 5]);
    assert_eq!(verdicts[5], Taken::Limited(200 * MS));
    assert!(fixture.table.set_state(true, 2));
    assert_eq!(fixture.table.take(&closed, b"key", 0), Taken::Unknown);
}

#[test]
fn a_lease_that_takes_too_long_is_found() {
    let fixture = Fixture::new();
    fixture.wait(&limit("a", 10, StoreDown::Local), b"key", 0);
    assert!(!fixture.table.sweep(PERIOD_MS * MS, &mut Vec::new()));
    assert!(fixture.table.sweep(SECOND, &mut Vec::new()));
}

#[test]
fn keys_and_those_who_wait_are_bounded_and_what_is_too_much_is_refused() {
    let fixture = Fixture::new();
    let zone = limit("a", 10, StoreDown::Open);
    (0..WAITERS_MAX as u64).for_each(|ticket| fixture.wait(&zone, b"key", ticket));
    let beyond = fixture.table.wait(&zone, b"key", 0, (&fixture.worker, 0));
    assert_eq!(beyond, Some(Told::Limited(SECOND / 10)));
    let verdicts: Vec<_> = (0..2 * SHARES_MAX as u32)
        .map(|key| fixture.table.take(&zone, &[&key.to_le_bytes()[..], &[0xff; 40]].concat(), 0))
        .collect();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Taken::Unknown | Taken::Limited(_))));
    assert_eq!(verdicts.last(), Some(&Taken::Limited(SECOND / 10)));
    assert!(fixture.table.keys() <= SHARES_MAX);
}

#[test]
fn a_tenant_that_floods_keys_refuses_nobody_elses() {
    let (fixture, room) = (Fixture::new(), Room::new(SHARES_MAX));
    let hostile = limit_of(&room.of_tenant("hostile"), "a", 10, StoreDown::Open);
    let quiet = limit_of(&room.of_tenant("quiet"), "b", 10, StoreDown::Open);
    let flood = |key: u32| fixture.table.take(&hostile, &key.to_le_bytes(), 0);
    let verdicts: Vec<_> = (0..SHARES_MAX as u32).map(flood).collect();
    assert_eq!(verdicts.last(), Some(&Taken::Limited(SECOND / 10)));
    assert_eq!(fixture.table.take(&quiet, b"client", 0), Taken::Unknown);
    fixture.table.sweep(10 * SECOND, &mut Vec::new());
    assert_eq!(fixture.table.take(&hostile, b"new", 10 * SECOND), Taken::Unknown);
}

#[test]
fn threads_together_spend_no_more_than_was_granted() {
    let fixture = Fixture::new();
    let zone = limit("a", 1000, StoreDown::Local);
    fixture.wait(&zone, b"key", 0);
    let bucket = fixture.needs()[0].0;
    fixture.table.grant(&bucket, 101, 0, 0);
    let table = &fixture.table;
    let allowed: usize = std::thread::scope(|scope| {
        let taking = || (0..100).filter(|_| table.take(&zone, b"key", 0) == Taken::Allowed).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(taking)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(allowed, 100);
}

#[test]
fn equal_keys_of_other_zones_have_other_buckets_and_a_changed_rate_keeps_its_bucket() {
    let [one, two] = ["a", "b"].map(|zone| limit(zone, 10, StoreDown::Local));
    assert_ne!(find_bucket(&one, b"key"), find_bucket(&two, b"key"));
    assert_eq!(find_bucket(&one, b"key"), find_bucket(&limit("a", 20, StoreDown::Open), b"key"));
}

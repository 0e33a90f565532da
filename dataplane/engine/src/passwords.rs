//! Password checks off the workers' threads: bcrypt, argon2id, $apr1$, {SHA}; results cached by keyed hash.

use crate::control::WorkerSender;
use crate::exchange::Exchange;
use crate::snapshot::VirtualHost;
use std::sync::Arc;

/// The pool's front, shared by all workers.
pub struct Passwords {}

impl Passwords {
    /// Queues the check of row `row` for this exchange; the answer comes as `WorkerMessage::PasswordChecked` with
    /// `ticket`. False when the queue is full: answer 503.
    pub fn submit(
        &self,
        _host: &Arc<VirtualHost>,
        _row: u32,
        _exchange: &Exchange,
        _ticket: u64,
        _reply: &WorkerSender,
    ) -> bool {
        todo!()
    }
}

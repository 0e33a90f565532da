//! Calls of plugins' functions: each in a cage of its namespace's own, which nothing of an earlier call is left in.
//!
//! Rules: the plugin's fuel, the request's and the namespace's bound a call; depth bounds calls in calls; a trap ends
//! the call alone, and its caller says what becomes of the request.

use super::abi;
use super::cage::Cage;
use super::helpers::Run;
use super::run::Trap;
use crate::exchange::Exchange;
use crate::metrics::PluginCount;
use crate::plugins::documents::Documents;
use crate::plugins::keys::Key;
use crate::plugins::memory::REQUEST_FUEL_MAX;
use crate::plugins::{Plugin, PluginIndex};
use crate::snapshot::VirtualHost;
use std::fmt;
use std::sync::Arc;

/// Functions of plugins that call each other.
pub const DEPTH_MAX: usize = 8;
/// Cages kept by a worker: 140 KiB each once they were used.
const CAGES_MAX: usize = 64;
/// Fuel of all calls of a namespace in a second, on one worker: about a third of its time.
const NAMESPACE_FUEL_PER_S: i64 = 1 << 28;
const NAMESPACES_MAX: usize = 4096;

/// One call, for as long as it runs.
pub struct Call {
    pub plugin: Arc<Plugin>,
    pub depth: usize,
    /// What it began with.
    pub fuel: i64,
    pub documents: Documents,
    pub keys: Vec<Key>,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum Failure {
    NoPlugin,
    NoFunction,
    Depth,
    RequestFuel,
    NamespaceFuel,
    Cage(std::io::Error),
    Trap(Trap),
    Verdict(u64),
    Capability(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoPlugin => write!(f, "there is no such plugin"),
            Failure::NoFunction => write!(f, "it exports no such function"),
            Failure::Depth => write!(f, "calls are nested deeper than {DEPTH_MAX}"),
            Failure::RequestFuel => write!(f, "the request's fuel is used up"),
            Failure::NamespaceFuel => write!(f, "the namespace's fuel of this second is used up"),
            Failure::Cage(error) => write!(f, "no window: {error}"),
            Failure::Trap(trap) => write!(f, "trapped: {trap}"),
            Failure::Verdict(abi::VERDICT_SUSPEND) => write!(f, "returned SUSPEND, and no helper said LATER"),
            Failure::Verdict(result) => write!(f, "returned {result:#x}, which is no verdict"),
            Failure::Capability(name) => write!(f, "is not granted {name}"),
        }
    }
}

/// The plugins of a worker.
#[derive(Default)]
pub struct Plugins {
    pub index: Arc<PluginIndex>,
    /// (slot, what, how much) since the worker last took it over to its metrics.
    pub counted: Vec<(u32, PluginCount, u64)>,
    /// Second of the last line about a plugin that is not there.
    pub missing_logged_s: u64,
    /// Of the last call by a route that failed: for those who test a plugin, whom an answer of 500 tells nothing.
    pub last_failure: Option<Failure>,
    cages: Vec<(Arc<str>, Box<Cage>)>,
    budgets: std::collections::HashMap<Arc<str>, Budget, ahash::RandomState>,
}

#[derive(Clone, Copy, Default)]
struct Budget {
    second: u64,
    spent: i64,
}

impl Plugins {
    /// Runs a function; gives its r0.
    pub fn run(
        &mut self,
        host: &VirtualHost,
        exchange: &mut Exchange,
        mut call: Call,
        entry: u32,
    ) -> Result<u64, Failure> {
        if call.depth >= DEPTH_MAX {
            return Err(Failure::Depth);
        }
        let plugin = call.plugin.clone();
        let second = exchange.now.monotonic_ns / 1_000_000_000;
        let fuel = self.allow(&plugin, exchange, second)?;
        call.fuel = fuel;
        let mut cage = self.take_cage(&plugin.namespace).map_err(Failure::Cage)?;
        cage.window.prepare(&plugin.data);
        cage.write_context(exchange, entry);
        let spent_before = exchange.plugins.fuel_spent;
        let taken_before = std::mem::take(&mut exchange.plugins.fuel_taken);
        let run = Run {
            host,
            exchange: &mut *exchange,
            constants: &plugin.constants,
            plugins: self,
            call: Some(Box::new(call)),
            fuel,
        };
        let outcome = cage.enter(&plugin.image, run, entry);
        let left = match &outcome {
            Ok(outcome) => outcome.fuel_left,
            // Native code may have charged less than it ran when it faulted: what it had is gone.
            Err(_) => 0,
        };
        let taken = std::mem::replace(&mut exchange.plugins.fuel_taken, taken_before);
        let used = (fuel - left - taken).max(0);
        exchange.plugins.fuel_spent = spent_before.max(exchange.plugins.fuel_spent).saturating_add(used);
        self.counted.push((plugin.slot, PluginCount::Fuel, used as u64));
        if let Some(budget) = self.budgets.get_mut(&plugin.namespace) {
            budget.spent = budget.spent.saturating_add(used);
        }
        self.cages.push((plugin.namespace.clone(), cage));
        outcome.map(|outcome| outcome.result).map_err(Failure::Trap)
    }

    /// Fuel for a call: the plugin's, as far as request and namespace have any left.
    fn allow(&mut self, plugin: &Plugin, exchange: &Exchange, second: u64) -> Result<i64, Failure> {
        let left = REQUEST_FUEL_MAX - exchange.plugins.fuel_spent;
        if left <= 0 {
            return Err(Failure::RequestFuel);
        }
        if self.budgets.len() >= NAMESPACES_MAX && !self.budgets.contains_key(&plugin.namespace) {
            self.budgets.retain(|_, budget| budget.second == second);
        }
        let budget = self.budgets.entry(plugin.namespace.clone()).or_default();
        if budget.second != second {
            *budget = Budget { second, spent: 0 };
        }
        if budget.spent >= NAMESPACE_FUEL_PER_S {
            return Err(Failure::NamespaceFuel);
        }
        Ok(plugin.fuel.min(left))
    }

    /// A cage that only this namespace used; where there are too many, the one that idles longest goes.
    fn take_cage(&mut self, namespace: &Arc<str>) -> std::io::Result<Box<Cage>> {
        if let Some(at) = self.cages.iter().rposition(|(owner, _)| owner == namespace) {
            return Ok(self.cages.remove(at).1);
        }
        if self.cages.len() >= CAGES_MAX {
            self.cages.remove(0);
        }
        Ok(Box::new(Cage::new()?))
    }
}

impl Call {
    pub fn new(plugin: Arc<Plugin>, depth: usize, input: Arc<serde_json::Value>) -> Self {
        Self { plugin, depth, fuel: 0, documents: Documents::new(input), keys: Vec::new() }
    }
}

/// Parts of a verdict: action, detail, index.
pub fn split_verdict(result: u64) -> (u64, u32, u32) {
    (result & 0xff, (result >> 8) as u32 & 0xff_ffff, (result >> 32) as u32)
}

const _: () = assert!(abi::VERDICT_ABORT == abi::ACTION_ABORT && abi::VERDICT_ERROR == abi::ACTION_ERROR);
const _: () = assert!(abi::VERDICT_PROXY == abi::ACTION_PROXY && abi::VERDICT_SUSPEND == abi::ACTION_SUSPEND);

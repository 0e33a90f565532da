//! Rows about what is known of a request: values with placeholders, `map`, log fields.

use super::compiling::Compiler;
use super::tables::{Alternatives, Assignment, BandwidthRow, ConcurrencyRow, FaultRow, VariableMatch};
use crate::exchange::texts::Text;
use crate::exchange::tracing::TraceRow;
use crate::exchange::{Exchange, Unknown};
use crate::protocol::{self, StoreDown};
use crate::rates::{self, Rate, Table};
use crate::searching::Pattern;
use crate::tenancy::Part;
use crate::tokens;
use std::sync::Arc;

type Bytes = Box<[u8]>;

/// What a matcher compares with; Dynamic where one of the values has a placeholder.
pub enum Values {
    Fixed(Alternatives),
    Dynamic(Box<[Text]>),
}

impl Values {
    pub fn compile(values: &[String], texts: &[protocol::Text]) -> Self {
        if texts.is_empty() {
            return Self::Fixed(values.iter().map(|value| value.as_bytes().into()).collect());
        }
        Self::Dynamic(texts.iter().map(|text| Text::compile(Some(text))).collect())
    }

    /// True when one of the values fits; placeholders are expanded as Caddy's ReplaceAll does.
    pub fn any(&self, exchange: &Exchange, mut fits: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Fixed(values) => values.iter().any(|value| fits(value)),
            Self::Dynamic(texts) => texts.iter().any(|text| {
                let mut value = Vec::new();
                exchange.expand(text, Unknown::Empty, &mut value);
                fits(&value)
            }),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Fixed(values) if values.is_empty())
    }
}

/// What an assigned value is to expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Text,
    Boolean,
    Integer,
    Double,
}

/// A row of Tables.maps.
pub struct ValueMap {
    pub source: Text,
    pub destinations: Box<[Bytes]>,
    pub mappings: Box<[Mapping]>,
    /// One for each destination, or none.
    pub defaults: Box<[Text]>,
}

pub struct Mapping {
    pub input: MapInput,
    /// None: this mapping does not give the destination.
    pub outputs: Box<[Option<MapOutput>]>,
}

pub enum MapInput {
    Text(Bytes),
    Pattern(Arc<Pattern>),
}

pub enum MapOutput {
    Text(Text),
    Template(Bytes),
}

/// A row of Tables.log_fields.
pub struct LogField {
    pub key: Bytes,
    pub value: Text,
    pub early: bool,
    pub variable: Bytes,
}

/// A row of Tables.rate_limits.
pub struct RateLimit {
    pub zone: Bytes,
    pub key: Text,
    pub rate: Rate,
    /// Where events are counted that nodes do not count together.
    pub table: Arc<Table>,
    /// How many keys its tenant may have of those that they do.
    pub keys: Arc<Part>,
    /// For `limit_shared_rate`.
    pub store_down: StoreDown,
}

pub(super) fn compile_rate_limit(row: &protocol::RateLimit) -> Result<RateLimit, String> {
    if row.events == 0 || row.window_ms == 0 {
        return Err("a rate limit without events or window".into());
    }
    let interval_ns = u64::from(row.window_ms) * 1_000_000 / u64::from(row.events);
    let burst = if row.burst == 0 { row.events } else { row.burst };
    let rate = Rate { interval_ns: interval_ns.max(1), burst };
    let (zone, key) = (row.name.as_bytes().into(), Text::compile(row.key.as_ref()));
    let (table, keys) = (rates::of_tenant(&row.tenant), tokens::part_of(&row.tenant));
    Ok(RateLimit { zone, key, rate, table, keys, store_down: row.store_down() })
}

pub(super) fn compile_fault(row: &protocol::Fault) -> FaultRow {
    FaultRow {
        delay_ms: u64::from(row.delay_ms),
        delays: u64::from(row.delays_in_million),
        aborts: u64::from(row.aborts_in_million),
    }
}

pub(super) fn compile_bandwidth(row: &protocol::Bandwidth) -> BandwidthRow {
    BandwidthRow { bytes_per_second: row.bytes_per_second, free_bytes: row.free_bytes }
}

pub(super) fn compile_concurrency(row: &protocol::Concurrency) -> ConcurrencyRow {
    ConcurrencyRow { requests_max: row.requests_max, key: Text::compile(row.key.as_ref()) }
}

pub(super) fn compile_map(compiler: &mut Compiler, row: &protocol::MapValues) -> Result<ValueMap, String> {
    let texts = |texts: &[protocol::Text]| texts.iter().map(|text| Text::compile(Some(text))).collect();
    let count = row.destinations.len();
    if row.mappings.iter().any(|mapping| mapping.outputs.len() != count)
        || !(row.defaults.is_empty() || row.defaults.len() == count)
    {
        return Err("a map without one output for each destination".into());
    }
    Ok(ValueMap {
        source: Text::compile(row.source.as_ref()),
        destinations: row.destinations.iter().map(|name| name.as_bytes().into()).collect(),
        mappings: row
            .mappings
            .iter()
            .map(|mapping| compile_mapping(compiler, mapping))
            .collect::<Result<_, String>>()?,
        defaults: texts(&row.defaults),
    })
}

fn compile_mapping(compiler: &mut Compiler, row: &protocol::Mapping) -> Result<Mapping, String> {
    let input = if row.pattern.is_empty() {
        MapInput::Text(row.input.as_bytes().into())
    } else {
        MapInput::Pattern(compiler.pattern(&row.pattern)?)
    };
    let outputs = row
        .outputs
        .iter()
        .map(|output| match (output.absent, &input) {
            (true, _) => None,
            (false, MapInput::Text(_)) => Some(MapOutput::Text(Text::compile(output.text.as_ref()))),
            (false, MapInput::Pattern(_)) => Some(MapOutput::Template(output.template.as_bytes().into())),
        })
        .collect();
    Ok(Mapping { input, outputs })
}

pub(super) fn compile_log_field(row: &protocol::LogField) -> LogField {
    LogField {
        key: row.key.as_bytes().into(),
        value: Text::compile(row.value.as_ref()),
        early: row.early,
        variable: row.variable.as_bytes().into(),
    }
}

pub(super) fn compile_trace(row: &protocol::Trace) -> TraceRow {
    let attribute =
        |one: &protocol::TraceAttribute| (one.name.as_str().into(), Text::compile(one.value.as_ref()));
    TraceRow {
        span: Text::compile(row.span.as_ref()),
        attributes: row.attributes.iter().map(attribute).collect(),
    }
}

pub(super) fn compile_variable_match(row: &protocol::VariableMatch) -> VariableMatch {
    VariableMatch {
        subject: Text::compile(row.subject.as_ref()),
        values: Values::compile(&row.values, &row.texts),
    }
}

pub(super) fn compile_assignment(row: &protocol::Assignment) -> Assignment {
    let name = match &row.name_text {
        Some(name) => Text::compile(Some(name)),
        None => Text::Literal(row.name.as_bytes().into()),
    };
    let kind = match row.kind() {
        protocol::ValueKind::ValueText => ValueKind::Text,
        protocol::ValueKind::ValueBoolean => ValueKind::Boolean,
        protocol::ValueKind::ValueInteger => ValueKind::Integer,
        protocol::ValueKind::ValueDouble => ValueKind::Double,
    };
    Assignment { name, value: Text::compile(row.value.as_ref()), kind }
}

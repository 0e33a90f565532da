//! Fields that `format append` adds to each line (modules/logging/appendencoder.go).

use super::records::Value;
use crate::exchange::texts::{Part, Text};
use crate::exchange::{Exchange, Unknown};
use crate::protocol;

#[derive(Debug)]
pub enum Constant {
    Text(Text),
    Integer(i64),
    Double(f64),
    Boolean(bool),
}

impl Constant {
    pub fn compile(constant: &protocol::LogConstant) -> Option<(Box<[u8]>, Self)> {
        use protocol::log_constant::Value;
        let value = match constant.value.as_ref()? {
            Value::Text(text) => {
                Constant::Text(match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                    Some(name) if !name.contains('{') => Text::placeholder(name),
                    _ => Text::Literal(text.as_bytes().into()),
                })
            }
            Value::Integer(number) => Constant::Integer(*number),
            Value::Double(number) => Constant::Double(*number),
            Value::Boolean(holds) => Constant::Boolean(*holds),
        };
        Some((constant.key.as_bytes().into(), value))
    }

    pub fn evaluate(&self, exchange: &Exchange) -> Value<'_> {
        match self {
            Constant::Text(Text::Literal(literal)) => Value::Text(literal[..].into()),
            // The encoder knows the machine and the clock, not the request.
            Constant::Text(Text::Parts(parts)) => match &parts[..] {
                [Part::Placeholder(placeholder)] if placeholder.is_global() => {
                    let mut text = Vec::new();
                    exchange.expand_placeholder(placeholder, Unknown::Empty, &mut text);
                    Value::Text(text.into())
                }
                _ => Value::Null,
            },
            Constant::Integer(number) => Value::Integer(*number),
            Constant::Double(number) => Value::Double(*number),
            Constant::Boolean(holds) => Value::Boolean(*holds),
        }
    }
}

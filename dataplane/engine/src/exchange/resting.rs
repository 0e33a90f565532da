//! What an exchange keeps for the next one: buffers of an ordinary size, and nothing of a snapshot, which would live on.

use super::Exchange;
use crate::limits::POOLED_EXCHANGE_BYTES_MAX;

impl Exchange {
    /// Lets go of what belongs to others, and of bodies.
    pub fn rest(&mut self) {
        (self.replaced_body, self.read_body, self.sent, self.steps) = (None, None, None, None);
        (self.answering_call, self.upstream, self.cache) = (None, None, None);
        self.places.clear();
        self.wrappers.clear();
        self.filter_choices.clear();
        self.templates.clear();
        self.maps.clear();
        self.log_rows.clear();
        self.plugins = Default::default();
    }

    /// Bytes that a copy of it copies.
    pub fn measure(&self) -> usize {
        let buffers = [&self.target, &self.authority, &self.path, &self.clean_path, &self.query];
        let bodies = [&self.read_body, &self.replaced_body].into_iter().flatten();
        let fields =
            [&self.request, &self.answer, &self.told, &self.upstream_fields, &self.intercepted_fields];
        let noted = self.variables.iter().chain(self.captures.iter());
        buffers.into_iter().chain(bodies).map(Vec::len).sum::<usize>()
            + fields.iter().map(|fields| fields.capacity()).sum::<usize>()
            + noted.map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.plugins.measure()
    }

    /// Its buffers are worth keeping.
    pub fn is_ordinary(&self) -> bool {
        let buffers =
            [&self.target, &self.authority, &self.path, &self.clean_path, &self.query, &self.explanation];
        let fields = [&self.request, &self.answer, &self.told, &self.upstream_fields, &self.scratch];
        let bytes = buffers.iter().map(|buffer| buffer.capacity()).sum::<usize>()
            + fields.iter().map(|fields| fields.capacity()).sum::<usize>();
        bytes <= POOLED_EXCHANGE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_kept_unless_its_buffers_grew() {
        let mut exchange = Exchange::new();
        assert!(exchange.is_ordinary());
        exchange.request.push_checked(b"cookie", &[b'x'; POOLED_EXCHANGE_BYTES_MAX]);
        exchange.request.clear();
        assert!(!exchange.is_ordinary());
    }

    #[test]
    fn bodies_are_given_back() {
        let mut exchange = Exchange::new();
        (exchange.read_body, exchange.replaced_body) = (Some(vec![0; 9]), Some(vec![0; 9]));
        exchange.rest();
        assert!(exchange.read_body.is_none() && exchange.replaced_body.is_none());
    }
}

use super::*;
use crate::snapshot::{ProxyCall, Settings};

pub struct Exchange {}
impl Exchange {
    pub fn new() -> Self {
        todo!()
    }
    /// Takes a parsed head.
    pub fn begin(
        &mut self,
        _head: &RequestHead,
        _peer: &Peer,
        _settings: &Settings,
        _now: Clock,
    ) -> Result<(), Refuse> {
        todo!()
    }
    pub fn host(&self) -> &[u8] {
        todo!()
    }
    /// As received.
    pub fn method(&self) -> &[u8] {
        todo!()
    }
    /// What `limit_request_body` set; None: the settings' limit.
    pub fn request_body_bytes_max(&self) -> Option<u64> {
        todo!()
    }
    /// Status for error routes and response entries (context STATUS).
    pub fn set_status(&mut self, _status: u16) {
        todo!()
    }
    /// What a suspended operation gave (context RESUME_RESULT).
    pub fn set_resume_result(&mut self, _result: u32) {
        todo!()
    }
    /// User and password of Authorization, for the password check of a suspended program.
    pub fn credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        todo!()
    }
    /// Appends the HTTP/1.1 request head for the upstream.
    pub fn write_upstream_head(&mut self, _call: &ProxyCall, _framing: Framing, _out: &mut Vec<u8>) {
        todo!()
    }
    /// Appends the response head for the client.
    pub fn write_downstream_head(&mut self, _head: &ResponseHead, _framing: Framing, _out: &mut Vec<u8>) {
        todo!()
    }
    /// Appends a static answer; returns (status, body bytes).
    pub fn write_response(
        &mut self,
        _answer: StaticAnswer,
        _connection: Connection,
        _out: &mut Vec<u8>,
    ) -> (u16, usize) {
        todo!()
    }
}
impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

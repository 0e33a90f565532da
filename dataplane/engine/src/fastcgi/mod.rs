//! FastCGI 1.0, responder role, without I/O: a request as records, a response's records as an HTTP/1.1 answer.
//!
//! In: an exchange and its body's bytes; the upstream's bytes. Out: records; a head that the strict parser of answers
//! reads, and the body. `connection::cgi` drives it. One request a connection (Caddy: fastcgi/client.go does the same).
//! Rule: an answer is complete with END_REQUEST only; bytes that are no records cost the connection.

pub mod params;
pub mod records;
pub mod response;

pub use params::FastCgi;
pub use response::Response;

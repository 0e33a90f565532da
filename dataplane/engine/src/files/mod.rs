//! Static files: what a request's path leads to, and what is sent of it.
//!
//! `finding` and `matching` take expanded questions (no request behind them) and answer at once with what the kernel has
//! in memory, else the same call runs on `pool`. `connection::filing` asks and sends. Rule: no byte of a file is
//! kept between two requests, and a change of a file is seen at once; `descriptors` has what is kept.

pub mod answering;
pub mod asking;
pub mod browsing;
pub mod conditional;
pub mod descriptors;
pub mod finding;
pub mod hiding;
pub mod listing;
pub mod matching;
pub mod mime;
pub mod negotiating;
pub mod opening;
pub mod paths;
pub mod pool;
pub mod ranges;
pub mod redirecting;

#[cfg(test)]
pub mod testing;

//! What a plugin in Rust needs, and all that there is beside `core`.
//!
//! A function that routes may call:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use zeroserve::*;
//!
//! zeroserve::function! {
//!     fn hello(_context: &Context) -> Verdict {
//!         write_response_header(b"X-Hello", b"world");
//!         Verdict::CONTINUE
//!     }
//! }
//! ```
//!
//! There is no `std`, no `alloc` and no state between requests other than what helpers keep: statics begin anew at
//! every call. A frame holds 512 bytes; larger buffers are a [`Room`]. A panic is a trap: the request is answered with
//! 500. Helpers that copy out give the whole length, which may exceed the room; [`NONE`] where there is nothing;
//! [`LATER`] where it is not known yet: return [`Verdict::SUSPEND`] then, and the function is called again.
#![no_std]

mod abi;
mod text;
mod unsafe_room;

pub use abi::*;
pub use text::Text;
pub use unsafe_room::Room;

/// Document 0 is the function's input: `{"version": 1, "config": {...}, "route": {...}}`.
pub const INPUT: u64 = 0;
pub const NONE: u64 = u64::MAX;
pub const LATER: u64 = u64::MAX - 1;

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Verdict(pub u64);

impl Verdict {
    /// The route goes on, with what the function changed.
    pub const CONTINUE: Self = Self(0);
    /// The connection is closed without an answer.
    pub const ABORT: Self = Self(4);
    /// A helper gave [`LATER`].
    pub const SUSPEND: Self = Self(6);
    /// The answer of the last `fetch` is the answer.
    pub const ADOPT: Self = Self(9);

    /// The answer that the helpers made, with this status.
    pub const fn respond(status: u16) -> Self {
        Self(1 | (status as u64) << 8)
    }

    /// To an upstream, by the number that `find_upstream` gave.
    pub const fn proxy(upstream: u32) -> Self {
        Self(2 | (upstream as u64) << 32)
    }

    /// To the error routes.
    pub const fn error(status: u16) -> Self {
        Self(5 | (status as u64) << 8)
    }
}

/// Exports a function that routes may call by `zeroserve_call`.
#[macro_export]
macro_rules! function {
    ($(#[$meta:meta])* fn $name:ident($context:ident: &Context) -> Verdict $body:block) => {
        $crate::export! { "function" $(#[$meta])* fn $name($context: &Context) -> Verdict $body }
    };
}

/// Exports a function that runs before the routes of a host.
#[macro_export]
macro_rules! request {
    ($(#[$meta:meta])* fn $name:ident($context:ident: &Context) -> Verdict $body:block) => {
        $crate::export! { "request" $(#[$meta])* fn $name($context: &Context) -> Verdict $body }
    };
}

/// Exports a function that runs once there is an answer.
#[macro_export]
macro_rules! response {
    ($(#[$meta:meta])* fn $name:ident($context:ident: &Context) -> Verdict $body:block) => {
        $crate::export! { "response" $(#[$meta])* fn $name($context: &Context) -> Verdict $body }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export {
    ($section:literal $(#[$meta:meta])* fn $name:ident($context:ident: &Context) -> Verdict $body:block) => {
        $(#[$meta])*
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        pub extern "C" fn $name($context: &$crate::Context) -> $crate::Verdict $body
    };
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe_room::trap()
}

//! Accepting rests where the process has no room for one connection more: those that wait in the backlog would wake the
//! worker at once again, for nothing.

use crate::access_log;
use crate::exchange::Clock;

/// Until accept is tried again.
const REST_MS: u64 = 100;
/// Between two lines that tell of it.
const TOLD_AGAIN_MS: u64 = 60_000;
const MS_NS: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct AcceptRest {
    /// Of the monotonic clock.
    until_ns: Option<u64>,
    told_ns: Option<u64>,
}

impl AcceptRest {
    /// Accept failed with this error number. True: a rest begins.
    pub fn begin(&mut self, error: i32, clock: Clock) -> bool {
        if !matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) {
            return false;
        }
        let now_ns = clock.monotonic_ns;
        self.until_ns = Some(now_ns + REST_MS * MS_NS);
        if self.told_ns.is_none_or(|told_ns| now_ns >= told_ns + TOLD_AGAIN_MS * MS_NS) {
            self.told_ns = Some(now_ns);
            let why = std::io::Error::from_raw_os_error(error);
            let cure = "raise the limit of open files (ulimit -n, LimitNOFILE=)";
            access_log::log("engine", &format!("clients wait for their connection: {why}: {cure}"));
        }
        true
    }

    pub fn is_on(&self) -> bool {
        self.until_ns.is_some()
    }

    /// True once, when a rest is over.
    pub fn ends(&mut self, clock: Clock) -> bool {
        self.until_ns.take_if(|until_ns| clock.monotonic_ns >= *until_ns).is_some()
    }

    /// No longer sleep than the rest.
    pub fn bound(&self, wait_ms: Option<u64>) -> Option<u64> {
        self.until_ns.map_or(wait_ms, |_| Some(wait_ms.map_or(REST_MS, |wait_ms| wait_ms.min(REST_MS))))
    }
}

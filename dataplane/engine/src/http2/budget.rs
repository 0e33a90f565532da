//! One budget per connection for everything that costs us work and asks for no answer: resets by the peer, resets that it
//! made us send, SETTINGS, PING, their unasked answers, PRIORITY, WINDOW_UPDATE, empty DATA, CONTINUATION, unknown frames.
//!
//! Rule: useful work earns it back (a finished exchange, a DATA frame either way) and so does time, slowly; when it is
//! spent the connection ends with ENHANCE_YOUR_CALM (reliability.md 2.3). CVE-2023-44487, CVE-2024-27316 and
//! CVE-2025-8671 are one attack to it.

use super::Violation;
use super::frames::Code;
use crate::limits::{HTTP2_BUDGET, HTTP2_BUDGET_PER_SECOND};

/// What is left, and when it was filled last.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u32,
    filled_ms: u64,
}

impl Budget {
    pub fn new(now_ms: u64) -> Budget {
        Budget { left: HTTP2_BUDGET, filled_ms: now_ms }
    }

    /// Time goes by.
    pub fn fill(&mut self, now_ms: u64) {
        let seconds = now_ms.saturating_sub(self.filled_ms) / 1000;
        if seconds > 0 {
            self.filled_ms += seconds * 1000;
            self.earn(u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(HTTP2_BUDGET_PER_SECOND));
        }
    }

    pub fn earn(&mut self, points: u32) {
        self.left = self.left.saturating_add(points).min(HTTP2_BUDGET);
    }

    pub fn spend(&mut self, points: u32) -> Result<(), Violation> {
        match self.left.checked_sub(points) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Violation::new(Code::EnhanceYourCalm, "too many frames that only cost")),
        }
    }
}

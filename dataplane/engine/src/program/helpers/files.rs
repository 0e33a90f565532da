//! The `file` matcher, where the kernel can tell without waiting.

use super::{HelperResult, Vm, row};
use crate::files::matching::{Question, find};
use crate::files::opening::Patience;

/// 0 no file, 1 found, 2 not known yet, 3 raises its status.
pub fn match_file(vm: &mut Vm, index: u64) -> HelperResult {
    const UNKNOWN: u64 = 2;
    let row = row(&vm.tables().file_matches, index)?;
    let exchange = vm.exchange();
    let answer = find(&Question::new(row, exchange), Patience::Cached);
    Ok(answer.map_or(UNKNOWN, |answer| u64::from(exchange.take_match(answer))))
}

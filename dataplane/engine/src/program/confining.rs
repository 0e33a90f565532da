//! Indices of programs behind a check of bounds: also where a processor guesses that the check will pass (Spectre v1).

use std::arch::asm;

/// `index` where it is below `bound`, else 0, by arithmetic alone: no branch decides it that could be mispredicted.
#[inline(always)]
pub fn confine(mut index: usize, bound: usize) -> usize {
    // SAFETY: no instruction. LLVM would drop a mask which the branch before it implies.
    unsafe { asm!("/* {0} */", inout(reg) index, options(pure, nomem, nostack, preserves_flags)) };
    let is_outside = (index | bound.wrapping_sub(1).wrapping_sub(index)) as isize >> (usize::BITS - 1);
    index & !is_outside as usize
}

/// The item of a program's number.
#[inline(always)]
pub fn find<T>(items: &[T], number: u64) -> Option<&T> {
    let index = usize::try_from(number).ok().filter(|index| *index < items.len())?;
    items.get(confine(index, items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_becomes_the_first() {
        for bound in [0, 1, 2, 7, 1 << 32, isize::MAX as usize] {
            for index in
                [0, 1, 6, 7, 8, (1 << 32) - 1, 1 << 32, isize::MAX as usize, usize::MAX - 1, usize::MAX]
            {
                assert_eq!(
                    confine(index, bound),
                    if index < bound { index } else { 0 },
                    "{index} of {bound}"
                );
            }
        }
    }
}

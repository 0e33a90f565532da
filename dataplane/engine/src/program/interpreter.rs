//! Byte code (RFC 9669) with the meaning that native images have: for programs that could not be compiled, and for
//! engines that may not map executable memory.
//!
//! The code was verified by the agent; all the same nothing here trusts it: bad code is a trap, never a panic.

use super::abi;
use super::helpers::Vm;
use super::run::{Trap, call_helper};

#[derive(Clone, Copy, Debug)]
struct Instruction {
    opcode: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

/// Decoded byte code.
pub struct Code {
    slots: Box<[Instruction]>,
    /// First slots of subprograms, ascending: a local call costs the callee's length in slots.
    starts: Box<[usize]>,
}

impl Code {
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let count = bytes.len() / 8;
        if bytes.is_empty() || !bytes.len().is_multiple_of(8) || count > abi::INSTRUCTIONS_MAX as usize {
            return Err(format!(
                "{} bytes are no byte code of at most {} instructions",
                bytes.len(),
                abi::INSTRUCTIONS_MAX
            ));
        }
        let decode = |raw: &[u8]| Instruction {
            opcode: raw[0],
            destination: raw[1] & 15,
            source: raw[1] >> 4,
            offset: i16::from_le_bytes([raw[2], raw[3]]),
            immediate: i32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
        };
        let code: Box<[Instruction]> = bytes.chunks_exact(8).map(decode).collect();
        match code.iter().position(|instruction| instruction.destination > 10 || instruction.source > 10) {
            Some(index) => Err(format!("instruction {index} names no register")),
            None => Ok(Self { starts: find_starts(&code), slots: code }),
        }
    }

    /// Slots from the first one of a subprogram to the next called one, or the end.
    fn length_of(&self, start: usize) -> usize {
        let next = self.starts.partition_point(|&other| other <= start);
        self.starts.get(next).copied().unwrap_or(self.slots.len()).saturating_sub(start)
    }

    #[inline(never)]
    pub fn run(&self, vm: &mut Vm, entry: u32) -> Result<u64, Trap> {
        let mut frame = Frame { registers: [0; 11], pc: 0 };
        frame.registers[1] = abi::CONTEXT;
        frame.registers[2] = u64::from(entry);
        frame.registers[10] = abi::STACK_TOP;
        let mut callers: Vec<([u64; 5], usize)> = Vec::new();
        // Back edges and calls pay for what runs again: verified code ends before this.
        let steps_max = self.slots.len() as u64 + vm.fuel().unsigned_abs();
        for _ in 0..=steps_max {
            let index = frame.pc;
            let instruction = *self.slots.get(index).ok_or(Trap::Instruction(index as u32))?;
            frame.pc += 1;
            match instruction.opcode & 7 {
                0 => self.load_immediate(&mut frame, instruction, index)?,
                1..=3 => access(vm, &mut frame.registers, instruction, index)?,
                4 | 7 => compute(&mut frame.registers, instruction).ok_or(Trap::Instruction(index as u32))?,
                _ if instruction.opcode == 0x95 => match callers.pop() {
                    None => return Ok(frame.registers[0]),
                    Some((saved, pc)) => {
                        frame.registers[6..11].copy_from_slice(&saved);
                        frame.pc = pc;
                    }
                },
                _ if instruction.opcode == 0x85 => {
                    self.call(vm, &mut frame, &mut callers, instruction, index)?
                }
                _ => jump(vm, &mut frame, instruction, index)?,
            }
        }
        Err(Trap::Fuel)
    }

    /// `lddw`: two slots; source register 6 is an offset in the constants, the second immediate (RFC 9669 5.4).
    fn load_immediate(&self, frame: &mut Frame, instruction: Instruction, index: usize) -> Result<(), Trap> {
        let next = self
            .slots
            .get(frame.pc)
            .filter(|_| instruction.opcode == 0x18)
            .ok_or(Trap::Instruction(index as u32))?;
        let value = u64::from(instruction.immediate as u32) | u64::from(next.immediate as u32) << 32;
        frame.registers[usize::from(instruction.destination)] = match instruction.source {
            0 => value,
            6 if instruction.immediate == 0 => abi::CONSTANTS + u64::from(next.immediate as u32),
            _ => return Err(Trap::Instruction(index as u32)),
        };
        frame.pc += 1;
        Ok(())
    }

    fn call(
        &self,
        vm: &mut Vm,
        frame: &mut Frame,
        callers: &mut Vec<([u64; 5], usize)>,
        instruction: Instruction,
        index: usize,
    ) -> Result<(), Trap> {
        let trap = Trap::Instruction(index as u32);
        let registers = &mut frame.registers;
        match instruction.source {
            0 => {
                let arguments = [registers[1], registers[2], registers[3], registers[4], registers[5]];
                let number = u32::try_from(instruction.immediate).map_err(|_| trap)?;
                // None: the VM block holds the reason, `Machine` reads it there.
                registers[0] = call_helper(vm, number, arguments).ok_or(Trap::Fuel)?;
            }
            1 if callers.len() + 1 < abi::CALL_DEPTH_MAX as usize => {
                let callee = jump_target(frame.pc, instruction.immediate).ok_or(trap)?;
                if !vm.spend(self.length_of(callee) as i64) {
                    return Err(Trap::Fuel);
                }
                let saved = [registers[6], registers[7], registers[8], registers[9], registers[10]];
                callers.push((saved, frame.pc));
                registers[10] = registers[10].wrapping_sub(abi::FRAME_BYTES);
                frame.pc = callee;
            }
            _ => return Err(trap),
        }
        Ok(())
    }
}

/// First slots of the main program and of what local calls name, ascending.
fn find_starts(slots: &[Instruction]) -> Box<[usize]> {
    let called = slots.iter().enumerate().filter(|(_, slot)| slot.opcode == 0x85 && slot.source == 1);
    let mut starts: Vec<usize> =
        called.filter_map(|(index, slot)| jump_target(index + 1, slot.immediate)).collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    starts.into()
}

struct Frame {
    registers: [u64; 11],
    pc: usize,
}

fn jump_target(pc: usize, offset: i32) -> Option<usize> {
    usize::try_from(pc as i64 + i64::from(offset)).ok()
}

fn jump(vm: &mut Vm, frame: &mut Frame, instruction: Instruction, index: usize) -> Result<(), Trap> {
    let trap = Trap::Instruction(index as u32);
    let wide = instruction.opcode & 7 == 5;
    let left = frame.registers[usize::from(instruction.destination)];
    let right = if instruction.opcode & 8 == 0 {
        i64::from(instruction.immediate) as u64
    } else {
        frame.registers[usize::from(instruction.source)]
    };
    let (left, right) = if wide { (left, right) } else { (u64::from(left as u32), u64::from(right as u32)) };
    let (s_left, s_right) =
        if wide { (left as i64, right as i64) } else { (i64::from(left as i32), i64::from(right as i32)) };
    let taken = match instruction.opcode & 0xf0 {
        0x00 => true,
        0x10 => left == right,
        0x20 => left > right,
        0x30 => left >= right,
        0x40 => left & right != 0,
        0x50 => left != right,
        0x60 => s_left > s_right,
        0x70 => s_left >= s_right,
        0xa0 => left < right,
        0xb0 => left <= right,
        0xc0 => s_left < s_right,
        0xd0 => s_left <= s_right,
        _ => return Err(trap),
    };
    if taken {
        // `ja` of class JMP32 has a 32-bit offset (RFC 9669 4.3.1).
        let long = instruction.opcode == 0x06;
        let offset = if long { instruction.immediate } else { i32::from(instruction.offset) };
        if offset < 0 && !vm.spend(-i64::from(offset)) {
            return Err(Trap::Fuel);
        }
        frame.pc = jump_target(frame.pc, offset).ok_or(trap)?;
    }
    Ok(())
}

/// Arithmetic and byte order. None: no such instruction.
fn compute(registers: &mut [u64; 11], instruction: Instruction) -> Option<()> {
    let wide = instruction.opcode & 7 == 7;
    let destination = &mut { registers[usize::from(instruction.destination)] };
    let operation = instruction.opcode & 0xf0;
    if operation == 0xd0 {
        registers[usize::from(instruction.destination)] = swap(*destination, instruction, wide)?;
        return Some(());
    }
    let right = if instruction.opcode & 8 == 0 {
        i64::from(instruction.immediate) as u64
    } else {
        registers[usize::from(instruction.source)]
    };
    let result = if wide {
        compute_64(operation, *destination, right, instruction.offset)?
    } else {
        u64::from(compute_32(operation, *destination as u32, right as u32, instruction.offset)?)
    };
    registers[usize::from(instruction.destination)] = result;
    Some(())
}

fn compute_64(operation: u8, left: u64, right: u64, offset: i16) -> Option<u64> {
    let signed = offset == 1;
    Some(match (operation, offset) {
        (0x00, 0) => left.wrapping_add(right),
        (0x10, 0) => left.wrapping_sub(right),
        (0x20, 0) => left.wrapping_mul(right),
        (0x30, 0 | 1) if right == 0 => 0,
        (0x30, 0 | 1) if signed => (left as i64).wrapping_div(right as i64) as u64,
        (0x30, 0) => left / right,
        (0x40, 0) => left | right,
        (0x50, 0) => left & right,
        (0x60, 0) => left << (right & 63),
        (0x70, 0) => left >> (right & 63),
        (0x80, 0) => left.wrapping_neg(),
        (0x90, 0 | 1) if right == 0 => left,
        (0x90, 0 | 1) if signed => (left as i64).wrapping_rem(right as i64) as u64,
        (0x90, 0) => left % right,
        (0xa0, 0) => left ^ right,
        (0xb0, 0) => right,
        (0xb0, 8) => i64::from(right as i8) as u64,
        (0xb0, 16) => i64::from(right as i16) as u64,
        (0xb0, 32) => i64::from(right as i32) as u64,
        (0xc0, 0) => ((left as i64) >> (right & 63)) as u64,
        _ => return None,
    })
}

fn compute_32(operation: u8, left: u32, right: u32, offset: i16) -> Option<u32> {
    let signed = offset == 1;
    Some(match (operation, offset) {
        (0x00, 0) => left.wrapping_add(right),
        (0x10, 0) => left.wrapping_sub(right),
        (0x20, 0) => left.wrapping_mul(right),
        (0x30, 0 | 1) if right == 0 => 0,
        (0x30, 0 | 1) if signed => (left as i32).wrapping_div(right as i32) as u32,
        (0x30, 0) => left / right,
        (0x40, 0) => left | right,
        (0x50, 0) => left & right,
        (0x60, 0) => left << (right & 31),
        (0x70, 0) => left >> (right & 31),
        (0x80, 0) => left.wrapping_neg(),
        (0x90, 0 | 1) if right == 0 => left,
        (0x90, 0 | 1) if signed => (left as i32).wrapping_rem(right as i32) as u32,
        (0x90, 0) => left % right,
        (0xa0, 0) => left ^ right,
        (0xb0, 0) => right,
        (0xb0, 8) => i32::from(right as i8) as u32,
        (0xb0, 16) => i32::from(right as i16) as u32,
        (0xc0, 0) => ((left as i32) >> (right & 31)) as u32,
        _ => return None,
    })
}

/// `le`, `be` (class ALU) and `bswap` (class ALU64).
fn swap(value: u64, instruction: Instruction, wide: bool) -> Option<u64> {
    let reverses = wide || instruction.opcode & 8 != 0;
    if wide && instruction.opcode & 8 != 0 {
        return None;
    }
    Some(match (instruction.immediate, reverses) {
        (16, false) => u64::from(value as u16),
        (32, false) => u64::from(value as u32),
        (64, false) => value,
        (16, true) => u64::from((value as u16).swap_bytes()),
        (32, true) => u64::from((value as u32).swap_bytes()),
        (64, true) => value.swap_bytes(),
        _ => return None,
    })
}

/// Loads, stores and atomics.
fn access(
    vm: &mut Vm,
    registers: &mut [u64; 11],
    instruction: Instruction,
    index: usize,
) -> Result<(), Trap> {
    let size: usize = [4, 2, 1, 8][usize::from(instruction.opcode >> 3 & 3)];
    let (mode, class) = (instruction.opcode & 0xe0, instruction.opcode & 7);
    let (destination, source) = (usize::from(instruction.destination), usize::from(instruction.source));
    if class == 1 {
        let marked = instruction.immediate == abi::LOAD_OF_WINDOW as i32;
        let value = load(vm, registers[source], instruction.offset, size, !marked)?;
        registers[destination] = match (mode, size) {
            (0x60, _) => value,
            (0x80, 1) => i64::from(value as i8) as u64,
            (0x80, 2) => i64::from(value as i16) as u64,
            (0x80, 4) => i64::from(value as i32) as u64,
            _ => return Err(Trap::Instruction(index as u32)),
        };
        return Ok(());
    }
    match (class, mode) {
        (2, 0x60) => store(
            vm,
            registers[destination],
            instruction.offset,
            size,
            i64::from(instruction.immediate) as u64,
        ),
        (3, 0x60) => store(vm, registers[destination], instruction.offset, size, registers[source]),
        (3, 0xc0) if size >= 4 => atomic(vm, registers, instruction, size, index),
        _ => Err(Trap::Instruction(index as u32)),
    }
}

/// Base register cut to 32 bits, then the displacement: as native code computes it. Constants are read in place,
/// but by loads that the agent marked: those the verifier knows to be of the window, whatever their address.
fn load(vm: &mut Vm, base: u64, offset: i16, size: usize, constants: bool) -> Result<u64, Trap> {
    let mut bytes = [0; 8];
    let constant = base.wrapping_add(offset as u64).wrapping_sub(abi::CONSTANTS);
    let found = vm.constants().get(constant as usize..).and_then(|rest| rest.get(..size));
    if let Some(found) = found.filter(|_| constants) {
        bytes[..size].copy_from_slice(found);
        return Ok(u64::from_le_bytes(bytes));
    }
    let guest = i64::from(base as u32) + i64::from(offset);
    let memory =
        vm.window().access(guest, size as u64, false).ok_or(Trap::Memory { address: guest as u64 })?;
    bytes[..size].copy_from_slice(memory);
    Ok(u64::from_le_bytes(bytes))
}

fn store(vm: &mut Vm, base: u64, offset: i16, size: usize, value: u64) -> Result<(), Trap> {
    let guest = i64::from(base as u32) + i64::from(offset);
    let memory =
        vm.window().access(guest, size as u64, true).ok_or(Trap::Memory { address: guest as u64 })?;
    memory.copy_from_slice(&value.to_le_bytes()[..size]);
    Ok(())
}

/// A window belongs to one thread: the plain operations are atomic enough.
fn atomic(
    vm: &mut Vm,
    registers: &mut [u64; 11],
    instruction: Instruction,
    size: usize,
    index: usize,
) -> Result<(), Trap> {
    let (destination, source) = (usize::from(instruction.destination), usize::from(instruction.source));
    // Aligned within 32 bits, as native code must have it: an atomic that crosses a line faults elsewhere.
    let address = (registers[destination] as u32).wrapping_add(i32::from(instruction.offset) as u32);
    let guest = i64::from(address & !(size as u32 - 1));
    let memory =
        vm.window().access(guest, size as u64, true).ok_or(Trap::Memory { address: guest as u64 })?;
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(memory);
    let old = u64::from_le_bytes(bytes);
    let cut = |value: u64| if size == 4 { u64::from(value as u32) } else { value };
    let operand = cut(registers[source]);
    let compared = instruction.immediate == 0xf1;
    let new = match instruction.immediate & !1 {
        0x00 => old.wrapping_add(operand),
        0x40 => old | operand,
        0x50 => old & operand,
        0xa0 => old ^ operand,
        0xe0 if instruction.immediate == 0xe1 => operand,
        0xf0 if compared && old == cut(registers[0]) => operand,
        0xf0 if compared => old,
        _ => return Err(Trap::Instruction(index as u32)),
    };
    memory.copy_from_slice(&new.to_le_bytes()[..size]);
    if compared {
        registers[0] = old;
    } else if instruction.immediate & 1 == 1 {
        registers[source] = old;
    }
    Ok(())
}

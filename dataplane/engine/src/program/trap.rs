//! Entering native code, and leaving it where it faults.
//!
//! A fault is recovered only when the instruction pointer lies in the image that this thread runs: its frames are
//! generated code alone, so dropping them is sound. Any other fault ends the process as it would without us.

use super::abi;
use super::window::Window;
use std::arch::naked_asm;
use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::Once;

/// What the signal handler needs of the thread's execution. `stack` stays first: `enter` writes it.
#[repr(C)]
pub struct Recovery {
    stack: usize,
    code: (usize, usize),
    window: *mut Window,
    /// Guest address of the fault, or u64::MAX where it was no access.
    fault: u64,
    trapped: bool,
}

thread_local! {
    static CURRENT: Cell<*mut Recovery> = const { Cell::new(ptr::null_mut()) };
}

impl Recovery {
    pub fn new() -> Self {
        Self { stack: 0, code: (0, 0), window: ptr::null_mut(), fault: 0, trapped: false }
    }

    /// Runs native code. Err: guest address of the fault.
    ///
    /// # Safety
    /// `code` is a route program that follows the ABI, mapped for the whole call, inside `range`; `vm` begins with fuel
    /// and helpers; `constants` is readable as far as the program was verified to read.
    #[inline(always)]
    pub unsafe fn enter(
        &mut self,
        window: &mut Window,
        vm: *mut u8,
        constants: *const u8,
        entry: u32,
        code: *const u8,
        range: (usize, usize),
    ) -> Result<u64, u64> {
        self.code = range;
        self.trapped = false;
        self.window = window;
        // A plugin's call is entered from a helper of the program that is entered already.
        let outer = CURRENT.replace(self);
        // SAFETY: as this function's contract; `self` outlives the call and is what the handler finds.
        let result = unsafe { enter(window.base(), vm, constants, u64::from(entry), code, self) };
        CURRENT.set(outer);
        if self.trapped { Err(self.fault) } else { Ok(result) }
    }
}

/// Runs native code that cannot fault: there is nothing to recover from, so nothing is saved or noted.
///
/// # Safety
/// As `Recovery::enter`; besides, every access of the code is a read of bytes that are mapped for it. `vm` may be null
/// for code that neither calls a helper nor spends fuel.
#[inline(always)]
pub unsafe fn call(window: *mut u8, vm: *mut u8, constants: *const u8, entry: u32, code: *const u8) -> u64 {
    type Code = unsafe extern "C" fn(*mut u8, *mut u8, *const u8, u64) -> u64;
    // SAFETY: as this function's contract; `code` is the entry that the ABI describes.
    unsafe { std::mem::transmute::<*const u8, Code>(code)(window, vm, constants, u64::from(entry)) }
}

/// Saves what the C calling convention preserves, notes the stack pointer, calls the code.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn enter(
    window: *mut u8,
    vm: *mut u8,
    constants: *const u8,
    entry: u64,
    code: *const u8,
    recovery: *mut Recovery,
) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [r9], rsp",
        "call r8",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Where the handler sends a faulting program: the rest of `enter`, with the noted stack pointer.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "cld",
        "xor eax, eax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn enter(
    window: *mut u8,
    vm: *mut u8,
    constants: *const u8,
    entry: u64,
    code: *const u8,
    recovery: *mut Recovery,
) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-160]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x6, sp",
        "str x6, [x5]",
        "blr x4",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x27, x28, [sp, #80]",
        "ldp x25, x26, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov x0, #0",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x27, x28, [sp, #80]",
        "ldp x25, x26, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// Installs the handler once per process.
pub fn install() -> io::Result<()> {
    static INSTALLED: Once = Once::new();
    let mut result = Ok(());
    INSTALLED.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
            // SAFETY: a zeroed sigaction is valid; the handler has the signature of SA_SIGINFO.
            let failed = unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(signal, &action, ptr::null_mut()) != 0
            };
            if failed {
                result = Err(io::Error::last_os_error());
            }
        }
    });
    result
}

/// Async-signal-safe: reads the thread's record, changes the interrupted context, or restores the default action.
extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let recovery = CURRENT.get();
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a valid context; a record that is set belongs to `Recovery::enter`, still below us.
    unsafe {
        let pc = program_counter(context);
        if recovery.is_null() || pc < (*recovery).code.0 || pc >= (*recovery).code.1 {
            // Not ours: the instruction runs again and ends the process with this very signal.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let window = &mut *(*recovery).window;
        let guest = ((*info).si_addr() as usize).wrapping_sub(window.base() as usize) as u64;
        let scratch = (abi::STACK..abi::STACK_TOP).contains(&guest)
            || (abi::HEAP..abi::HEAP + abi::HEAP_BYTES).contains(&guest);
        if signal == libc::SIGSEGV && scratch && !window.is_writable() && window.allow_writes() {
            return;
        }
        (*recovery).fault = if matches!(signal, libc::SIGSEGV | libc::SIGBUS) { guest } else { u64::MAX };
        (*recovery).trapped = true;
        redirect(context, leave as *const () as usize, (*recovery).stack);
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn program_counter(context: *mut libc::ucontext_t) -> usize {
    // SAFETY: the caller passes the kernel's context.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] as usize }
}

#[cfg(target_arch = "x86_64")]
unsafe fn redirect(context: *mut libc::ucontext_t, target: usize, stack: usize) {
    // SAFETY: the caller passes the kernel's context.
    unsafe {
        (*context).uc_mcontext.gregs[libc::REG_RIP as usize] = target as i64;
        (*context).uc_mcontext.gregs[libc::REG_RSP as usize] = stack as i64;
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn program_counter(context: *mut libc::ucontext_t) -> usize {
    // SAFETY: the caller passes the kernel's context.
    unsafe { (*context).uc_mcontext.pc as usize }
}

#[cfg(target_arch = "aarch64")]
unsafe fn redirect(context: *mut libc::ucontext_t, target: usize, stack: usize) {
    // SAFETY: the caller passes the kernel's context.
    unsafe {
        (*context).uc_mcontext.pc = target as u64;
        (*context).uc_mcontext.sp = stack as u64;
    }
}

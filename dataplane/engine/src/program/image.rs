//! Native code of one program: a sealed memfd, checked and mapped read+execute; or byte code to interpret.
//!
//! Refused: another ABI or target, helpers of a newer engine, a descriptor that is not sealed, a size or digest that
//! differs, an entry outside.

use super::abi;
use super::interpreter::Code;
use crate::protocol::{self, Exposure};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};

/// Native code above this is no program of ours: 4,096 instructions come to some 100 KB at worst.
const CODE_BYTES_MAX: usize = 4 << 20;
pub(super) const SEALS: i32 =
    libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;

/// What this engine runs natively.
pub const TARGET: &str = if cfg!(target_arch = "x86_64") { "x86_64" } else { "aarch64" };

pub struct Image {
    pub name: Box<str>,
    pub constants_bytes: u32,
    /// It counts on the folded path in the context at its entries.
    pub(super) reads_folded_path: bool,
    pub(super) code: ImageCode,
}

pub(super) enum ImageCode {
    Native(Mapping),
    Interpreted(Code),
    /// Of a closed host without program.
    Nothing,
}

/// Pages mapped read+execute; unmapped when the last user is gone.
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
    entry: usize,
    exposure: Exposure,
}

/// The entry of a mapping whose code neither faults nor touches the VM block.
pub(super) struct DetachedCode<'a>(&'a Mapping);

impl DetachedCode<'_> {
    #[inline(always)]
    pub fn entry(&self) -> *const u8 {
        self.0.entry()
    }
}

// SAFETY: the pages are never written; they may be read and executed by any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Image {
    pub fn load(message: &protocol::Image, descriptor: OwnedFd) -> Result<Self, String> {
        if !(abi::ABI_OLDEST..=abi::ABI_VERSION).contains(&message.abi.into()) {
            return Err(format!("ABI {}, this engine has {}", message.abi, abi::ABI_VERSION));
        }
        // Native code jumps through the table of helpers without asking how long it is.
        let newest = abi::HELPERS.iter().map(|row| row.number).max().unwrap_or(0);
        if message.helper_max > newest {
            return Err(format!(
                "helper {} is newer than this engine, whose newest is {newest}: upgrade the engine",
                message.helper_max
            ));
        }
        if u64::from(message.constants_bytes) > abi::CONSTANTS_BYTES_MAX {
            return Err(format!(
                "{} bytes of constants, at most {}",
                message.constants_bytes,
                abi::CONSTANTS_BYTES_MAX
            ));
        }
        let length = check_size(message, &descriptor)?;
        let code = match message.target.as_str() {
            "ebpf" => ImageCode::Interpreted(load_byte_code(message, descriptor, length)?),
            target if target == TARGET => ImageCode::Native(load_native(message, &descriptor, length)?),
            target => return Err(format!("target {target:?}, this engine runs {TARGET}")),
        };
        Ok(Self {
            name: message.name.as_str().into(),
            constants_bytes: message.constants_bytes,
            reads_folded_path: message.reads_folded_path,
            code,
        })
    }

    /// For a closed host: it has nothing to run.
    pub fn nothing() -> Self {
        Self { name: "".into(), constants_bytes: 0, reads_folded_path: false, code: ImageCode::Nothing }
    }

    #[inline(always)]
    pub(super) fn detached(&self) -> Option<DetachedCode<'_>> {
        match &self.code {
            ImageCode::Native(mapping) if mapping.exposure == Exposure::Detached => {
                Some(DetachedCode(mapping))
            }
            _ => None,
        }
    }

    pub fn is_native(&self) -> bool {
        matches!(self.code, ImageCode::Native(_))
    }
}

fn check_size(message: &protocol::Image, descriptor: &OwnedFd) -> Result<usize, String> {
    // SAFETY: no pointers.
    let seals = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err("the memfd is not sealed against shrink, grow, write and seal".into());
    }
    // SAFETY: a zeroed stat is valid; fstat writes it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `status` is ours.
    if unsafe { libc::fstat(descriptor.as_raw_fd(), &mut status) } != 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    let length = usize::try_from(status.st_size).unwrap_or(0);
    if length != message.code_bytes as usize || length == 0 || length > CODE_BYTES_MAX {
        return Err(format!("the memfd holds {length} bytes, the image says {}", message.code_bytes));
    }
    if message.entry as usize >= length {
        return Err(format!("entry {} lies outside of {length} bytes", message.entry));
    }
    Ok(length)
}

fn check_digest(message: &protocol::Image, content: &[u8]) -> Result<(), String> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    if digest.as_ref() == &message.code_digest[..] {
        Ok(())
    } else {
        Err("the content has another digest".into())
    }
}

fn load_byte_code(message: &protocol::Image, descriptor: OwnedFd, length: usize) -> Result<Code, String> {
    let mut content = vec![0; length];
    File::from(descriptor).read_exact_at(&mut content, 0).map_err(|error| error.to_string())?;
    check_digest(message, &content)?;
    Code::decode(&content)
}

fn load_native(message: &protocol::Image, descriptor: &OwnedFd, length: usize) -> Result<Mapping, String> {
    let mut mapping = Mapping::new(descriptor, length, message.entry as usize)
        .map_err(|error| format!("executable mapping: {error}"))?;
    mapping.exposure = message.exposure();
    check_digest(message, mapping.bytes())?;
    Ok(mapping)
}

impl Mapping {
    fn new(descriptor: &OwnedFd, length: usize, entry: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: a new mapping of an open, sealed descriptor at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), length, protection, libc::MAP_PRIVATE, descriptor.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        synchronise_caches(start.as_ptr(), length);
        Ok(Self { start, length, entry, exposure: Exposure::Caged })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped readable for as long as `self` lives, sealed against writes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// First and last address + 1 of the code.
    pub fn range(&self) -> (usize, usize) {
        let start = self.start.as_ptr() as usize;
        (start, start + self.length)
    }

    /// What the agent's verifier has proven that the code can touch.
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    pub fn entry(&self) -> *const u8 {
        // SAFETY: `check_size` has seen that the entry lies inside.
        unsafe { self.start.as_ptr().add(self.entry) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and no machine runs it: each holds its host, which holds the image.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// The instruction cache is not coherent on arm64; elsewhere there is nothing to do.
#[cfg(target_arch = "aarch64")]
fn synchronise_caches(start: *const u8, length: usize) {
    /// The smallest line that the architecture allows.
    const LINE: usize = 16;
    // SAFETY: cleans and invalidates lines of a mapping of ours; changes no memory.
    unsafe {
        for at in (start as usize..start as usize + length).step_by(LINE) {
            std::arch::asm!("dc cvau, {0}", in(reg) at, options(nostack));
        }
        std::arch::asm!("dsb ish", options(nostack));
        for at in (start as usize..start as usize + length).step_by(LINE) {
            std::arch::asm!("ic ivau, {0}", in(reg) at, options(nostack));
        }
        std::arch::asm!("dsb ish", "isb", options(nostack));
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn synchronise_caches(_start: *const u8, _length: usize) {}

/// Can this process map sealed memory as executable? Err: why not; then images have to come as byte code.
pub fn probe_native() -> Result<(), String> {
    #[cfg(target_arch = "x86_64")]
    const RETURN: &[u8] = &[0xc3];
    #[cfg(target_arch = "aarch64")]
    const RETURN: &[u8] = &[0xc0, 0x03, 0x5f, 0xd6];
    let sealed = seal(RETURN).map_err(|error| format!("memfd: {error}"))?;
    Mapping::new(&sealed, RETURN.len(), 0).map(drop).map_err(|error| format!("executable mapping: {error}"))
}

/// A sealed memfd with this content, as the agent makes them.
pub fn seal(content: &[u8]) -> io::Result<OwnedFd> {
    seal_with(content, SEALS)
}

/// With some seals only.
pub(super) fn seal_with(content: &[u8], seals: i32) -> io::Result<OwnedFd> {
    use std::io::Write;
    let create = |flags: u32| {
        // SAFETY: the name is a literal with its NUL.
        unsafe { libc::memfd_create(c"zeroserve-image".as_ptr(), flags) }
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let descriptor = match create(flags | libc::MFD_NOEXEC_SEAL) {
        // Before Linux 6.3.
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) => create(flags),
        descriptor => descriptor,
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(content)?;
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

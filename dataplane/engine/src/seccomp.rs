//! What the engine may ask of the kernel once it runs: no exec, no open, no memory that is writable and executable.
//!
//! Two filters. The first allows a list, which depends on what the rings are made of, and refuses the rest with EPERM;
//! the second kills the process on calls that no code of ours makes, since only hostile code would.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;
use std::io;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls without conditions: sockets, waiting, memory, time, threads' locks.
const ALLOWED: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rseq,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_splice,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_poll];
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[i64] = &[];

/// What the workers' rings are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    IoUring,
    Epoll,
}

impl Rings {
    /// The calls that only this backend makes: the other one's would be a way around it.
    fn calls(self) -> &'static [i64] {
        match self {
            Rings::IoUring => &[libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
            #[cfg(target_arch = "x86_64")]
            Rings::Epoll => &[libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_wait],
            #[cfg(target_arch = "aarch64")]
            Rings::Epoll => &[libc::SYS_epoll_ctl, libc::SYS_epoll_pwait],
        }
    }
}

const KILLED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_bpf,
    libc::SYS_memfd_create,
    libc::SYS_userfaultfd,
];

/// What file servers need besides: that they open for reading only is `landlock`'s part.
const FILES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_preadv2,
    libc::SYS_sendfile,
    crate::files::opening::SYS_CACHESTAT,
];

/// Applies both filters to every thread, for good. `files`: this engine may open files.
pub fn restrict(rings: Rings, files: bool) -> io::Result<()> {
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let allow = SeccompFilter::new(allowed(rings, files)?, refused, SeccompAction::Allow, arch)
        .map_err(io::Error::other)?;
    let killed = KILLED.iter().map(|&call| (call, Vec::new())).collect();
    let kill = SeccompFilter::new(killed, SeccompAction::Allow, SeccompAction::KillProcess, arch);
    for filter in [kill.map_err(io::Error::other)?, allow] {
        let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
        apply_filter_all_threads(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn allowed(rings: Rings, files: bool) -> io::Result<Rules> {
    let more = if files { FILES } else { &[] };
    let calls = ALLOWED.iter().chain(ALLOWED_HERE).chain(rings.calls()).chain(more);
    let mut rules: Rules = calls.map(|&call| (call, Vec::new())).collect();
    let both = (libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let protections = [0, libc::PROT_WRITE as u64, libc::PROT_EXEC as u64];
    let either: io::Result<Vec<_>> = protections.into_iter().map(|value| argument(2, both, value)).collect();
    rules.insert(libc::SYS_mmap, either?);
    rules.insert(libc::SYS_mprotect, vec![argument(2, libc::PROT_EXEC as u64, 0)?]);
    // glibc's fstat. Without a path it names an open descriptor only.
    let empty_path = libc::AT_EMPTY_PATH as u64;
    rules.insert(libc::SYS_newfstatat, vec![argument(3, empty_path, empty_path)?]);
    // Deadlines of plugins' own connections.
    let nonblocking: u64 = libc::FIONBIO;
    rules.insert(libc::SYS_ioctl, vec![argument(1, u64::MAX >> 32, nonblocking)?]);
    let families = [libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_UNIX as u64];
    let inet: io::Result<Vec<_>> =
        families.into_iter().map(|family| argument(0, u64::MAX >> 32, family)).collect();
    rules.insert(libc::SYS_socket, inet?);
    Ok(rules)
}

/// `argument & mask == value`.
fn argument(index: u8, mask: u64, value: u64) -> io::Result<SeccompRule> {
    let compare = SeccompCmpOp::MaskedEq(mask);
    let condition =
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, compare, value).map_err(io::Error::other)?;
    SeccompRule::new(vec![condition]).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "ZEROSERVE_TEST_SECCOMP_CHILD";

    /// The filter cannot be lifted again: a test runs itself once more as a child that is told to restrict itself.
    fn in_child(name: &str, body: impl FnOnce()) {
        if std::env::var_os(CHILD).is_some() {
            body();
            eprintln!("all as it shall be");
            return;
        }
        let name = format!("seccomp::tests::{name}");
        let exe = std::env::current_exe().unwrap();
        let output =
            Command::new(exe).args(["--exact", &name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("all as it shall be"), "{output:?}");
    }

    /// Makes a call that the kernel refuses for its arguments where the filter lets it through.
    fn refused_by_the_filter(call: i64) -> bool {
        // SAFETY: descriptor -1 is none: the kernel answers EBADF or EINVAL and touches nothing.
        let result = unsafe { libc::syscall(call, -1i64, 0i64, 0i64, 0i64, 0i64, 0i64) };
        assert_eq!(result, -1);
        io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }

    #[test]
    fn a_restricted_process_opens_nothing_and_maps_nothing_writable_and_executable() {
        in_child("a_restricted_process_opens_nothing_and_maps_nothing_writable_and_executable", || {
            restrict(Rings::IoUring, false).unwrap();
            let opened = std::fs::File::open("/etc/passwd").map_err(|error| error.raw_os_error());
            assert_eq!(opened.err(), Some(Some(libc::EPERM)));
            for (protection, allowed) in [(3, true), (5, true), (7, false), (6, false)] {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                // SAFETY: a new anonymous mapping.
                let address = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
                assert_eq!(address != libc::MAP_FAILED, allowed, "protection {protection}");
            }
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        });
    }

    #[test]
    fn nothing_becomes_executable_after_the_start() {
        in_child("nothing_becomes_executable_after_the_start", || {
            restrict(Rings::IoUring, false).unwrap();
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new anonymous mapping.
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
            assert_ne!(page, libc::MAP_FAILED);
            let protect = |call, protection: i32| {
                // SAFETY: the page is ours and nothing of it is used.
                let result = unsafe { libc::syscall(call, page, 4096, protection, -1) };
                (result == 0).then_some(()).ok_or_else(|| io::Error::last_os_error().raw_os_error())
            };
            for executable in [libc::PROT_EXEC, libc::PROT_READ | libc::PROT_EXEC, 7] {
                for call in [libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
                    assert_eq!(protect(call, executable), Err(Some(libc::EPERM)), "{call} {executable}");
                }
            }
            assert_eq!(protect(libc::SYS_mprotect, libc::PROT_READ), Ok(()));
        });
    }

    #[test]
    fn with_epoll_no_ring_can_be_driven() {
        in_child("with_epoll_no_ring_can_be_driven", || {
            restrict(Rings::Epoll, false).unwrap();
            assert!(Rings::IoUring.calls().iter().all(|&call| refused_by_the_filter(call)));
            assert!(!refused_by_the_filter(libc::SYS_epoll_ctl));
        });
    }

    #[test]
    fn with_rings_epoll_is_refused() {
        in_child("with_rings_epoll_is_refused", || {
            restrict(Rings::IoUring, false).unwrap();
            assert!(Rings::Epoll.calls().iter().all(|&call| refused_by_the_filter(call)));
            assert!(!refused_by_the_filter(libc::SYS_io_uring_enter));
        });
    }
}

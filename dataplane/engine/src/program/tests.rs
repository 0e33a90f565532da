//! Images, the cage and both ways of running, on small hand-made programs.

use super::abi;
use super::image::{Image, SEALS, TARGET, seal, seal_with};
use super::run::{Decision, Machine, Operation, Outcome, Trap};
use crate::exchange::{Clock, Exchange, HeaderSpan, ListenerId, Peer, RequestHead};
use crate::protocol::{self, Exposure};
use crate::snapshot::{Cluster, ClusterState, Compiler, Constants, Settings, VirtualHost};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(super) fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = immediate.to_le_bytes();
    [opcode, source << 4 | destination, low, high, a, b, c, d]
}

pub(super) const EXIT: u8 = 0x95;
pub(super) const CALL: u8 = 0x85;
pub(super) const MOV: u8 = 0xb7;

pub(super) fn message(code: &[u8], target: &str) -> protocol::Image {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code);
    protocol::Image {
        name: "test".into(),
        abi: abi::ABI_VERSION as u32,
        target: target.into(),
        code_bytes: code.len() as u32,
        code_digest: digest.as_ref().to_vec().into(),
        ..protocol::Image::default()
    }
}

pub(super) fn host(code: &[u8], target: &str, tables: &protocol::Tables) -> VirtualHost {
    let image = Image::load(&message(code, target), seal(code).unwrap()).unwrap();
    let find = |name: &str| Some(Cluster::new(name, ClusterState::unconfigured()));
    VirtualHost {
        name: "test".into(),
        names: Default::default(),
        listeners: Arc::new([]),
        image: Arc::new(image),
        constants: Constants::from_slice(b"constants of this host"),
        tables: Arc::new(Compiler::default().compile(tables, &find).unwrap()),
        fuel: 1000,
        error_entry: 0,
        marker: "".into(),
        deny: None,
        tls: None,
        strict_sni_host: false,
        stream: crate::protocol::Stream::NoStream,
        judges_streams: false,
    }
}

fn interpreted(code: &[[u8; 8]]) -> VirtualHost {
    host(&code.concat(), "ebpf", &protocol::Tables::default())
}

fn native(code: &[u8]) -> VirtualHost {
    host(code, TARGET, &protocol::Tables::default())
}

pub(super) fn exchange(target: &str) -> Exchange {
    let mut exchange = Exchange::new();
    let peer = Peer {
        listener: ListenerId(0),
        remote: ([192, 0, 2, 1], 1234).into(),
        local: ([127, 0, 0, 1], 80).into(),
        tls: None,
        trusted: false,
        external_port: 0,
    };
    let headers =
        [HeaderSpan { name: b"Host", value: b"example.com" }, HeaderSpan { name: b"X-A", value: b"value" }];
    let head = RequestHead { method: b"GET", target: target.as_bytes(), http_minor: 1, headers: &headers };
    exchange.begin(&head, &peer, &Settings::default(), Clock::default()).unwrap();
    exchange
}

#[test]
fn images_that_are_not_what_they_say_are_refused() {
    let code = instruction(EXIT, 0, 0, 0, 0).repeat(2);
    let refused = |change: &dyn Fn(&mut protocol::Image), descriptor: OwnedFd| {
        let mut image = message(&code, "ebpf");
        change(&mut image);
        Image::load(&image, descriptor).err().unwrap()
    };
    let sealed = || seal(&code).unwrap();
    assert!(refused(&|image| image.abi += 1, sealed()).contains("ABI"));
    assert!(refused(&|image| image.abi = 0, sealed()).contains("ABI"));
    assert!(refused(&|image| image.target = "mips".into(), sealed()).contains("target"));
    assert!(refused(&|image| image.code_bytes += 8, sealed()).contains("bytes"));
    assert!(refused(&|image| image.code_digest = vec![0; 32].into(), sealed()).contains("digest"));
    assert!(refused(&|image| image.entry = 16, sealed()).contains("entry"));
    assert!(refused(&|image| image.constants_bytes = 2 << 20, sealed()).contains("constants"));
    let newer = abi::HELPERS.iter().map(|row| row.number).max().unwrap() + 1;
    assert!(refused(&|image| image.helper_max = newer, sealed()).contains("upgrade the engine"));
    let plain: OwnedFd = std::fs::File::open(std::env::current_exe().unwrap()).unwrap().into();
    assert!(refused(&|_| {}, plain).contains("sealed"));
    for missing in [libc::F_SEAL_SHRINK, libc::F_SEAL_GROW, libc::F_SEAL_WRITE, libc::F_SEAL_SEAL] {
        let partly = seal_with(&code, SEALS & !missing).unwrap();
        assert!(refused(&|_| {}, partly).contains("sealed"), "without {missing}");
    }
    let native = Image::load(&message(b"\xc3", TARGET), seal(b"\xc4").unwrap()).err().unwrap();
    assert!(native.contains("digest"));
}

#[test]
fn actions_are_decoded_and_rows_checked() {
    let tables = protocol::Tables {
        responses: vec![protocol::Response::default()],
        credentials: vec![protocol::Credentials::default()],
        ..protocol::Tables::default()
    };
    let mut machine = Machine::new().unwrap();
    for (action, expected) in [
        (abi::ACTION_NOT_FOUND, Ok(Decision::NotFound)),
        (abi::ACTION_RESPOND, Ok(Decision::Respond(0))),
        (abi::ACTION_RESPOND | 1 << 32, Err(Trap::Action(abi::ACTION_RESPOND | 1 << 32))),
        (abi::ACTION_PROXY, Err(Trap::Action(abi::ACTION_PROXY))),
        (abi::ACTION_ABORT, Ok(Decision::Abort)),
        (abi::ACTION_ERROR | 403 << 8, Ok(Decision::Error(403))),
        (abi::ACTION_ERROR | 99 << 8, Ok(Decision::Error(500))),
        (abi::ACTION_EMPTY, Ok(Decision::Empty)),
        (
            abi::ACTION_SUSPEND | 2 << 8 | 1 << 32,
            Ok(Decision::Suspend { operation: Operation::CheckPassword, row: 0, entry: 2 }),
        ),
        (
            abi::ACTION_SUSPEND | 2 << 8 | 0x101 << 32,
            Err(Trap::Action(abi::ACTION_SUSPEND | 2 << 8 | 0x101 << 32)),
        ),
        (250, Err(Trap::Action(250))),
    ] {
        let code = [
            instruction(0x18, 0, 0, 0, action as i32),
            instruction(0, 0, 0, 0, (action >> 32) as i32),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        let host = host(&code.concat(), "ebpf", &tables);
        assert_eq!(machine.run(&host, &mut exchange("/"), 0), expected, "{action:#x}");
    }
}

#[test]
fn context_path_and_constants_are_readable() {
    let mut machine = Machine::new().unwrap();
    let path = abi::FIELD_PATH_BYTES as i16;
    // r0 = byte of the path at `offset`, as the status of an error action.
    for (offset, expected) in [(0, b'/'), (3, b'c'), (4, b'/'), (5, 0), (60, 0)] {
        let code = [
            instruction(0x71, 0, 1, path + offset, 0),
            instruction(0x07, 0, 0, 0, 400),
            instruction(0x67, 0, 0, 0, 8),
            instruction(0x47, 0, 0, 0, abi::ACTION_ERROR as i32),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        let host = interpreted(&code);
        machine.run(&host, &mut exchange("/a/very/long/path/that/is/gone/after/the/next"), 0).unwrap();
        let decision = machine.run(&host, &mut exchange("/abc"), 0);
        assert_eq!(decision, Ok(Decision::Error(400 + u16::from(expected))), "{offset}");
    }
}

#[test]
fn endless_loops_end() {
    let host = interpreted(&[instruction(0x05, 0, 0, -1, 0), instruction(EXIT, 0, 0, 0, 0)]);
    assert_eq!(Machine::new().unwrap().run(&host, &mut exchange("/"), 0), Err(Trap::Fuel));
}

#[test]
fn interpreted_accesses_outside_of_the_window_trap() {
    let mut machine = Machine::new().unwrap();
    for (base, expected) in [
        (0, Err(Trap::Memory { address: 0 })),
        (abi::CONTEXT as i32 - 1, Err(Trap::Memory { address: abi::CONTEXT - 1 })),
        (abi::STACK_TOP as i32 - 7, Err(Trap::Memory { address: abi::STACK_TOP - 7 })),
        (abi::STACK_TOP as i32 - 8, Ok(Decision::NotFound)),
        (abi::HEAP as i32, Ok(Decision::NotFound)),
    ] {
        let code = [
            instruction(MOV, 1, 0, 0, base),
            instruction(0x7a, 1, 0, 0, 7),
            instruction(MOV, 0, 0, 0, 0),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        assert_eq!(machine.run(&interpreted(&code), &mut exchange("/"), 0), expected, "{base:#x}");
    }
}

#[test]
fn one_host_never_sees_what_another_left_on_its_heap() {
    let mut machine = Machine::new().unwrap();
    let heap = instruction(MOV, 1, 0, 0, abi::HEAP as i32);
    let write = interpreted(&[
        heap,
        instruction(0x7a, 1, 0, 0, 7),
        instruction(MOV, 0, 0, 0, 7),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    let read = interpreted(&[heap, instruction(0x79, 0, 1, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    assert_eq!(machine.run(&write, &mut exchange("/"), 0), Ok(Decision::Empty));
    assert_eq!(machine.run(&read, &mut exchange("/"), 0), Ok(Decision::NotFound));
}

/// Behind a path there are zeros, also where comparisons read on: what another host wrote there would fit for it.
#[test]
fn one_host_never_sees_what_another_left_in_its_context() {
    let context = instruction(MOV, 1, 0, 0, abi::CONTEXT as i32);
    let exit = instruction(EXIT, 0, 0, 0, 0);
    for place in [abi::FIELD_FOLDED_BYTES + 200, abi::FIELD_FOLDED_END, abi::CONTEXT_BYTES as usize - 8] {
        let mut machine = Machine::new().unwrap();
        let at = instruction(0x07, 1, 0, 0, place as i32);
        let write = [context, at, instruction(0x7a, 1, 0, 0, 7), instruction(MOV, 0, 0, 0, 7), exit];
        let read = [context, at, instruction(0x79, 0, 1, 0, 0), exit];
        assert_eq!(machine.run(&interpreted(&write), &mut exchange("/"), 0), Ok(Decision::Empty));
        assert_eq!(
            machine.run(&interpreted(&read), &mut exchange("/"), 0),
            Ok(Decision::NotFound),
            "{place}"
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn one_host_never_sees_what_native_code_of_another_left_in_its_context() {
    // mov dword [rdi + 0x1fff8], 7; mov eax, 7; ret
    let write = native(&[0xc7, 0x87, 0xf8, 0xff, 1, 0, 7, 0, 0, 0, 0xb8, 7, 0, 0, 0, 0xc3]);
    // mov eax, [rdi + 0x1fff8]; ret
    let code = [0x8b, 0x87, 0xf8, 0xff, 1, 0, 0xc3];
    let mut machine = Machine::new().unwrap();
    assert_eq!(machine.run(&write, &mut exchange("/"), 0), Ok(Decision::Empty));
    for exposure in [Exposure::Caged, Exposure::Faultless, Exposure::Detached] {
        let message = protocol::Image { exposure: exposure.into(), ..message(&code, TARGET) };
        let image = Arc::new(Image::load(&message, seal(&code).unwrap()).unwrap());
        let read = VirtualHost { image, name: "other".into(), ..native(&code) };
        assert_eq!(machine.run(&read, &mut exchange("/"), 0), Ok(Decision::NotFound), "{exposure:?}");
        assert_eq!(machine.run(&write, &mut exchange("/"), 0), Ok(Decision::Empty));
    }
}

/// Whatever ran before: longer paths, escaped ones, of hosts that begin with the folded path and that do not.
#[test]
fn a_run_begins_with_the_context_of_a_new_machine() {
    use proptest::prelude::*;
    let exit = instruction(EXIT, 0, 0, 0, 0);
    let hosts = [false, true].map(|folds| {
        let image = protocol::Image { reads_folded_path: folds, ..message(&exit, "ebpf") };
        VirtualHost {
            image: Arc::new(Image::load(&image, seal(&exit).unwrap()).unwrap()),
            ..interpreted(&[exit])
        }
    });
    let context =
        |machine: &mut Machine| machine.window().read(abi::CONTEXT, abi::CONTEXT_BYTES).unwrap().to_vec();
    let path = prop::collection::vec(
        prop::sample::select(vec!["a", "B", "z", "/A", "%25", "%2f", "%c3%84"]),
        0..400,
    );
    let requests = prop::collection::vec((path, any::<bool>()), 1..8);
    let used = std::cell::RefCell::new(Machine::new().unwrap());
    proptest!(ProptestConfig::with_cases(64), |(requests in requests)| {
        for (path, folds) in requests {
            let host = &hosts[usize::from(folds)];
            let mut exchange = exchange(&format!("/{}", path.concat()));
            let mut new = Machine::new().unwrap();
            let mut used = used.borrow_mut();
            used.execute(host, &mut exchange, 0, 7).unwrap();
            new.execute(host, &mut exchange, 0, 7).unwrap();
            prop_assert!(context(&mut used) == context(&mut new), "{}", path.concat());
        }
    });
}

#[test]
fn a_host_at_the_address_of_one_that_is_gone_sees_nothing_of_it() {
    let mut machine = Machine::new().unwrap();
    let heap = instruction(MOV, 1, 0, 0, abi::HEAP as i32);
    let exit = instruction(EXIT, 0, 0, 0, 0);
    for _ in 0..100 {
        let write = [heap, instruction(0x7a, 1, 0, 0, 7), instruction(MOV, 0, 0, 0, 7), exit];
        assert_eq!(machine.run(&Box::new(interpreted(&write)), &mut exchange("/"), 0), Ok(Decision::Empty));
        let read = Box::new(interpreted(&[heap, instruction(0x79, 0, 1, 0, 0), exit]));
        assert_eq!(machine.run(&read, &mut exchange("/"), 0), Ok(Decision::NotFound));
    }
}

#[test]
fn helpers_trap_on_rows_and_pointers_that_are_not_there() {
    let mut machine = Machine::new().unwrap();
    for (number, first, reason) in [
        (abi::HELPER_MATCH_PATH, 0, "no such row"),
        (abi::HELPER_LOG_MESSAGE, 16, "pointer outside of the mapped memory"),
        (abi::HELPERS_MAX as u32 - 1, 0, "no such helper"),
    ] {
        let code = [
            instruction(MOV, 1, 0, 0, first),
            instruction(MOV, 2, 0, 0, 8),
            instruction(CALL, 0, 0, 0, number as i32),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        let trap = machine.run(&interpreted(&code), &mut exchange("/"), 0);
        assert_eq!(trap, Err(Trap::Helper { number, reason }));
    }
}

#[test]
fn a_helper_reads_constants_and_writes_the_window() {
    // read_request_header("x-a") with the name taken from the context's path "/x-a".
    let name = (abi::CONTEXT as usize + abi::FIELD_PATH_BYTES + 1) as i32;
    let code = [
        instruction(MOV, 1, 0, 0, name),
        instruction(MOV, 2, 0, 0, 3),
        instruction(MOV, 3, 0, 0, abi::HEAP as i32),
        instruction(MOV, 4, 0, 0, 64),
        instruction(CALL, 0, 0, 0, abi::HELPER_READ_REQUEST_HEADER as i32),
        instruction(0x07, 0, 0, 0, 400),
        instruction(0x67, 0, 0, 0, 8),
        instruction(0x47, 0, 0, 0, abi::ACTION_ERROR as i32),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let decision = Machine::new().unwrap().run(&interpreted(&code), &mut exchange("/x-a"), 0);
    assert_eq!(decision, Ok(Decision::Error(405)));
}

/// A trie whose routes answer a status, but 403 at `/admin`.
fn routed_tables(rest: u32) -> protocol::Tables {
    let entry = |path: &str, value| protocol::PathTrieEntry { path: path.into(), exact: false, value };
    protocol::Tables {
        tries: vec![protocol::PathTrie { entries: vec![entry("/", rest), entry("/admin", 403)] }],
        ..protocol::Tables::default()
    }
}

/// A path whose decoded slashes would meet another route than the path as sent.
#[test]
fn encoded_slashes_that_would_change_the_route_are_refused() {
    let tables = routed_tables(400);
    let code = [
        instruction(MOV, 1, 0, 0, 0),
        instruction(CALL, 0, 0, 0, abi::HELPER_FIND_PATH as i32),
        instruction(0x67, 0, 0, 0, 8),
        instruction(0x47, 0, 0, 0, abi::ACTION_ERROR as i32),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let host = host(&code.concat(), "ebpf", &tables);
    let mut machine = Machine::new().unwrap();
    for (path, status) in [("/admin/x", 403), ("/group%2Fproject", 400), ("/admin%2Fx", 400)] {
        let mut exchange = exchange(path);
        assert_eq!(machine.run(&host, &mut exchange, 0), Ok(Decision::Error(status)), "{path}");
    }
    let before = machine.run(&host, &mut exchange("/admin%2Fx"), 0);
    assert_eq!(before, Ok(Decision::Error(400)));
}

/// The route that matters may come after a wait: for a body, a plugin's answer, an authorizer.
#[test]
fn encoded_slashes_are_judged_again_where_a_program_goes_on() {
    let tables = routed_tables(404);
    let suspend = abi::OPERATION_READ_BODY << 32 | 1 << 8 | abi::ACTION_SUSPEND;
    let code = [
        instruction(0x55, 2, 0, 3, 0),
        instruction(0x18, 0, 0, 0, suspend as i32),
        instruction(0, 0, 0, 0, (suspend >> 32) as i32),
        instruction(EXIT, 0, 0, 0, 0),
        instruction(MOV, 1, 0, 0, 0),
        instruction(CALL, 0, 0, 0, abi::HELPER_FIND_PATH as i32),
        instruction(0x67, 0, 0, 0, 8),
        instruction(0x47, 0, 0, 0, abi::ACTION_ERROR as i32),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let host = host(&code.concat(), "ebpf", &tables);
    let mut machine = Machine::new().unwrap();
    for (path, status) in [("/admin/x", 403), ("/group%2Fproject", 404), ("/admin%2Fx", 400)] {
        let mut exchange = exchange(path);
        let first = machine.run(&host, &mut exchange, 0);
        assert!(matches!(first, Ok(Decision::Suspend { entry: 1, .. })), "{path}: {first:?}");
        assert_eq!(machine.run(&host, &mut exchange, 1), Ok(Decision::Error(status)), "{path}");
    }
}

#[cfg(target_arch = "x86_64")]
const FAULTS: [&[u8]; 3] = [
    // mov eax, [rdi + 16]; ret: an unmapped page of the window
    &[0x8b, 0x47, 0x10, 0xc3],
    // mov [rdi - 8], eax; ret: the guard below
    &[0x89, 0x47, 0xf8, 0xc3],
    // ud2
    &[0x0f, 0x0b],
];
#[cfg(target_arch = "aarch64")]
const FAULTS: [&[u8]; 3] = [
    // ldr w0, [x0, #16]; ret
    &[0x00, 0x10, 0x40, 0xb9, 0xc0, 0x03, 0x5f, 0xd6],
    // stur w0, [x0, #-8]; ret
    &[0x00, 0x80, 0x1f, 0xb8, 0xc0, 0x03, 0x5f, 0xd6],
    // udf #0
    &[0x00, 0x00, 0x00, 0x00],
];

#[test]
fn native_code_that_faults_is_a_trap_and_the_thread_goes_on() {
    let mut machine = Machine::new().unwrap();
    for _ in 0..100 {
        for (code, address) in FAULTS.iter().zip([16, u64::MAX - 7, u64::MAX]) {
            let trap = machine.run(&native(code), &mut exchange("/"), 0);
            assert_eq!(trap, Err(Trap::Memory { address }));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn native_code_writes_its_stack_at_the_first_touch() {
    // mov dword [rdi + 0x20ff8], 7; mov eax, [rdi + 0x20ff8]; ret
    let code = [0xc7, 0x87, 0xf8, 0x0f, 0x02, 0, 7, 0, 0, 0, 0x8b, 0x87, 0xf8, 0x0f, 0x02, 0, 0xc3];
    let decision = Machine::new().unwrap().run(&native(&code), &mut exchange("/"), 0);
    assert_eq!(decision, Ok(Decision::Empty));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn native_code_calls_helpers_through_the_vm_block() {
    // sub rsp, 8; mov rdi, rsi; xor esi, esi; call [rdi + 16 + 8 * match_path]; add rsp, 8; shl rax, 8; or rax, ERROR; ret
    let slot = (abi::VM_HELPERS_OFFSET as u32 + 8 * abi::HELPER_MATCH_PATH) as u8;
    let mut code =
        vec![0x48, 0x83, 0xec, 8, 0x48, 0x89, 0xf7, 0x31, 0xf6, 0xff, 0x57, slot, 0x48, 0x83, 0xc4, 8];
    code.extend_from_slice(&[
        0x48, 0x69, 0xc0, 0x94, 0x01, 0, 0, 0x48, 0xc1, 0xe0, 8, 0x48, 0x83, 0xc8, 5, 0xc3,
    ]);
    let patterns = protocol::PathPatterns { patterns: vec!["/API/*".into()], texts: vec![] };
    let tables = protocol::Tables { paths: vec![patterns], ..protocol::Tables::default() };
    let host = host(&code, TARGET, &tables);
    let mut machine = Machine::new().unwrap();
    // 1 * 404 where the path fits, 0 (no status: 500) where it does not.
    for (path, status) in [("/api/x", 404), ("/Api/", 404), ("/apix", 500)] {
        assert_eq!(machine.run(&host, &mut exchange(path), 0), Ok(Decision::Error(status)), "{path}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn only_detached_native_code_gets_no_vm_block() {
    // mov rax, rsi; ret
    let code = [0x48, 0x89, 0xf0, 0xc3];
    let run = |exposure: Exposure| {
        let message = protocol::Image { exposure: exposure.into(), ..message(&code, TARGET) };
        let image = Arc::new(Image::load(&message, seal(&code).unwrap()).unwrap());
        let host = VirtualHost { image, ..native(&code) };
        Machine::new().unwrap().execute(&host, &mut exchange("/"), 0, 7).unwrap()
    };
    assert_eq!(run(Exposure::Detached), Outcome { result: 0, fuel_left: 7 });
    for exposure in [Exposure::Caged, Exposure::Faultless] {
        let outcome = run(exposure);
        assert!(outcome.result != 0 && outcome.fuel_left == 7, "{exposure:?}: {outcome:?}");
    }
}

#[test]
fn any_byte_code_ends_without_a_panic() {
    use proptest::prelude::*;
    let opcodes = prop::sample::select(vec![
        0x07u8, 0x0f, 0x17, 0x18, 0x05, 0x15, 0x1d, 0x2d, 0x61, 0x71, 0x79, 0x63, 0x7b, 0xdb, 0xc3, 0x85,
        0x95, 0xb7, 0xd4, 0xdc, 0xd7, 0x87, 0x3f, 0x9f, 0x06, 0x91,
    ]);
    let slot = (
        opcodes,
        0u8..12,
        0u8..12,
        -6i16..6,
        prop::sample::select(vec![0, 1, 5, 16, 64, 0x10100, 0xe1, 0xf1, -1]),
    );
    let code = prop::collection::vec(slot, 1..24);
    let machine = std::cell::RefCell::new(Machine::new().unwrap());
    proptest!(|(code in code)| {
        let bytes: Vec<u8> = code.iter().flat_map(|&(o, d, s, f, i)| instruction(o, d, s, f, i)).collect();
        if let Ok(image) = Image::load(&message(&bytes, "ebpf"), seal(&bytes).unwrap()) {
            let mut host = interpreted(&[instruction(EXIT, 0, 0, 0, 0)]);
            host.image = Arc::new(image);
            let _ = machine.borrow_mut().run(&host, &mut exchange("/a"), 0);
        }
    });
}

//! Calls of plugins, on small hand-made programs: what bounds them, and what they leave behind.

use super::abi;
use super::image::{Image, seal};
use super::run::{Decision, Machine, Operation};
use super::tests::{CALL, EXIT, MOV, exchange, host, instruction, message};
use crate::metrics::PluginCount;
use crate::plugins::memory::{Fetched, REQUEST_FUEL_MAX, ReadAhead, Wanted};
use crate::plugins::{Plugin, PluginIndex};
use crate::protocol;
use crate::snapshot::{Cluster, ClusterState, VirtualHost};
use std::sync::Arc;

type Code = Vec<[u8; 8]>;

/// The route: calls row 0, returns what that gives.
fn calling_host() -> VirtualHost {
    let call = protocol::PluginCall {
        plugin: "p".into(),
        function: "f".into(),
        config: "{}".into(),
        ..protocol::PluginCall::default()
    };
    let tables = protocol::Tables { plugin_calls: vec![call], ..protocol::Tables::default() };
    let call_plugin = instruction(CALL, 0, 0, 0, abi::HELPER_CALL_PLUGIN as i32);
    host(
        &[instruction(MOV, 1, 0, 0, 0), call_plugin, instruction(EXIT, 0, 0, 0, 0)].concat(),
        "ebpf",
        &tables,
    )
}

fn plugin(code: &Code, change: impl FnOnce(&mut protocol::Plugin)) -> PluginIndex {
    let mut index = PluginIndex::default();
    index.insert(compile(code, change));
    index
}

fn compile(code: &Code, change: impl FnOnce(&mut protocol::Plugin)) -> Plugin {
    let code = code.concat();
    let image = Image::load(&message(&code, "ebpf"), seal(&code).unwrap()).unwrap();
    let function = protocol::PluginFunction { name: "f".into(), entry: 1 };
    let mut message = protocol::Plugin {
        name: "p".into(),
        functions: vec![function],
        slot: 3,
        ..protocol::Plugin::default()
    };
    change(&mut message);
    let find = |name: &str| Some(Cluster::new(name, ClusterState::unconfigured()));
    Plugin::compile(&message, Arc::new(image), &find).unwrap()
}

fn machine(index: PluginIndex) -> Machine {
    let mut machine = Machine::new().unwrap();
    machine.plugins.index = Arc::new(index);
    machine
}

fn returning(verdict: u64) -> Code {
    vec![instruction(0x18, 0, 0, 0, verdict as i32), instruction(0, 0, 0, 0, (verdict >> 32) as i32), exit()]
}

fn exit() -> [u8; 8] {
    instruction(EXIT, 0, 0, 0, 0)
}

fn call(number: u32) -> [u8; 8] {
    instruction(CALL, 0, 0, 0, number as i32)
}

/// Method := the first three bytes of the data.
fn write_method() -> Code {
    vec![
        instruction(MOV, 1, 0, 0, abi::REQUESTPART_METHOD as i32),
        instruction(MOV, 2, 0, 0, abi::HEAP as i32),
        instruction(MOV, 3, 0, 0, 3),
        call(abi::HELPER_WRITE_REQUEST),
    ]
}

/// Calls what the data names: three bytes of plugin and function, two of configuration.
fn call_function() -> Code {
    let heap = abi::HEAP as i32;
    vec![
        instruction(MOV, 1, 0, 0, heap),
        instruction(MOV, 2, 0, 0, 3),
        instruction(MOV, 3, 0, 0, heap + 3),
        instruction(MOV, 4, 0, 0, 2),
        call(abi::HELPER_CALL_FUNCTION),
    ]
}

/// `ja -1`
fn endless() -> Code {
    vec![instruction(0x05, 0, 0, -1, 0)]
}

fn decide(machine: &mut Machine) -> Decision {
    machine.run(&calling_host(), &mut exchange("/"), 0).unwrap()
}

#[test]
fn a_verdict_is_the_route_s_action_where_it_is_granted() {
    let all = |message: &mut protocol::Plugin| message.capabilities = u64::MAX;
    for (verdict, granted, bare) in [
        (abi::VERDICT_CONTINUE, Decision::NotFound, Decision::NotFound),
        (abi::VERDICT_ABORT, Decision::Abort, Decision::Abort),
        (abi::VERDICT_ERROR | 403 << 8, Decision::Error(403), Decision::Error(403)),
        (abi::VERDICT_ERROR | 200 << 8, Decision::Error(500), Decision::Error(500)),
        (abi::VERDICT_RESPOND | 201 << 8, Decision::Answer, Decision::Error(500)),
        (abi::VERDICT_RESPOND | 99 << 8, Decision::Error(500), Decision::Error(500)),
        (abi::VERDICT_ADOPT, Decision::Error(500), Decision::Error(500)),
        (abi::VERDICT_PROXY, Decision::Error(500), Decision::Error(500)),
        (abi::VERDICT_SUSPEND, Decision::Error(500), Decision::Error(500)),
        (77, Decision::Error(500), Decision::Error(500)),
    ] {
        assert_eq!(decide(&mut machine(plugin(&returning(verdict), all))), granted, "{verdict:#x}");
        assert_eq!(decide(&mut machine(plugin(&returning(verdict), |_| {}))), bare, "{verdict:#x}");
    }
}

#[test]
fn a_plugin_or_function_that_is_not_there_answers_500() {
    let code = returning(0);
    assert_eq!(decide(&mut machine(PluginIndex::default())), Decision::Error(500));
    let other = plugin(&code, |message| message.functions[0].name = "g".into());
    assert_eq!(decide(&mut machine(other)), Decision::Error(500));
}

#[test]
fn an_endless_loop_ends_by_the_plugin_s_fuel_and_is_counted() {
    let mut machine = machine(plugin(&endless(), |message| message.fuel = 1000));
    assert_eq!(decide(&mut machine), Decision::Error(500));
    let counted = std::mem::take(&mut machine.plugins.counted);
    assert_eq!(
        counted,
        [(3, PluginCount::Calls, 1), (3, PluginCount::Fuel, 1000), (3, PluginCount::Failures, 1)]
    );
    let open = plugin(&endless(), |message| message.fail_open = true);
    machine.plugins.index = Arc::new(open);
    assert_eq!(decide(&mut machine), Decision::NotFound);
}

#[test]
fn a_metric_is_counted_once_where_the_call_is_repeated() {
    let counting = vec![
        instruction(MOV, 1, 0, 0, 1),
        instruction(MOV, 2, 0, 0, 5),
        call(abi::HELPER_COUNT_METRIC),
        instruction(MOV, 1, 0, 0, 0),
        instruction(MOV, 2, 0, 0, abi::HEAP as i32),
        instruction(MOV, 3, 0, 0, 0),
        call(abi::HELPER_READ_REQUEST_BODY),
    ];
    let code = [counting, returning(abi::VERDICT_SUSPEND)].concat();
    let mut machine = machine(plugin(&code, |message| message.capabilities = u64::MAX));
    let (host, mut one) = (calling_host(), exchange("/"));
    let _ = machine.run(&host, &mut one, 0);
    assert!(matches!(one.plugins.wanted, Some(Wanted::Body(_))));
    one.plugins.body = Some(ReadAhead { limit: 1, bytes: Vec::new(), whole_bytes: Some(0) });
    let _ = machine.run(&host, &mut one, 0);
    let counted = machine.plugins.counted.iter().filter(|(_, what, _)| *what == PluginCount::Own(1));
    assert_eq!(counted.collect::<Vec<_>>(), [&(3, PluginCount::Own(1), 5)]);
}

#[test]
fn who_suspends_and_waits_for_nothing_is_told_so() {
    let mut machine = machine(plugin(&returning(abi::VERDICT_SUSPEND), |_| {}));
    assert_eq!(decide(&mut machine), Decision::Error(500));
    let said = machine.plugins.last_failure.as_ref().map(ToString::to_string);
    assert_eq!(said.as_deref(), Some("returned SUSPEND, and no helper said LATER"));
}

#[test]
fn a_request_and_a_namespace_have_budgets_of_their_own() {
    let mut machine = machine(plugin(&endless(), |message| message.fuel = 1 << 40));
    let host = calling_host();
    let mut one = exchange("/");
    assert_eq!(machine.run(&host, &mut one, 0), Ok(Decision::Error(500)));
    assert_eq!(one.plugins.fuel_spent, REQUEST_FUEL_MAX);
    machine.plugins.counted.clear();
    assert_eq!(machine.run(&host, &mut one, 0), Ok(Decision::Error(500)));
    let used = machine.plugins.counted.iter().any(|(_, what, _)| *what == PluginCount::Fuel);
    assert!(!used, "a request without fuel runs nothing");
    machine.plugins.index = Arc::new(plugin(&returning(0), |_| {}));
    assert_eq!(machine.run(&host, &mut one, 0), Ok(Decision::Error(500)));
    assert_eq!(decide(&mut machine), Decision::NotFound, "another request has its own");
}

#[test]
fn calls_in_calls_share_the_request_s_fuel() {
    // Calls itself, then loops: each of eight frames would burn what a request has.
    let code = [call_function(), endless()].concat();
    let mut machine = machine(plugin(&code, |message| {
        message.data = b"p f{}"[..].into();
        message.capabilities = abi::CAPABILITY_CALL_PLUGINS;
        message.fuel = 1 << 40;
    }));
    let mut one = exchange("/");
    assert_eq!(machine.run(&calling_host(), &mut one, 0), Ok(Decision::Error(500)));
    let counted = &machine.plugins.counted;
    let sum =
        |wanted| counted.iter().filter(|(_, what, _)| *what == wanted).map(|(.., many)| many).sum::<u64>();
    assert_eq!((sum(PluginCount::Calls), sum(PluginCount::Fuel)), (9, REQUEST_FUEL_MAX as u64));
    assert_eq!(one.plugins.fuel_spent, REQUEST_FUEL_MAX);
}

/// `p`, which calls `q` and goes on, with so much fuel; and `q`.
fn caller_and(called: &Code, fuel: u64, change: impl FnOnce(&mut protocol::Plugin)) -> PluginIndex {
    let code = [call_function(), returning(0)].concat();
    let mut index = plugin(&code, |message| {
        message.data = b"q f{}"[..].into();
        message.capabilities = abi::CAPABILITY_CALL_PLUGINS;
        message.fuel = fuel;
    });
    index.insert(compile(called, |message| {
        message.name = "q".into();
        change(message);
    }));
    index
}

#[test]
fn a_called_plugin_that_traps_leaves_nothing_of_what_it_changed() {
    let then = vec![
        instruction(MOV, 1, 0, 0, abi::HEAP as i32),
        instruction(MOV, 2, 0, 0, 3),
        call(abi::HELPER_SET_RESPONSE_BODY),
        instruction(MOV, 1, 0, 0, 404),
        call(abi::HELPER_SET_RESPONSE_STATUS),
        call(abi::HELPER_REWRITE),
    ];
    let mut machine = machine(caller_and(&[write_method(), then].concat(), 1 << 20, |message| {
        message.data = b"PUT"[..].into();
        message.capabilities = abi::CAPABILITY_REQUEST_WRITE | abi::CAPABILITY_RESPONSE_WRITE;
    }));
    let mut exchange = exchange("/");
    assert_eq!(machine.run(&calling_host(), &mut exchange, 0), Ok(Decision::NotFound));
    assert_eq!(exchange.method(), b"GET");
    assert_eq!((exchange.plugins.made_status, &exchange.plugins.made_body[..]), (0, &b""[..]));
}

#[test]
fn who_calls_a_plugin_that_adopts_an_answer_pays_for_its_copy() {
    let adopting =
        [vec![instruction(MOV, 1, 0, 0, 0), call(abi::HELPER_FETCH)], returning(abi::VERDICT_ADOPT)];
    let decide = |bytes: usize| {
        let mut machine = machine(caller_and(&adopting.concat(), 10_000, |message| {
            message.capabilities = abi::CAPABILITY_OUTBOUND_HTTP | abi::CAPABILITY_RESPONSE_WRITE;
        }));
        let fetched = Fetched { plugin: "q".into(), status: 200, body: vec![0; bytes], ..Fetched::default() };
        let mut exchange = exchange("/");
        exchange.plugins.fetches.push(fetched.into());
        machine.run(&calling_host(), &mut exchange, 0)
    };
    assert_eq!((decide(1), decide(256 << 10)), (Ok(Decision::NotFound), Ok(Decision::Error(500))));
}

#[test]
fn helpers_of_routes_are_not_for_plugins_and_the_other_way_round() {
    for (number, allowed) in [
        (abi::HELPER_REWRITE, false),
        (abi::HELPER_CALL_PLUGIN, false),
        (abi::HELPER_SET_REQUEST_BODY, false),
        (abi::HELPER_READ_TIME, true),
    ] {
        let code = vec![instruction(MOV, 1, 0, 0, 0), call(number), instruction(MOV, 0, 0, 0, 0), exit()];
        let expected = if allowed { Decision::NotFound } else { Decision::Error(500) };
        assert_eq!(decide(&mut machine(plugin(&code, |_| {}))), expected, "helper {number}");
    }
    let code = [call(abi::HELPER_READ_TIME), exit()].concat();
    let route = host(&code, "ebpf", &protocol::Tables::default());
    assert!(Machine::new().unwrap().run(&route, &mut exchange("/"), 0).is_err());
}

#[test]
fn lengths_are_paid_for() {
    // compare_secrets(heap, n, heap, n): 32 and a sixteenth of 2n.
    let spend = |length: i32, fuel: u64| {
        let code = vec![
            instruction(MOV, 1, 0, 0, abi::HEAP as i32),
            instruction(MOV, 2, 0, 0, length),
            instruction(MOV, 3, 0, 0, abi::HEAP as i32),
            instruction(MOV, 4, 0, 0, length),
            call(abi::HELPER_COMPARE_SECRETS),
            instruction(MOV, 0, 0, 0, 0),
            exit(),
        ];
        decide(&mut machine(plugin(&code, |message| message.fuel = fuel)))
    };
    assert_eq!((spend(64, 40), spend(64, 39)), (Decision::NotFound, Decision::Error(500)));
    assert_eq!((spend(0, 32), spend(-1, 1 << 20)), (Decision::NotFound, Decision::Error(500)));
}

#[test]
fn a_call_that_waits_is_made_again_with_what_it_waited_for_and_nothing_changed() {
    // Sets the method, then reads the body: -2 suspends, else continues.
    let then = vec![
        instruction(MOV, 1, 0, 0, 0),
        instruction(MOV, 2, 0, 0, abi::HEAP as i32 + 64),
        instruction(MOV, 3, 0, 0, 16),
        call(abi::HELPER_READ_REQUEST_BODY),
        instruction(0x55, 0, 0, 2, -2),
        instruction(MOV, 0, 0, 0, abi::VERDICT_SUSPEND as i32),
        exit(),
        instruction(MOV, 0, 0, 0, 0),
        exit(),
    ];
    let mut machine = machine(plugin(&[write_method(), then].concat(), |message| {
        message.data = b"PUT"[..].into();
        message.capabilities = abi::CAPABILITY_REQUEST_BODY | abi::CAPABILITY_REQUEST_WRITE;
        message.body_bytes_max = 10;
    }));
    // r0 is SUSPEND with no index: the route would name its row; here the exchange tells.
    let (host, mut exchange) = (calling_host(), exchange("/"));
    let outcome = machine.execute(&host, &mut exchange, 0, 1 << 20).unwrap();
    assert_eq!(outcome.result, abi::ACTION_SUSPEND);
    assert!(matches!(exchange.plugins.wanted, Some(Wanted::Body(10))));
    assert_eq!(exchange.method(), b"GET", "what a waiting call changed is undone");
    exchange.plugins.body = Some(ReadAhead { limit: 10, bytes: b"hello".to_vec(), whole_bytes: Some(5) });
    let outcome = machine.execute(&host, &mut exchange, 0, 1 << 20).unwrap();
    assert_eq!((outcome.result, exchange.method()), (0, &b"PUT"[..]));
}

#[test]
fn a_suspended_route_names_a_call_that_is_there() {
    let host = calling_host();
    let word = |row: u64| abi::ACTION_SUSPEND | 9 << 8 | (abi::OPERATION_CALL_PLUGIN | row << 8) << 32;
    let suspended = Decision::Suspend { operation: Operation::CallPlugin, row: 0, entry: 9 };
    assert_eq!(super::run::decode_action(&host, word(0)), Ok(suspended));
    assert!(super::run::decode_action(&host, word(1)).is_err());
}

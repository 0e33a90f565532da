//! Ten thousand hosts of one shape: bounded memory, and one more of them is a small change.
#[allow(dead_code)]
mod agent;

use agent::{Agent, free_port, get, put_listener, put_site, return_action, start_backend};
use zeroserve_engine::program::abi;

const HOSTS: usize = 10_000;
/// What issues and documentation promise: of the engine, and of both processes together.
const ENGINE_BYTES_MAX: u64 = 37 << 20;
const BOTH_BYTES_MAX: u64 = 64 << 20;

/// Proportional set size: pages that both processes have count half.
fn proportional_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn ten_thousand_hosts_fit_and_one_more_is_found_at_once() {
    let mut agent = Agent::start("auto");
    let (port, backend) = (free_port(), start_backend("one"));
    put_listener(&mut agent, "http", port, false);
    agent.put_image("program", &return_action(abi::ACTION_PROXY, true), true);
    for index in 0..HOSTS {
        put_site(&mut agent, &format!("host-{index}.example.com"), "http", "program", backend);
    }
    assert_eq!(agent.commit(), []);
    let (engine, supervisor) =
        (proportional_bytes(agent.state.pid), proportional_bytes(agent.supervisor.id()));
    println!("engine {} KiB, supervisor {} KiB", engine >> 10, supervisor >> 10);
    assert!(engine < ENGINE_BYTES_MAX && engine + supervisor < BOTH_BYTES_MAX, "{engine} and {supervisor}");
    let started = std::time::Instant::now();
    put_site(&mut agent, "one-more.example.com", "http", "program", backend);
    assert_eq!(agent.commit(), []);
    println!("one more host: {:?}", started.elapsed());
    for host in ["host-0.example.com", "host-9999.example.com", "one-more.example.com"] {
        assert!(get(port, host, "/").unwrap().starts_with("HTTP/1.1 200"), "{host}");
    }
    assert!(get(port, "host-10000.example.com", "/").unwrap().starts_with("HTTP/1.1 404"));
}

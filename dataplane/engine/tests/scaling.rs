//! Ten thousand hosts of one shape: bounded memory, and one more of them is a small change.
#[allow(dead_code)]
mod agent;

use agent::{Agent, free_port, get, put_listener, put_site, return_action, start_backend};
use zeroserve_engine::program::abi;

const HOSTS: usize = 10_000;
/// The bound on the engine, which the supervisor's book is not part of.
const ENGINE_BYTES_MAX: u64 = 64 << 20;

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
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
    let (engine, supervisor) = (resident_bytes(agent.state.pid), resident_bytes(agent.supervisor.id()));
    println!("engine {} KiB, supervisor {} KiB", engine >> 10, supervisor >> 10);
    assert!(engine < ENGINE_BYTES_MAX, "{engine} bytes");
    let started = std::time::Instant::now();
    put_site(&mut agent, "one-more.example.com", "http", "program", backend);
    assert_eq!(agent.commit(), []);
    println!("one more host: {:?}", started.elapsed());
    for host in ["host-0.example.com", "host-9999.example.com", "one-more.example.com"] {
        assert!(get(port, host, "/").unwrap().starts_with("HTTP/1.1 200"), "{host}");
    }
    assert!(get(port, "host-10000.example.com", "/").unwrap().starts_with("HTTP/1.1 404"));
}

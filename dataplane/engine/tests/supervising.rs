//! A real supervisor and engine as processes: what was committed is served, and goes on being served.

#[allow(dead_code)]
mod agent;

use agent::{
    Agent, KeepAlive, free_port, get, get_over_tls, put_listener, put_site, return_action, start_backend,
    wait_for,
};
use zeroserve_engine::program::abi;
use zeroserve_engine::protocol::{self, ResourceType};

const BOTH: [&str; 2] = ["auto", "epoll"];

#[test]
fn a_committed_site_is_proxied_by_native_and_by_interpreted_programs() {
    for io in BOTH {
        for native in [true, false] {
            let mut agent = Agent::start(io);
            let port = free_port();
            put_listener(&mut agent, "http", port, false);
            agent.put_image("program", &return_action(abi::ACTION_PROXY, native), native);
            put_site(&mut agent, "shop.test", "http", "program", start_backend("one"));
            assert_eq!(agent.commit(), []);
            let answer = get(port, "Shop.test", "/a/../b?q=1").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("GET /b?q=1 HTTP/1.1\r\n"), "{answer}");
            assert!(answer.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{answer}");
            assert!(get(port, "other.test", "/").unwrap().starts_with("HTTP/1.1 404"));
        }
    }
}

#[test]
fn https_is_served_with_the_certificate_of_its_name_and_swapped_without_a_restart() {
    for io in BOTH {
        let mut agent = Agent::start(io);
        let port = free_port();
        put_listener(&mut agent, "https", port, true);
        agent.put_image("program", &return_action(abi::ACTION_PROXY, true), true);
        put_site(&mut agent, "shop.test", "https", "program", start_backend("one"));
        for _ in 0..2 {
            let made = rcgen::generate_simple_self_signed(vec!["shop.test".into()]).unwrap();
            let certificate = protocol::Certificate {
                name: "default/shop".into(),
                hosts: vec!["shop.test".into()],
                chain: vec![made.cert.der().to_vec().into()],
                key: made.signing_key.serialize_der().into(),
                ..protocol::Certificate::default()
            };
            agent.put(ResourceType::Certificate, "default/shop", &certificate);
            assert_eq!(agent.commit(), []);
            let answer = get_over_tls(port, "shop.test", "/", made.cert.der()).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("X-Forwarded-Proto: https\r\n"), "{answer}");
        }
    }
}

#[test]
fn a_killed_engine_is_replaced_and_its_listeners_never_refuse() {
    let mut agent = Agent::start("auto");
    let port = free_port();
    put_listener(&mut agent, "http", port, false);
    agent.put_image("program", &return_action(abi::ACTION_PROXY, true), true);
    put_site(&mut agent, "shop.test", "http", "program", start_backend("one"));
    assert_eq!(agent.commit(), []);
    let first = agent.state.pid;
    // SAFETY: kills the engine that the supervisor of this test has named.
    assert_eq!(unsafe { libc::kill(first as i32, libc::SIGKILL) }, 0);
    // The socket is there all the time: only what the dying engine had accepted is lost.
    wait_for(|| match get(port, "shop.test", "/") {
        Ok(answer) => {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Some(())
        }
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            None
        }
    });
    agent.wait_for_engine(first);
    assert_eq!(agent.state.restarts, 1);
    agent.reconnect();
    let mut kinds: Vec<_> = agent.retained.resources.iter().map(|resource| resource.r#type()).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            ResourceType::Listener,
            ResourceType::Endpoints,
            ResourceType::Cluster,
            ResourceType::Image,
            ResourceType::Tables,
            ResourceType::VirtualHost
        ]
    );
}

#[test]
fn an_upgrade_loses_nothing_and_tells_connections_to_come_again() {
    for io in BOTH {
        let mut agent = Agent::start(io);
        let port = free_port();
        put_listener(&mut agent, "http", port, false);
        agent.put_image("program", &return_action(abi::ACTION_PROXY, true), true);
        put_site(&mut agent, "shop.test", "http", "program", start_backend("one"));
        assert_eq!(agent.commit(), []);
        let mut kept = KeepAlive::open(port);
        assert!(!kept.ask().contains("Connection: close"));
        for upgrade in 1..=3 {
            let former = agent.state.pid;
            agent.upgrade();
            assert_eq!((agent.state.upgrades, agent.state.upgrades_failed), (upgrade, 0));
            assert_ne!(agent.state.pid, former);
            assert!(get(port, "shop.test", "/").unwrap().starts_with("HTTP/1.1 200"));
            // The former engine keeps its connection until an answer has said that it is the last.
            wait_for(|| kept.ask().contains("Connection: close").then_some(()));
            kept = open_at_next_engine(port);
            // Changes go to the one that serves; it alone accepts, in a moment.
            put_site(&mut agent, &format!("{upgrade}.test"), "http", "program", start_backend("two"));
            assert_eq!(agent.commit(), []);
            wait_for(|| {
                let answer = get(port, &format!("{upgrade}.test"), "/").unwrap();
                answer.contains("X-Backend: two").then_some(())
            });
        }
        drop(kept);
        agent.wait_until(|state| state.leaving == 0);
        assert_eq!(agent.state.restarts, 0);
    }
}

/// A former engine accepts until it has read that it is replaced, and says so with its first answer.
fn open_at_next_engine(port: u16) -> KeepAlive {
    wait_for(|| {
        let mut opened = KeepAlive::open(port);
        (!opened.ask().contains("Connection: close")).then_some(opened)
    })
}

#[test]
fn what_cannot_be_used_is_refused_alone_and_the_former_version_serves_on() {
    let mut agent = Agent::start("auto");
    let port = free_port();
    put_listener(&mut agent, "http", port, false);
    agent.put_image("program", &return_action(abi::ACTION_PROXY, true), true);
    put_site(&mut agent, "shop.test", "http", "program", start_backend("one"));
    assert_eq!(agent.commit(), []);
    put_site(&mut agent, "new.test", "http", "program", start_backend("two"));
    put_site(&mut agent, "shop.test", "http", "no such program", start_backend("three"));
    let refused: Vec<_> =
        agent.commit().into_iter().map(|refused| (refused.r#type(), refused.name)).collect();
    assert_eq!(refused, [(ResourceType::VirtualHost, "http://shop.test".to_owned())]);
    assert!(get(port, "new.test", "/").unwrap().contains("X-Backend: two"));
    assert!(get(port, "shop.test", "/").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_port_that_a_stranger_holds_is_refused_and_a_removed_listener_stops() {
    let mut agent = Agent::start("auto");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    put_listener(&mut agent, "taken", stranger.local_addr().unwrap().port(), false);
    let port = free_port();
    put_listener(&mut agent, "http", port, false);
    let refused: Vec<_> = agent.commit().into_iter().map(|refused| refused.name).collect();
    assert_eq!(refused, ["taken"]);
    assert!(get(port, "any.test", "/").unwrap().starts_with("HTTP/1.1 404"));
    agent.remove(ResourceType::Listener, "http");
    assert_eq!(agent.commit(), []);
    wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
}

#[test]
fn draining_ends_both_processes() {
    let mut agent = Agent::start("auto");
    put_listener(&mut agent, "http", free_port(), false);
    assert_eq!(agent.commit(), []);
    agent.drain();
    let status = wait_for(|| agent.supervisor.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

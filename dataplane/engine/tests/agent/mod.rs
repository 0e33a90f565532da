//! An agent as small as it can be: speaks control frames to a real supervisor, and a backend that tells what it got.

use prost::Message;
use rustls_pki_types::ServerName;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use zeroserve_engine::frames::{FrameReader, send};
use zeroserve_engine::program::{abi, image};
use zeroserve_engine::protocol::{self, ResourceType, frame};

const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor process, killed when dropped, with an agent's connection to it.
pub struct Agent {
    pub supervisor: Child,
    socket: UnixStream,
    reader: FrameReader,
    sequence: u64,
    pub path: PathBuf,
    pub hello: protocol::Hello,
    pub state: protocol::EngineState,
    pub retained: protocol::Retained,
}

impl Agent {
    pub fn start(io: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("zeroserve-test-{}-{number}.sock", std::process::id()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeroserve-engine"));
        command.arg("supervise").arg("--socket").arg(&path).args([
            "--workers=2",
            "--io",
            io,
            "--exit-with-parent",
        ]);
        let supervisor = command.spawn().unwrap();
        let socket = wait_for(|| UnixStream::connect(&path).ok());
        let mut agent = Self {
            supervisor,
            socket,
            reader: FrameReader::default(),
            sequence: 0,
            path,
            hello: protocol::Hello::default(),
            state: protocol::EngineState::default(),
            retained: protocol::Retained::default(),
        };
        agent.greet();
        agent
    }

    fn greet(&mut self) {
        let hello = protocol::Hello { abi: abi::ABI_VERSION as u32, ..protocol::Hello::default() };
        send(self.socket.as_fd(), frame::Frame::Hello(hello), &[]).unwrap();
        loop {
            match self.next() {
                frame::Frame::Hello(hello) => self.hello = hello,
                frame::Frame::Metrics(_) => drop(self.reader.take_descriptors(1).unwrap()),
                frame::Frame::State(state) => self.state = state,
                frame::Frame::Retained(retained) => {
                    self.retained = retained;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Leaves and comes back, as an agent that was restarted does.
    pub fn reconnect(&mut self) {
        self.socket = UnixStream::connect(&self.path).unwrap();
        self.reader = FrameReader::default();
        self.greet();
    }

    fn next(&mut self) -> frame::Frame {
        self.reader.wait(self.socket.as_fd()).unwrap().expect("the supervisor is gone")
    }

    pub fn put(&mut self, kind: ResourceType, name: &str, message: &impl Message) {
        self.put_with(kind, name, message, None);
    }

    fn put_with(&mut self, kind: ResourceType, name: &str, message: &impl Message, code: Option<&[u8]>) {
        let payload = message.encode_to_vec();
        let resource = protocol::Resource {
            r#type: kind.into(),
            name: name.into(),
            version: format!("{}", payload.len()),
            payload: payload.into(),
        };
        let put = protocol::Put { resource: Some(resource), descriptor: code.is_some() };
        let sealed = code.map(|code| image::seal(code).unwrap());
        let descriptors: Vec<_> = sealed.iter().map(AsFd::as_fd).collect();
        send(self.socket.as_fd(), frame::Frame::Put(put), &descriptors).unwrap();
    }

    pub fn remove(&mut self, kind: ResourceType, name: &str) {
        let remove = protocol::Remove { r#type: kind.into(), name: name.into() };
        send(self.socket.as_fd(), frame::Frame::Remove(remove), &[]).unwrap();
    }

    /// Puts code; `native` code is that of this machine.
    pub fn put_image(&mut self, name: &str, code: &[u8], native: bool) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code);
        let message = protocol::Image {
            name: name.into(),
            abi: abi::ABI_VERSION as u32,
            target: if native { image::TARGET } else { "ebpf" }.into(),
            code_bytes: code.len() as u32,
            code_digest: digest.as_ref().to_vec().into(),
            ..protocol::Image::default()
        };
        self.put_with(ResourceType::Image, name, &message, Some(code));
    }

    pub fn commit(&mut self) -> Vec<protocol::RefusedResource> {
        self.sequence += 1;
        let commit = protocol::Commit { sequence: self.sequence, snapshot: "test".into(), start: false };
        send(self.socket.as_fd(), frame::Frame::Commit(commit), &[]).unwrap();
        loop {
            match self.next() {
                frame::Frame::Committed(committed) if committed.sequence == self.sequence => {
                    return committed.refused;
                }
                frame::Frame::State(state) => self.state = state,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads states until the engine runs with another process id than `former`.
    pub fn wait_for_engine(&mut self, former: u32) {
        let deadline = Instant::now() + PATIENCE;
        while !self.state.running || self.state.pid == former {
            assert!(Instant::now() < deadline, "no new engine");
            if let frame::Frame::State(state) = self.next() {
                self.state = state;
            }
        }
    }

    /// Has the engine replaced; returns once the next one serves.
    pub fn upgrade(&mut self) {
        let former = self.state.upgrades;
        send(self.socket.as_fd(), frame::Frame::Upgrade(protocol::Upgrade {}), &[]).unwrap();
        self.wait_until(|state| state.upgrades > former || state.upgrades_failed > 0);
    }

    pub fn wait_until(&mut self, reached: impl Fn(&protocol::EngineState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(&self.state) {
            assert!(Instant::now() < deadline, "it stays {:?}", self.state);
            if let frame::Frame::State(state) = self.next() {
                self.state = state;
            }
        }
    }

    pub fn drain(&mut self) {
        let drain = protocol::Drain { timeout_ms: 2000, exit: true };
        send(self.socket.as_fd(), frame::Frame::Drain(drain), &[]).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

pub fn wait_for<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing came in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Below the kernel's ephemeral range: no connection takes it between choice and use, and nobody is given it twice.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = std::process::id().wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (count % 2_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Answers every request with its own name and the request's head as body.
pub fn start_backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve_backend(name, stream));
        }
    });
    address
}

fn serve_backend(name: &str, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = String::new();
        loop {
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) if head.ends_with("\r\n\r\n") => break,
                Ok(_) => {}
            }
        }
        let body = format!("{name}\n{head}");
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: {name}\r\n\r\n{body}", body.len());
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// One request on its own connection; the whole answer. Err where there is none.
pub fn get(port: u16, host: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// A connection for many requests.
pub struct KeepAlive {
    reader: BufReader<TcpStream>,
}

impl KeepAlive {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// The head of the answer, which has a length.
    pub fn ask(&mut self) -> String {
        write!(self.reader.get_mut(), "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.reader.read_line(&mut head).unwrap(), 0, "the connection ended: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        self.reader.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        head
    }
}

/// The same over TLS, trusting `root` only.
pub fn get_over_tls(port: u16, host: &str, path: &str, root: &[u8]) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    write!(tls, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match tls.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Code that returns `action`: byte code, or native code of this machine.
pub fn return_action(action: u64, native: bool) -> Vec<u8> {
    if !native {
        let mut code = vec![0x18, 0, 0, 0];
        code.extend_from_slice(&(action as u32).to_le_bytes());
        code.extend_from_slice(&[0; 4]);
        code.extend_from_slice(&((action >> 32) as u32).to_le_bytes());
        code.extend_from_slice(&[0x95, 0, 0, 0, 0, 0, 0, 0]);
        return code;
    }
    if cfg!(target_arch = "x86_64") {
        // mov rax, imm64; ret
        let mut code = vec![0x48, 0xb8];
        code.extend_from_slice(&action.to_le_bytes());
        code.push(0xc3);
        return code;
    }
    // ldr x0, .+8; ret; then the literal
    let mut code = vec![0x40, 0x00, 0x00, 0x58, 0xc0, 0x03, 0x5f, 0xd6];
    code.extend_from_slice(&action.to_le_bytes());
    code
}

/// Settings-less site: one host on one listener whose program answers with `action`, proxying to `backend`.
pub fn put_site(agent: &mut Agent, host: &str, listener: &str, image: &str, backend: SocketAddr) {
    let endpoint = protocol::Endpoint {
        address: backend.ip().to_string(),
        port: backend.port().into(),
        ..protocol::Endpoint::default()
    };
    let name = format!("{host} endpoints");
    let endpoints =
        protocol::Endpoints { name: name.clone(), endpoints: vec![endpoint], ..Default::default() };
    agent.put(ResourceType::Endpoints, &name, &endpoints);
    let cluster =
        protocol::Cluster { name: format!("{host} cluster"), endpoints: name, ..Default::default() };
    agent.put(ResourceType::Cluster, &cluster.name.clone(), &cluster);
    let call = protocol::ProxyCall { cluster: cluster.name, ..protocol::ProxyCall::default() };
    let tables = protocol::Tables {
        name: format!("{host} tables"),
        proxies: vec![call],
        ..protocol::Tables::default()
    };
    agent.put(ResourceType::Tables, &tables.name.clone(), &tables);
    let site = protocol::VirtualHost {
        name: format!("http://{host}"),
        hosts: vec![host.into()],
        listeners: vec![listener.into()],
        program: image.into(),
        tables: tables.name,
        ..protocol::VirtualHost::default()
    };
    agent.put(ResourceType::VirtualHost, &site.name.clone(), &site);
}

pub fn put_listener(agent: &mut Agent, name: &str, port: u16, tls: bool) {
    let listener = protocol::Listener {
        name: name.into(),
        address: "127.0.0.1".into(),
        port: port.into(),
        tls,
        ..protocol::Listener::default()
    };
    agent.put(ResourceType::Listener, name, &listener);
}

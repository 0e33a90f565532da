//! What the client roles ask for: the proxy's address, TLS or not, hosts and paths, and the mark each path must bear.

use crate::answer::Answer;
use crate::tls;
use clap::Args;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args, Clone, Debug)]
pub struct TargetOptions {
    /// The proxy's address, e.g. 127.0.0.1:8443
    #[arg(long)]
    pub address: SocketAddr,
    /// Speak TLS and require exactly this certificate (PEM file)
    #[arg(long)]
    pub certificate: Option<PathBuf>,
    /// Host header; {} is the host's number
    #[arg(long, default_value = "h{}.bench.test")]
    pub host: String,
    /// Hosts are numbered from 0; each request takes one at random
    #[arg(long, default_value_t = 1)]
    pub hosts: u32,
    /// PATH=MARK, repeatable: the path asked for and the number of the backend that must answer
    #[arg(long = "path", default_value = "/a/x=1", value_parser = parse_route)]
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub path: String,
    pub mark: u8,
}

fn parse_route(text: &str) -> Result<Route, String> {
    let (path, mark) = text.rsplit_once('=').ok_or("expected PATH=MARK")?;
    let mark = mark
        .parse()
        .map_err(|_| format!("mark `{mark}` is not a number below 256"))?;
    Ok(Route {
        path: path.to_string(),
        mark,
    })
}

/// A target ready for use.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    host: String,
    hosts: u32,
    routes: Vec<Route>,
}

impl Target {
    pub fn new(options: &TargetOptions) -> std::io::Result<Self> {
        let tls = match &options.certificate {
            None => None,
            Some(file) => {
                let name = ServerName::try_from(options.host.replace("{}", "0"))
                    .map_err(std::io::Error::other)?;
                Some((tls::client_config(file)?, name))
            }
        };
        let TargetOptions {
            address,
            host,
            hosts,
            routes,
            ..
        } = options.clone();
        Ok(Self {
            address,
            tls,
            host,
            hosts,
            routes,
        })
    }

    pub fn hosts(&self) -> u32 {
        self.hosts
    }

    /// The name of host `number`.
    pub fn host(&self, number: u32) -> String {
        self.host.replace("{}", &number.to_string())
    }

    /// The path that `choice` picks and the mark that its answer must bear.
    pub fn route(&self, choice: usize) -> (&str, u8) {
        let route = &self.routes[choice % self.routes.len()];
        (&route.path, route.mark)
    }

    /// Offers HTTP/2 in place of HTTP/1.1.
    pub fn speak_http2(&mut self) {
        if let Some((config, _)) = &mut self.tls {
            Arc::make_mut(config).alpn_protocols = vec![b"h2".to_vec()];
        }
    }

    /// A request for host `number` and the mark that its answer must bear; `choice` picks the path.
    pub fn request(&self, number: u32, choice: usize) -> (Vec<u8>, u8) {
        let (path, mark) = self.route(choice);
        let host = self.host(number);
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench-load\r\nAccept: */*\r\n\r\n",
            path
        );
        (head.into_bytes(), mark)
    }
}

/// An answer is right when it is a 200 that bears the backend's mark.
pub fn is_right(answer: Answer, mark: u8) -> bool {
    answer.status == 200 && answer.mark == Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_takes_the_last_equals_sign() {
        assert_eq!(
            parse_route("/a?b=c=2"),
            Ok(Route {
                path: "/a?b=c".into(),
                mark: 2
            })
        );
        assert!(parse_route("/a").is_err());
        assert!(parse_route("/a=300").is_err());
    }

    #[test]
    fn only_a_marked_200_is_right() {
        let answer = Answer {
            status: 200,
            mark: Some(2),
            close: false,
        };
        assert!(is_right(answer, 2));
        assert!(!is_right(answer, 1));
        assert!(!is_right(
            Answer {
                status: 404,
                ..answer
            },
            2
        ));
        assert!(!is_right(
            Answer {
                mark: None,
                ..answer
            },
            2
        ));
    }
}

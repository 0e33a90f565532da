//! What was committed, as the frames that a new engine is fed with: payloads and descriptors.

use super::listening::ListenerSockets;
use crate::frames;
use crate::protocol::{self, ResourceType, frame};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

type Key = (i32, Box<str>);

/// A resource as its encoded Put frame: one allocation each, for 10,000 hosts.
struct Retained {
    version: Box<str>,
    put: Box<[u8]>,
    descriptor: Option<OwnedFd>,
}

/// A change that waits for its commit.
pub enum Staged {
    Put { kind: i32, name: Box<str>, version: Box<str>, put: Box<[u8]>, descriptor: Option<OwnedFd> },
    Remove { kind: i32, name: Box<str> },
}

#[derive(Default)]
pub struct Book {
    resources: BTreeMap<Key, Retained>,
    sockets: BTreeMap<Box<str>, ListenerSockets>,
}

/// Staged by an agent; descriptors were taken already.
pub fn stage(put: protocol::Put, descriptor: Option<OwnedFd>) -> io::Result<Staged> {
    let resource = put.resource.as_ref().ok_or_else(|| io::Error::other("put without resource"))?;
    let (kind, name) = (resource.r#type, resource.name.as_str().into());
    let version = resource.version.as_str().into();
    let listener = kind == ResourceType::Listener as i32;
    let put = protocol::Put { descriptor: descriptor.is_some() || listener, ..put };
    Ok(Staged::Put { kind, name, version, put: frames::encode(frame::Frame::Put(put)).into(), descriptor })
}

impl Book {
    /// Sends a staged change to the engine. Listeners are bound first; Err(text): this one cannot be.
    pub fn forward(
        &mut self,
        staged: &Staged,
        workers: usize,
        engine: BorrowedFd<'_>,
    ) -> io::Result<Result<(), String>> {
        match staged {
            Staged::Put { kind, name, put, .. } if *kind == ResourceType::Listener as i32 => {
                if let Err(reason) = self.bind(name, put, workers) {
                    return Ok(Err(reason));
                }
                self.send_listener(name, put, engine)?;
            }
            Staged::Put { put, descriptor, .. } => {
                let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
                frames::send_encoded(engine, put, &descriptors)?;
            }
            Staged::Remove { kind, name } => {
                let remove = protocol::Remove { r#type: *kind, name: name.to_string() };
                frames::send(engine, frame::Frame::Remove(remove), &[])?;
            }
        }
        Ok(Ok(()))
    }

    fn bind(&mut self, name: &str, put: &[u8], workers: usize) -> Result<(), String> {
        let listener = decode_listener(put)?;
        if self.sockets.get(name).is_some_and(|sockets| sockets.serves(&listener)) {
            return Ok(());
        }
        let bound = ListenerSockets::bind(&listener, workers)?;
        self.sockets.insert(name.into(), bound);
        Ok(())
    }

    fn send_listener(&self, name: &str, put: &[u8], engine: BorrowedFd<'_>) -> io::Result<()> {
        let descriptors = self.sockets.get(name).map(ListenerSockets::descriptors).unwrap_or_default();
        frames::send_encoded(engine, put, &descriptors)
    }

    /// The engine serves the change: it is kept for the next one.
    pub fn adopt(&mut self, staged: Staged) {
        match staged {
            Staged::Put { kind, name, version, put, descriptor } => {
                self.resources.insert((kind, name), Retained { version, put, descriptor });
            }
            Staged::Remove { kind, name } => {
                if kind == ResourceType::Listener as i32 {
                    self.sockets.remove(&name);
                }
                self.resources.remove(&(kind, name));
            }
        }
    }

    /// Feeds a new engine with everything; the caller commits.
    pub fn feed(&self, engine: BorrowedFd<'_>) -> io::Result<()> {
        for ((kind, name), retained) in &self.resources {
            if *kind == ResourceType::Listener as i32 {
                self.send_listener(name, &retained.put, engine)?;
            } else {
                let descriptors: Vec<_> = retained.descriptor.iter().map(AsFd::as_fd).collect();
                frames::send_encoded(engine, &retained.put, &descriptors)?;
            }
        }
        Ok(())
    }

    /// Nothing is accepted any more, by nobody.
    pub fn close_listeners(&mut self) {
        self.sockets.clear();
    }

    /// Names and versions, for an agent that has just connected.
    pub fn describe(&self) -> protocol::Retained {
        let resources = self.resources.iter().map(|((kind, name), retained)| protocol::Resource {
            r#type: *kind,
            name: name.to_string(),
            version: retained.version.to_string(),
            payload: bytes::Bytes::new(),
        });
        protocol::Retained { resources: resources.collect() }
    }
}

fn decode_listener(put: &[u8]) -> Result<protocol::Listener, String> {
    use prost::Message;
    let frame = protocol::Frame::decode(&put[4..]).map_err(|error| error.to_string())?;
    let Some(frame::Frame::Put(protocol::Put { resource: Some(resource), .. })) = frame.frame else {
        return Err("no put".into());
    };
    protocol::Listener::decode(resource.payload).map_err(|error| format!("payload: {error}"))
}

//! What was committed, as the frames that a new engine is fed with, and changes that wait for their commit.

use super::frame_log::{FrameLog, Place};
use super::listening::ListenerSockets;
use crate::digests::{Digest, digest, hex};
use crate::frames;
use crate::protocol::{self, ResourceType, frame};
use aws_lc_rs::digest::SHA256;
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Frames without descriptors are sent together up to this size.
const BATCH_BYTES: usize = 256 << 10;

/// A change by the digest of its kind and name.
enum Change {
    Put { key: Digest, place: Place, descriptor: Option<OwnedFd>, listener: bool },
    Remove { key: Digest, place: Place },
}

/// Changes that wait for their commit, in order.
#[derive(Default)]
pub struct Staging {
    log: FrameLog,
    changes: Vec<Change>,
}

#[derive(Default)]
pub struct Book {
    log: FrameLog,
    places: HashMap<Digest, Place>,
    descriptors: HashMap<Digest, OwnedFd>,
    /// By name and by key.
    sockets: BTreeMap<Digest, ListenerSockets>,
}

fn find_key(kind: i32, name: &str) -> Digest {
    digest(&[&kind.to_le_bytes(), name.as_bytes()])
}

fn find_version(payload: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, payload).as_ref())
}

impl Staging {
    /// Stages what an agent puts; descriptors were taken already.
    pub fn put(&mut self, put: protocol::Put, descriptor: Option<OwnedFd>) -> io::Result<()> {
        let mut resource = put.resource.ok_or_else(|| io::Error::other("put without resource"))?;
        let listener = resource.r#type == ResourceType::Listener as i32;
        let key = find_key(resource.r#type, &resource.name);
        // A version is the payload's digest, as a rule: found again when asked for.
        if resource.version == find_version(&resource.payload) {
            resource.version.clear();
        }
        let put = protocol::Put { resource: Some(resource), descriptor: descriptor.is_some() || listener };
        let place = self.log.push(&frames::encode(frame::Frame::Put(put)));
        self.changes.push(Change::Put { key, place, descriptor, listener });
        Ok(())
    }

    pub fn remove(&mut self, remove: protocol::Remove) {
        let key = find_key(remove.r#type, &remove.name);
        let place = self.log.push(&frames::encode(frame::Frame::Remove(remove)));
        self.changes.push(Change::Remove { key, place });
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Kinds and names of what is put.
    pub fn describe(&self) -> Vec<(i32, String)> {
        let mut reader = self.log.reader();
        let puts = self.changes.iter().filter_map(|change| match change {
            Change::Put { place, .. } => Some(place),
            Change::Remove { .. } => None,
        });
        puts.filter_map(|place| decode_put(reader.get(*place)))
            .map(|resource| (resource.r#type, resource.name))
            .collect()
    }
}

impl Book {
    /// Sends what is staged to the engine, and its commit: a small change wakes it once. Listeners are bound first; those
    /// that cannot be are returned with the reason.
    pub fn forward(
        &mut self,
        staging: &Staging,
        commit: &protocol::Commit,
        workers: usize,
        engine: BorrowedFd<'_>,
    ) -> io::Result<Vec<protocol::RefusedResource>> {
        let mut refused = Vec::new();
        let mut reader = staging.log.reader();
        let mut batch = Batch::new(engine);
        for change in &staging.changes {
            match change {
                Change::Put { key, place, listener: true, .. } => {
                    let put = reader.get(*place);
                    match self.bind(*key, put, workers) {
                        Ok(()) => batch.send(put, &self.listener_descriptors(key))?,
                        Err((name, reason)) => refused.push(protocol::RefusedResource {
                            r#type: ResourceType::Listener as i32,
                            name,
                            reason,
                        }),
                    }
                }
                Change::Put { place, descriptor, .. } => {
                    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
                    batch.send(reader.get(*place), &descriptors)?;
                }
                Change::Remove { place, .. } => batch.send(reader.get(*place), &[])?,
            }
        }
        batch.send(&frames::encode(frame::Frame::Commit(commit.clone())), &[])?;
        batch.flush().map(|()| refused)
    }

    fn bind(&mut self, key: Digest, put: &[u8], workers: usize) -> Result<(), (String, String)> {
        let resource = decode_put(put).ok_or_else(|| (String::new(), "no put".to_owned()))?;
        let bound = protocol::Listener::decode(resource.payload)
            .map_err(|error| format!("payload: {error}"))
            .and_then(|listener| match self.sockets.get(&key) {
                Some(sockets) if sockets.serves(&listener) => {
                    sockets.adjust(&listener);
                    Ok(None)
                }
                _ => ListenerSockets::bind(&listener, workers).map(Some),
            });
        match bound {
            Ok(sockets) => {
                self.sockets.extend(sockets.map(|sockets| (key, sockets)));
                Ok(())
            }
            Err(reason) => Err((resource.name, reason)),
        }
    }

    fn listener_descriptors(&self, key: &Digest) -> Vec<BorrowedFd<'_>> {
        self.sockets.get(key).map(ListenerSockets::descriptors).unwrap_or_default()
    }

    /// The engine serves the changes, but for what it refused: they are kept for the next one.
    pub fn adopt(&mut self, staging: Staging, refused: &[protocol::RefusedResource]) {
        let refused: HashSet<Digest> = refused.iter().map(|one| find_key(one.r#type, &one.name)).collect();
        let moved = self.log.absorb(staging.log);
        for change in staging.changes {
            match change {
                Change::Put { key, place, .. } if refused.contains(&key) => {
                    self.log.release(moved.find(place));
                }
                Change::Put { key, place, descriptor, .. } => {
                    if let Some(former) = self.places.insert(key, moved.find(place)) {
                        self.log.release(former);
                    }
                    match descriptor {
                        Some(descriptor) => self.descriptors.insert(key, descriptor),
                        None => self.descriptors.remove(&key),
                    };
                }
                Change::Remove { key, place } => {
                    self.log.release(moved.find(place));
                    self.sockets.remove(&key);
                    self.descriptors.remove(&key);
                    if let Some(former) = self.places.remove(&key) {
                        self.log.release(former);
                    }
                }
            }
        }
        self.compact();
    }

    /// The engine took nothing of the changes: ports that were bound for them are free again.
    pub fn reject(&mut self, staging: &Staging) {
        for change in &staging.changes {
            if let Change::Put { key, listener: true, .. } = change
                && !self.places.contains_key(key)
            {
                self.sockets.remove(key);
            }
        }
    }

    /// Moves what is wanted out of chunks that mostly are not.
    fn compact(&mut self) {
        for chunk in self.log.wasteful() {
            let mut wanted = Vec::new();
            self.log.visit(chunk, |place, frame| {
                let Some(resource) = decode_put(frame) else { return };
                let key = find_key(resource.r#type, &resource.name);
                if self.places.get(&key) == Some(&place) {
                    wanted.push((key, place, frame.to_vec()));
                }
            });
            for (key, former, frame) in wanted {
                self.places.insert(key, self.log.push(&frame));
                self.log.release(former);
            }
        }
    }

    /// Feeds a new engine with everything; the caller commits.
    pub fn feed(&self, engine: BorrowedFd<'_>) -> io::Result<()> {
        let keys: HashMap<Place, Digest> = self.places.iter().map(|(key, place)| (*place, *key)).collect();
        let mut batch = Batch::new(engine);
        let mut result = Ok(());
        for chunk in self.log.chunks() {
            self.log.visit(chunk, |place, frame| {
                let Some(key) = keys.get(&place).filter(|_| result.is_ok()) else { return };
                let mut descriptors = self.listener_descriptors(key);
                descriptors.extend(self.descriptors.get(key).map(AsFd::as_fd));
                result = batch.send(frame, &descriptors);
            });
        }
        result.and_then(|()| batch.flush())
    }

    /// Nothing is accepted any more, by nobody.
    pub fn close_listeners(&mut self) {
        self.sockets.clear();
    }

    /// Names and versions, for an agent that has just connected.
    pub fn describe(&self) -> protocol::Retained {
        let mut places: Vec<Place> = self.places.values().copied().collect();
        places.sort_unstable();
        let mut reader = self.log.reader();
        let resources = places.into_iter().filter_map(|place| decode_put(reader.get(place)));
        protocol::Retained { resources: resources.map(strip_payload).collect() }
    }
}

fn strip_payload(mut resource: protocol::Resource) -> protocol::Resource {
    let payload = std::mem::take(&mut resource.payload);
    if resource.version.is_empty() {
        resource.version = find_version(&payload);
    }
    resource
}

fn decode_put(frame: &[u8]) -> Option<protocol::Resource> {
    match protocol::Frame::decode(&frame[4..]).ok()?.frame? {
        frame::Frame::Put(put) => put.resource,
        _ => None,
    }
}

/// Frames on their way to an engine.
struct Batch<'a> {
    engine: BorrowedFd<'a>,
    bytes: Vec<u8>,
}

impl<'a> Batch<'a> {
    fn new(engine: BorrowedFd<'a>) -> Self {
        Self { engine, bytes: Vec::new() }
    }

    fn send(&mut self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.is_empty() {
            self.bytes.extend_from_slice(frame);
            return if self.bytes.len() < BATCH_BYTES { Ok(()) } else { self.flush() };
        }
        self.flush()?;
        frames::send_encoded(self.engine, frame, descriptors)
    }

    fn flush(&mut self) -> io::Result<()> {
        frames::send_encoded(self.engine, &std::mem::take(&mut self.bytes), &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const CLUSTER: i32 = ResourceType::Cluster as i32;

    fn put(name: &str, payload: &str) -> protocol::Put {
        let resource = protocol::Resource {
            r#type: CLUSTER,
            name: name.into(),
            version: find_version(payload.as_bytes()),
            payload: payload.as_bytes().to_vec().into(),
        };
        protocol::Put { resource: Some(resource), descriptor: false }
    }

    fn stage(puts: &[(&str, &str)], removes: &[&str]) -> Staging {
        let mut staging = Staging::default();
        puts.iter().for_each(|(name, payload)| staging.put(put(name, payload), None).unwrap());
        for name in removes {
            staging.remove(protocol::Remove { r#type: CLUSTER, name: (*name).into() });
        }
        staging
    }

    /// (name, payload) of all that an engine is fed.
    fn fed(book: &Book) -> Vec<(String, String)> {
        let (ours, engines) = UnixStream::pair().unwrap();
        let receiving = std::thread::spawn(move || {
            let mut reader = frames::FrameReader::default();
            let mut found = Vec::new();
            while let Some(frame::Frame::Put(put)) = reader.wait(engines.as_fd()).unwrap() {
                let resource = put.resource.unwrap();
                found.push((resource.name, String::from_utf8(resource.payload.to_vec()).unwrap()));
            }
            found.sort();
            found
        });
        book.feed(ours.as_fd()).unwrap();
        drop(ours);
        receiving.join().unwrap()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, payload)| ((*name).into(), (*payload).into())).collect()
    }

    #[test]
    fn a_new_engine_gets_the_last_of_each_name_and_nothing_that_was_removed_or_refused() {
        let mut book = Book::default();
        book.adopt(stage(&[("a", "1"), ("b", "1"), ("c", "1")], &[]), &[]);
        let refused = protocol::RefusedResource { r#type: CLUSTER, name: "b".into(), reason: "bad".into() };
        book.adopt(stage(&[("a", "2"), ("b", "2"), ("d", "2")], &["c"]), &[refused]);
        assert_eq!(fed(&book), pairs(&[("a", "2"), ("b", "1"), ("d", "2")]));
    }

    #[test]
    fn a_port_that_was_bound_for_changes_that_were_not_taken_is_free_again() {
        let path = std::env::temp_dir().join(format!("zeroserve-reject-{}", std::process::id()));
        let listener = protocol::Listener {
            name: "l".into(),
            unix_path: path.to_str().unwrap().into(),
            ..protocol::Listener::default()
        };
        let resource = protocol::Resource {
            r#type: ResourceType::Listener as i32,
            name: "l".into(),
            payload: listener.encode_to_vec().into(),
            ..protocol::Resource::default()
        };
        let mut staging = Staging::default();
        staging.put(protocol::Put { resource: Some(resource), descriptor: false }, None).unwrap();
        let (ours, engine) = UnixStream::pair().unwrap();
        let mut book = Book::default();
        let forward = |book: &mut Book, staging: &Staging| {
            assert_eq!(book.forward(staging, &protocol::Commit::default(), 1, ours.as_fd()).unwrap(), []);
        };
        forward(&mut book, &staging);
        assert_eq!(book.sockets.len(), 1);
        book.reject(&staging);
        assert_eq!(book.sockets.len(), 0);
        forward(&mut book, &staging);
        book.adopt(staging, &[]);
        assert_eq!(book.sockets.len(), 1);
        drop(engine);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn an_agent_is_told_names_and_versions() {
        let mut book = Book::default();
        let mut staging = stage(&[("a", "1")], &[]);
        let mut other = put("b", "2");
        other.resource.as_mut().unwrap().version = "of its own".into();
        staging.put(other, None).unwrap();
        assert_eq!(staging.describe(), [(CLUSTER, "a".to_owned()), (CLUSTER, "b".to_owned())]);
        book.adopt(staging, &[]);
        let told: Vec<_> =
            book.describe().resources.into_iter().map(|one| (one.name, one.version, one.payload)).collect();
        let nothing = bytes::Bytes::new;
        let expected =
            [("a".into(), find_version(b"1"), nothing()), ("b".into(), "of its own".into(), nothing())];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_changes_all_the_time_does_not_grow() {
        let mut book = Book::default();
        let names: Vec<String> = (0..3000).map(|number| format!("cluster-{number}")).collect();
        for turn in 0..6 {
            let payload = format!("{turn}").repeat(200);
            let puts: Vec<_> = names.iter().map(|name| (&name[..], &payload[..])).collect();
            book.adopt(stage(&puts, &[]), &[]);
        }
        for turn in 0..200 {
            book.adopt(stage(&[(&names[turn % 7], "small")], &[]), &[]);
        }
        assert_eq!(fed(&book).len(), names.len());
        assert!(book.log.chunks().count() < 12, "{} chunks", book.log.chunks().count());
    }
}

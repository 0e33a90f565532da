//! TLS 1.3 records of an established server side, sealed into what is sent and opened where they came (RFC 8446 5).
//!
//! rustls copies a record's plaintext twice on its way out; large answers feel it (docs/performance.md). `Session` takes
//! a connection's keys over by rustls' own interface for that, once it has sent enough to be worth it. rustls goes on
//! deriving keys.
//!
//! Rule: after the handshake a client may send data, alerts and KeyUpdate, each whole in its record; anything else ends
//! the session with an alert. No key seals more records than its suite bears.

use super::suites::EXPANSION_BYTES_MAX;
use super::{Progress, TlsFailure, failure};
use crate::limits::{TLS_KEY_UPDATES_MAX, TLS_RECORD_BYTES_MAX, TLS_RECORDS_PER_KEY_MAX};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;
const HEAD_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELLED: u8 = 90;

/// Why a session ends, as its alert says it (RFC 8446 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Objection {
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
    /// The client gave up, and is told nothing.
    Theirs = 255,
}

/// The keys of one direction.
struct Direction {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
    sequence: u64,
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, TlsFailure> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(TlsFailure("unknown suite".into())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(failure)?;
        let iv = iv.as_ref().try_into().map_err(failure)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// RFC 8446 5.3. Each is used once.
    fn next_nonce(&mut self) -> Result<Nonce, TlsFailure> {
        let mut nonce = self.iv;
        for (byte, part) in nonce[NONCE_BYTES - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence = self.sequence.checked_add(1).ok_or_else(|| TlsFailure("key is used up".into()))?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Appends one record. `content` has at most `TLS_RECORD_BYTES_MAX`.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        let nonce = self.next_nonce()?;
        let [high, low] = ((content.len() + 1 + TAG_BYTES) as u16).to_be_bytes();
        let head = [APPLICATION_DATA, 3, 3, high, low];
        out.extend_from_slice(&head);
        let start = out.len();
        out.resize(start + content.len() + 1 + TAG_BYTES, 0);
        let (sealed, kind_and_tag) = out[start..].split_at_mut(content.len());
        let aad = Aad::from(head);
        let result = self.key.seal_out_of_place_scatter(nonce, aad, content, sealed, &[kind], kind_and_tag);
        if result.is_err() {
            out.truncate(start - HEAD_BYTES);
            return Err(TlsFailure("record could not be sealed".into()));
        }
        Ok(())
    }
}

/// Both directions of one connection.
pub struct RecordLayer {
    keys: KernelConnection<ServerConnectionData>,
    sent: Direction,
    received: Direction,
    records_per_key: u64,
    /// Empty records and KeyUpdates that may still come before the next data.
    patience: u32,
    /// close_notify came: nothing counts after it.
    finished: bool,
}

impl RecordLayer {
    /// Takes the keys over. The connection is established, speaks TLS 1.3 and has nothing left to send.
    pub fn new(connection: UnbufferedServerConnection) -> Result<Self, TlsFailure> {
        let (secrets, keys) = connection.dangerous_into_kernel_connection().map_err(failure)?;
        let (sent, received) = (Direction::new(secrets.tx)?, Direction::new(secrets.rx)?);
        Ok(Self {
            keys,
            sent,
            received,
            records_per_key: TLS_RECORDS_PER_KEY_MAX,
            patience: TLS_KEY_UPDATES_MAX,
            finished: false,
        })
    }

    /// Appends data as records.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        out.reserve(plain.len() + (plain.len() / TLS_RECORD_BYTES_MAX + 1) * (HEAD_BYTES + 1 + TAG_BYTES));
        for piece in plain.chunks(TLS_RECORD_BYTES_MAX) {
            if self.sent.sequence >= self.records_per_key {
                self.update_sent(out)?;
            }
            self.sent.seal(APPLICATION_DATA, piece, out)?;
        }
        Ok(())
    }

    /// Appends close_notify.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        // A key that is used up says nothing more.
        let _ = self.sent.seal(ALERT, &[WARNING, CLOSE_NOTIFY], out);
    }

    /// Opens whole records at the front of `data` and appends what they carry to `plain`, answers to `out`. Returns how
    /// many bytes were used.
    pub fn read(
        &mut self,
        data: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Progress), TlsFailure> {
        let was_finished = self.finished;
        let mut used = 0;
        while !self.finished {
            match self.read_record(&mut data[used..], plain, out) {
                Ok(0) => break,
                Ok(length) => used += length,
                Err(objection) => {
                    if objection != Objection::Theirs {
                        let _ = self.sent.seal(ALERT, &[FATAL, objection as u8], out);
                    }
                    return Err(TlsFailure(format!("{objection:?}")));
                }
            }
        }
        let progress = Progress { established: false, closed: self.finished && !was_finished };
        Ok((if self.finished { data.len() } else { used }, progress))
    }

    /// The record at the front: its length, 0 where it is not complete.
    fn read_record(
        &mut self,
        data: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Objection> {
        let Some((&mut head, rest)) = data.split_first_chunk_mut::<HEAD_BYTES>() else { return Ok(0) };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if head[0] != APPLICATION_DATA {
            let known = matches!(head[0], CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE);
            return Err(if known { Objection::UnexpectedMessage } else { Objection::DecodeError });
        }
        if length > TLS_RECORD_BYTES_MAX + EXPANSION_BYTES_MAX {
            return Err(Objection::RecordOverflow);
        }
        let Some(sealed) = rest.get_mut(..length) else { return Ok(0) };
        let nonce = self.received.next_nonce().map_err(|_| Objection::InternalError)?;
        let opened = self.received.key.open_in_place(nonce, Aad::from(head), sealed);
        let opened = opened.map_err(|_| Objection::BadRecordMac)?;
        // Zeros after the kind are padding.
        let Some(end) = opened.iter().rposition(|&byte| byte != 0) else {
            return Err(Objection::UnexpectedMessage);
        };
        let (kind, content) = (opened[end], &opened[..end]);
        if content.len() > TLS_RECORD_BYTES_MAX {
            return Err(Objection::RecordOverflow);
        }
        match (kind, content) {
            (APPLICATION_DATA, []) => self.lose_patience()?,
            (APPLICATION_DATA, content) => {
                self.patience = TLS_KEY_UPDATES_MAX;
                plain.extend_from_slice(content);
            }
            (ALERT, [_, CLOSE_NOTIFY]) => self.finished = true,
            (ALERT, [_, USER_CANCELLED]) => self.lose_patience()?,
            (ALERT, [_, _]) => return Err(Objection::Theirs),
            (HANDSHAKE, [KEY_UPDATE, 0, 0, 1, wanted @ (0 | 1)]) => {
                self.update_received(*wanted == 1, out)?
            }
            // RFC 8446 4.6.3.
            (HANDSHAKE, [KEY_UPDATE, 0, 0, 1, _]) => return Err(Objection::IllegalParameter),
            // RFC 8446 5.4.
            (ALERT, []) => return Err(Objection::UnexpectedMessage),
            (ALERT, _) => return Err(Objection::DecodeError),
            _ => return Err(Objection::UnexpectedMessage),
        }
        Ok(HEAD_BYTES + length)
    }

    fn lose_patience(&mut self) -> Result<(), Objection> {
        self.patience = self.patience.checked_sub(1).ok_or(Objection::UnexpectedMessage)?;
        Ok(())
    }

    /// The client changed its key, and may want us to change ours (RFC 8446 4.6.3).
    fn update_received(&mut self, wanted: bool, out: &mut Vec<u8>) -> Result<(), Objection> {
        self.lose_patience()?;
        let secrets = self.keys.update_rx_secret().map_err(|_| Objection::InternalError)?;
        self.received = Direction::new(secrets).map_err(|_| Objection::InternalError)?;
        match wanted {
            true => self.update_sent(out).map_err(|_| Objection::InternalError),
            false => Ok(()),
        }
    }

    /// Says that our key changes, under the old one, and changes it.
    fn update_sent(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.sent.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        self.sent = Direction::new(self.keys.update_tx_secret().map_err(failure)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod tests;

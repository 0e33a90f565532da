//! Encoders: gzip, zstd and brotli streams that write into memory, taken from and given back to a worker's pool.
//!
//! Rule: memory of one encoder is fixed by its window (`limits`), their number by `ENCODERS_PER_WORKER_MAX`; above it
//! answers go as they are. Input comes in pieces of one receive buffer or less, so that a worker's turn stays short.

use crate::exchange::filtering::BodyFilter;
use crate::limits::{
    BROTLI_WINDOW_BITS, ENCODER_OUTPUT_BYTES, ENCODERS_PER_WORKER_MAX, ENCODERS_POOLED_MAX, ZSTD_WINDOW_BITS,
};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::cell::{Cell, RefCell};
use std::io::Write;
use zstd::stream::raw::{CParameter, Operation as _, OutBuffer};
use zstd::zstd_safe::InBuffer;

/// A content coding (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Zstd,
    Brotli,
}

impl Coding {
    pub fn name(self) -> &'static [u8] {
        match self {
            Coding::Gzip => b"gzip",
            Coding::Zstd => b"zstd",
            Coding::Brotli => b"br",
        }
    }
}

/// How to encode: `level` is the library's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    pub coding: Coding,
    pub level: i32,
    /// zstd: a checksum ends the frame.
    pub checksum: bool,
}

/// The state of a library.
enum Stream {
    Gzip(Compress),
    Zstd(zstd::stream::raw::Encoder<'static>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

/// One answer's encoder. Dropping it gives its state back.
pub struct Encoder {
    settings: EncoderSettings,
    stream: Option<Stream>,
    /// The body comes as it is made: each piece goes on at once.
    flushes: bool,
    broken: bool,
    finished: bool,
}

thread_local! {
    static POOL: RefCell<Vec<(EncoderSettings, Stream)>> = const { RefCell::new(Vec::new()) };
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

impl Encoder {
    /// A fresh stream, pooled or new; None where this worker has enough of them.
    pub fn take(settings: EncoderSettings, flushes: bool) -> Option<Encoder> {
        if IN_USE.get() >= ENCODERS_PER_WORKER_MAX {
            return None;
        }
        let pooled = POOL.with_borrow_mut(|pool| {
            let at = pool.iter().rposition(|(of, _)| *of == settings)?;
            Some(pool.swap_remove(at).1)
        });
        let stream = pooled.or_else(|| Stream::new(settings))?;
        IN_USE.set(IN_USE.get() + 1);
        Some(Encoder { settings, stream: Some(stream), flushes, broken: false, finished: false })
    }

    fn run(&mut self, input: &[u8], step: Step, out: &mut Vec<u8>) {
        if self.broken || self.finished {
            return;
        }
        let Some(stream) = self.stream.as_mut() else { return };
        self.broken = stream.run(input, step, out).is_none();
    }
}

impl BodyFilter for Encoder {
    fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.run(input, Step::Write, out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.flushes {
            self.run(&[], Step::Flush, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], Step::Finish, out);
        self.finished = true;
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Elsewhere than on its worker (at exit) there is no pool to serve.
        let _ = IN_USE.try_with(|in_use| in_use.set(in_use.get().saturating_sub(1)));
        let Some(mut stream) = self.stream.take().filter(|_| !self.broken) else { return };
        if stream.reset() {
            let _ = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < ENCODERS_POOLED_MAX {
                    pool.push((self.settings, stream));
                }
            });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    Flush,
    Finish,
}

impl Stream {
    fn new(settings: EncoderSettings) -> Option<Stream> {
        Some(match settings.coding {
            Coding::Gzip => {
                let level = Compression::new(settings.level.clamp(0, 9) as u32);
                Stream::Gzip(Compress::new_gzip(level, GZIP_WINDOW_BITS))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::raw::Encoder::new(settings.level).ok()?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_BITS)).ok()?;
                encoder.set_parameter(CParameter::ChecksumFlag(settings.checksum)).ok()?;
                Stream::Zstd(encoder)
            }
            Coding::Brotli => Stream::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                ENCODER_OUTPUT_BYTES,
                settings.level.clamp(0, 11) as u32,
                BROTLI_WINDOW_BITS,
            ))),
        })
    }

    /// Takes all of `input`. None: the library failed.
    fn run(&mut self, input: &[u8], step: Step, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Stream::Gzip(compress) => run_gzip(compress, input, step, out),
            Stream::Zstd(encoder) => run_zstd(encoder, input, step, out),
            Stream::Brotli(writer) => {
                writer.write_all(input).ok()?;
                match step {
                    Step::Write => {}
                    Step::Flush => writer.flush().ok()?,
                    Step::Finish => {
                        // Its writer ends the stream when it is taken apart.
                        let fresh = brotli::CompressorWriter::new(Vec::new(), 1, 0, BROTLI_WINDOW_BITS_MIN);
                        let last = std::mem::replace(writer.as_mut(), fresh);
                        out.extend_from_slice(&last.into_inner());
                        return Some(());
                    }
                }
                out.append(writer.get_mut());
                Some(())
            }
        }
    }

    /// Ready for another answer; false where the library has no way.
    fn reset(&mut self) -> bool {
        match self {
            Stream::Gzip(compress) => {
                compress.reset();
                true
            }
            Stream::Zstd(encoder) => encoder.reinit().is_ok(),
            Stream::Brotli(_) => false,
        }
    }
}

fn run_gzip(compress: &mut Compress, input: &[u8], step: Step, out: &mut Vec<u8>) -> Option<()> {
    let flush = match step {
        Step::Write => FlushCompress::None,
        Step::Flush => FlushCompress::Sync,
        Step::Finish => FlushCompress::Finish,
    };
    let mut rest = input;
    loop {
        out.reserve(ENCODER_OUTPUT_BYTES.min(rest.len() / 2 + 512));
        let (before, written) = (compress.total_in(), out.len());
        let status = compress.compress_vec(rest, out, flush).ok()?;
        rest = &rest[usize::try_from(compress.total_in() - before).ok()?..];
        let full = out.len() == out.capacity();
        match step {
            Step::Finish if status == Status::StreamEnd => return Some(()),
            Step::Finish => {}
            _ if rest.is_empty() && !full => return Some(()),
            // Nothing moved although there is room: the library has no more to do.
            _ if rest.is_empty() && out.len() == written => return Some(()),
            _ => {}
        }
    }
}

fn run_zstd(
    encoder: &mut zstd::stream::raw::Encoder<'static>,
    input: &[u8],
    step: Step,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut source = InBuffer::around(input);
    while source.pos < input.len() {
        out.reserve(ENCODER_OUTPUT_BYTES);
        encoder.run(&mut source, &mut at_end_of(out)).ok()?;
    }
    if step == Step::Write {
        return Some(());
    }
    loop {
        out.reserve(ENCODER_OUTPUT_BYTES);
        let mut room = at_end_of(out);
        let left = match step {
            Step::Finish => encoder.finish(&mut room, true).ok()?,
            _ => encoder.flush(&mut room).ok()?,
        };
        if left == 0 {
            return Some(());
        }
    }
}

/// The spare capacity of `out`.
fn at_end_of(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    let length = out.len();
    OutBuffer::around_pos(out, length)
}

/// RFC 1952 streams use the whole window of deflate.
const GZIP_WINDOW_BITS: u8 = 15;
/// The smallest that brotli knows: for the placeholder that a finished stream leaves behind.
const BROTLI_WINDOW_BITS_MIN: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    const ALL: [EncoderSettings; 5] = [
        EncoderSettings { coding: Coding::Gzip, level: 5, checksum: false },
        EncoderSettings { coding: Coding::Gzip, level: 1, checksum: false },
        EncoderSettings { coding: Coding::Zstd, level: 3, checksum: true },
        EncoderSettings { coding: Coding::Zstd, level: 1, checksum: false },
        EncoderSettings { coding: Coding::Brotli, level: 5, checksum: false },
    ];

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Gzip => _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap(),
            Coding::Zstd => plain = zstd::decode_all(bytes).unwrap(),
            Coding::Brotli => {
                _ = brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap();
            }
        }
        plain
    }

    /// What a client has after these bytes of a stream that is not over.
    fn decode_open(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = vec![0; 1 << 16];
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Coding::Zstd => Box::new(zstd::Decoder::new(bytes).unwrap()),
            Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
        };
        let mut at = 0;
        while let Ok(count @ 1..) = reader.read(&mut plain[at..]) {
            at += count;
        }
        plain.truncate(at);
        plain
    }

    #[test]
    fn a_flushed_piece_can_be_read_before_the_next_one() {
        for settings in ALL {
            let mut encoder = Encoder::take(settings, true).unwrap();
            let mut out = Vec::new();
            encoder.filter(b"data: one\n\n", &mut out);
            encoder.flush(&mut out);
            assert_eq!(decode_open(settings.coding, &out), b"data: one\n\n", "{settings:?}");
            encoder.filter(b"data: two\n\n", &mut out);
            encoder.flush(&mut out);
            assert_eq!(decode_open(settings.coding, &out), b"data: one\n\ndata: two\n\n", "{settings:?}");
            encoder.finish(&mut out);
            assert_eq!(decode(settings.coding, &out), b"data: one\n\ndata: two\n\n", "{settings:?}");
        }
    }

    #[test]
    fn an_empty_body_is_a_whole_stream() {
        for settings in ALL {
            let mut out = Vec::new();
            Encoder::take(settings, false).unwrap().finish(&mut out);
            assert_eq!(decode(settings.coding, &out), b"", "{settings:?}");
        }
    }

    #[test]
    fn repetition_shrinks() {
        let text = b"the quick brown fox ".repeat(5_000);
        for settings in ALL {
            let mut encoder = Encoder::take(settings, false).unwrap();
            let mut out = Vec::new();
            text.chunks(16 << 10).for_each(|piece| encoder.filter(piece, &mut out));
            encoder.finish(&mut out);
            assert!(out.len() < text.len() / 50, "{settings:?}: {}", out.len());
            assert_eq!(decode(settings.coding, &out), text);
        }
    }

    #[test]
    fn no_more_than_the_bound_and_each_comes_back() {
        let settings = ALL[1];
        let held: Vec<_> = (0..ENCODERS_PER_WORKER_MAX).map(|_| Encoder::take(settings, false)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(Encoder::take(settings, false).is_none());
        drop(held);
        assert!(Encoder::take(settings, false).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_pieces_and_flushes_decode_to_the_body(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..3000), any::<bool>(), 1..40usize), 0..8),
            which in 0..ALL.len(),
        ) {
            let mut encoder = Encoder::take(ALL[which], true).unwrap();
            let (mut out, mut body) = (Vec::new(), Vec::new());
            for (piece, flush, times) in pieces {
                let piece = piece.repeat(times);
                encoder.filter(&piece, &mut out);
                if flush {
                    encoder.flush(&mut out);
                }
                body.extend_from_slice(&piece);
            }
            encoder.finish(&mut out);
            prop_assert!(!encoder.is_broken());
            prop_assert_eq!(decode(ALL[which].coding, &out), body);
        }
    }
}

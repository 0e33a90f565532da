//! Every bound of the engine, each with its reason. Nothing the wire can grow lacks a line here.
//!
//! Memory of one worker is a sum whose terms are below: receive buffers (fixed), per connection at most
//! `BUFFERED_INPUT_BYTES_MAX` of input and `PENDING_OUTPUT_BYTES_HIGH` plus one receive buffer of output.

/// Request heads: 64 KiB decoded is reliability.md 2.4; real browsers stay under 16 KiB.
pub const REQUEST_HEAD_BYTES_MAX: usize = 64 << 10;
/// Response heads of backends: the same bound, a head must not cost more memory than a body would.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 << 10;
/// Field count: bounds the work per byte of a head (reliability.md 2.4); browsers send about 20.
pub const HEADER_FIELDS_MAX: usize = 100;
/// Fields that programs may make a head have: what came, and as many again.
pub const WRITTEN_FIELDS_MAX: usize = 256;
pub const WRITTEN_HEAD_BYTES_MAX: usize = 128 << 10;
/// Lines that a plugin may write to the log in a second, on one node: people read them.
pub const PLUGIN_LOG_LINES_PER_S: u64 = 100;
/// Request target: above it 414; the longest URLs that browsers keep are 8 KiB to 32 KiB.
pub const REQUEST_TARGET_BYTES_MAX: usize = 32 << 10;
/// Method: the longest registered one has 17 letters (UPDATEREDIRECTREF).
pub const METHOD_BYTES_MAX: usize = 32;
/// Empty lines before a request line: RFC 9112 2.2 asks for one (old clients append CRLF to a body).
pub const LEADING_BLANK_LINES_MAX: u8 = 1;

/// Chunk size digits: 16 hex digits are 64 bits; leading zeros beyond that hide a size from naive parsers.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// Chunk extensions of one body: nobody uses them, they are dropped; more is the CVE-2023-39326 class.
pub const CHUNK_EXTENSION_BYTES_MAX: u32 = 4 << 10;
/// Trailer section of one body; those of requests are dropped, those of answers may go on.
pub const TRAILER_BYTES_MAX: u32 = 8 << 10;
/// Upstream requests of one exchange, as `handle_response` may ask for another one; no configuration nests so deep.
pub const PROXY_CALLS_MAX: u8 = 32;
/// 1xx heads before a final response, all together: who works for an hour and says 102 every few seconds (RFC 2518 10.1)
/// needs less; the rest is a flood.
pub const INTERIM_BYTES_MAX: usize = 64 << 10;

/// Plaintext kept for a connection that may not go on yet (pipelined requests, a body before its upstream).
pub const BUFFERED_INPUT_BYTES_MAX: usize = 64 << 10;
/// Above this much unsent output the other side is not read any more.
pub const PENDING_OUTPUT_BYTES_HIGH: usize = 256 << 10;
/// Below this much unsent output the other side is read again: half a socket buffer, so that it never runs dry.
pub const PENDING_OUTPUT_BYTES_LOW: usize = 64 << 10;
/// Output buffers kept for reuse: one holds what comes of an upstream in one turn (`UPSTREAM_READ_AHEAD_BYTES`) as TLS
/// records; larger ones are returned to the allocator. All of them together, for some 60 large answers at a time.
pub const POOLED_BUFFER_BYTES_MAX: usize = 288 << 10;
pub const POOLED_BUFFERS_MAX: usize = 256;
pub const POOLED_BYTES_MAX: usize = 16 << 20;
/// What an exchange's buffers may have grown to and still be kept for the next one: twice a browser's head.
pub const POOLED_EXCHANGE_BYTES_MAX: usize = 16 << 10;

/// One read of a file: several TLS records, and short enough (some 10 us) that other connections do not wait.
pub const FILE_READ_BYTES: usize = 64 << 10;
/// Files that a worker keeps open, and how long: letting go of all of them takes some 40 us, and a link that leads
/// elsewhere is followed sooner than anybody can look.
pub const FILES_KEPT_MAX: usize = 128;
pub const FILES_KEPT_MS: u64 = 100;
/// Shorter parts of files are copied: lending takes two calls of its own.
pub const LENT_BYTES_MIN: u64 = 32 << 10;
/// What is lent at a time: some 50 us of the kernel's work.
pub const LENT_BYTES_MAX: u64 = 512 << 10;
/// Sockets of a worker's ring that have a descriptor besides, for files and relays: other files have to find one too.
pub const LENT_DESCRIPTORS_MAX: u32 = 256;

/// Relays of a stream's direction by splice(2): from so many bytes on, at most so many in a worker, each with a pipe of this
/// size. The system allows a user 64 such pipes (`fs.pipe-user-pages-soft`); smaller ones save little beside copies.
pub const RELAY_BYTES_MIN: u64 = 1 << 20;
pub const RELAYS_MAX: usize = 32;
pub const RELAY_PIPE_BYTES: usize = 1 << 20;

/// Receive buffers of one worker: 16 KiB holds a whole TLS record's plaintext; 256 of them are 4 MiB.
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 10;
pub const RECEIVE_BUFFERS: u16 = 256;
/// What the kernel may hand over of one socket in one turn, where it can be told (io_uring of Linux 6.17): what is already
/// here when a peer is paused has to be kept. A client's and an upstream's of HTTP/2, an upstream's where a connection of HTTP/1.1
/// waits for it (as much as that may hold), and where a stream of HTTP/2 does, which may hold little.
pub const READ_AHEAD_BYTES: u32 = 64 << 10;
pub const UPSTREAM_READ_AHEAD_BYTES: u32 = 256 << 10;
pub const STREAM_READ_AHEAD_BYTES: u32 = 16 << 10;
/// Events handled in one loop turn, so that timers and messages are not starved.
pub const EVENTS_PER_TURN: usize = 512;
/// Reads of one readable socket in one turn (epoll), so that one fast peer does not starve the others.
pub const READS_PER_EVENT: usize = 4;
/// Accepts in flight per listener (io_uring): bursts of handshakes without a turn between them.
pub const ACCEPTS_IN_FLIGHT: usize = 16;

/// Sockets of one worker, both sides: a direct-descriptor table of 32 Ki entries costs 256 KiB.
pub const SOCKETS_PER_WORKER_MAX: u32 = 32 << 10;
/// Private keys that are kept parsed: about 5 KiB each; the rest costs a parse (50 us) at its next handshake.
pub const LOADED_CERTIFICATES_MAX: usize = 1024;
/// Descriptors of the process' limit that each worker's bound of sockets leaves free, for all that is no connection
/// (control, logs, images, health, relays, files). Sockets of io_uring are no descriptors; those of several workers on epoll
/// share the limit, so that where it is low accept may meet EMFILE before their bounds: it rests for a moment then.
pub const DESCRIPTORS_RESERVED: u64 = 128;
/// Share of a worker's sockets that clients may take, in percent; upstreams need the others.
pub const DOWNSTREAM_SOCKETS_PERCENT: u32 = 60;

/// Idle upstream connections of one endpoint and worker; above, the oldest is closed.
pub const IDLE_PER_ENDPOINT_MAX: usize = 128;
/// Idle upstream connections of one worker.
pub const IDLE_UPSTREAMS_MAX: usize = 2048;
/// Requests on one upstream connection: spreads load over endpoints behind a load balancer.
pub const REQUESTS_PER_UPSTREAM_MAX: u32 = 100_000;
/// Endpoints of one cluster that requests named; beyond, all are forgotten and their pools idle out.
pub const REQUESTED_ENDPOINTS_MAX: usize = 1024;
/// Attempts for one request, whatever the cluster says: 10 s of Caddy's interval of 250 ms are 40.
pub const ATTEMPTS_MAX: u32 = 64;

/// Retry budgets look back one to two epochs: long enough to see a share, short enough that a calm hour buys no storm.
pub const RETRY_EPOCH_MS: u64 = 5_000;
/// Retries that a budget grants whatever the share: a quiet cluster has one request to retry.
pub const RETRIES_ALWAYS: u64 = 10;
/// Second attempts beside one that is silent (`hedge`), of the requests of a node, where the cluster does not say.
pub const HEDGE_BUDGET_PERCENT: u32 = 10;
/// Between two looks of a request that waits for room: below what people notice, above a tick of the wheel.
pub const QUEUE_POLL_MS: u64 = 20;
/// Copies of requests under way (`mirror`), of one worker; beyond, requests are not copied.
pub const COPIES_PER_WORKER_MAX: usize = 1024;
/// Body bytes of one request kept for repeating it (`request_buffers unlimited` as well); a longer one streams on.
pub const REQUEST_BUFFER_BYTES_MAX: usize = 4 << 20;
/// An answer's bytes kept for a client that does not take them yet, whatever `response_buffers` says.
pub const RESPONSE_BUFFER_BYTES_MAX: usize = 16 << 20;

/// TLS handshake, from accept (reliability.md 2.5).
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// PROXY protocol header, from accept: the balancer in front sends it at once.
pub const PROXY_HEADER_TIMEOUT_MS: u64 = 5_000;
/// Request head, from its first byte (the first request: from the end of the handshake).
pub const REQUEST_HEAD_TIMEOUT_MS: u64 = 10_000;
/// Idle keep-alive of clients: above the 60 s of cloud balancers, else they see resets.
pub const IDLE_TIMEOUT_MS: u64 = 75_000;
/// A sender of a request body and a reader of an answer are judged in windows of this length; two windows are the 30 s
/// of reliability.md 2.5.
pub const PROGRESS_WINDOW_MS: u64 = 15_000;
/// Bytes due in one window: slower than any modem, fast enough to end slow attacks.
pub const PROGRESS_BYTES_MIN: u64 = 4 << 10;
/// Lingering close: how long and how much is read and dropped, so that a reset does not destroy our answer.
pub const LINGER_TIMEOUT_MS: u64 = 2_000;
pub const LINGER_BYTES_MAX: u32 = 1 << 20;
/// Whatever a listener's own timeouts say: a connection that nobody watches over would stay for ever.
pub const LISTENER_TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Tunnels (after 101) without a byte either way: WebSocket pings come far more often.
pub const TUNNEL_IDLE_TIMEOUT_MS: u64 = 3_600_000;

/// Datagram sessions of one worker: each has a socket, and some 500 bytes; one in so many percent of its sockets.
pub const DATAGRAM_SESSIONS_MAX: usize = 4096;
pub const DATAGRAM_SESSIONS_PERCENT: usize = 20;
/// A session without a datagram either way (caddy-l4: udpAssociationIdleTimeout).
pub const DATAGRAM_IDLE_TIMEOUT_MS: u64 = 30_000;
/// The same where another engine takes over: answers on their way come in that time.
pub const DATAGRAM_DRAIN_IDLE_MS: u64 = 1_000;
/// How long a session may pass datagrams that its route, or its cluster, would not let pass any more.
pub const DATAGRAM_JUDGED_EVERY_MS: u64 = 1_000;
/// The largest payload that IP carries, and one byte.
pub const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Datagrams of one system call: 1 MiB of buffers for workers that have such listeners.
pub const DATAGRAMS_PER_CALL: usize = 16;
/// Such calls for one socket in one turn, so that one fast sender does not starve the others.
pub const DATAGRAM_CALLS_PER_EVENT: usize = 4;
/// Endpoints that are tried for one datagram.
pub const DATAGRAM_DIALS_MAX: u32 = 4;

/// Upstream defaults where the cluster says nothing.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;
pub const UPSTREAM_HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
pub const RESPONSE_HEAD_TIMEOUT_MS: u64 = 60_000;
pub const UPSTREAM_READ_TIMEOUT_MS: u64 = 60_000;
pub const UPSTREAM_WRITE_TIMEOUT_MS: u64 = 60_000;
/// Below the 60 s to 75 s after which common servers close, so that we close first.
pub const UPSTREAM_IDLE_TIMEOUT_MS: u64 = 50_000;

/// PROXY v1 line (specification 2.1: 107 bytes with CRLF) and v2 payload (addresses and TLVs, which may hold a certificate).
pub const PROXY_V1_BYTES_MAX: usize = 107;
pub const PROXY_V2_PAYLOAD_BYTES_MAX: usize = 4096;

/// TLS handshake flight from a peer: certificate chains of clients and backends stay far below.
pub const TLS_BUFFERED_BYTES_MAX: usize = 128 << 10;
/// A ClientHello that is read before rustls reads it: again with each piece that comes. With ML-KEM they have 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 << 10;
/// Plaintext of one TLS record (RFC 8446 5.1).
pub const TLS_RECORD_BYTES_MAX: usize = 16 << 10;

/// A server side that has sent this much seals its records itself (`tls::records`): taking keys over costs some 8 us.
pub const TLS_TAKEOVER_BYTES: usize = 16 << 10;
/// Records under one key: half of what AES-GCM bears (RFC 8446 5.5).
pub const TLS_RECORDS_PER_KEY_MAX: u64 = 1 << 23;
/// KeyUpdates and empty records of a client between two with data: each only costs.
pub const TLS_KEY_UPDATES_MAX: u32 = 32;

/// What is kept of a script's standard error, for the log line of its request.
pub const FASTCGI_STDERR_BYTES_MAX: usize = 8 << 10;
/// A request body of unknown length is read so far before a FastCGI upstream is asked, which has to be told the length
/// (Caddy: DefaultBufferSizes); a longer one is answered 411.
pub const FASTCGI_BUFFERED_BODY_BYTES_MAX: usize = 4 << 10;
/// Of one text whose placeholders are filled in or parts replaced, and of the fields that rules write: variables that
/// double one another would fill the node's memory. The program that asks for more is ended.
pub const WRITTEN_TEXT_BYTES_MAX: usize = 4 << 20;
/// Work of a request's searches by patterns, in states of a pattern times bytes of a text, which is what a search takes
/// at worst: some 0.2 s. A thousand ordinary patterns on a path of 900 bytes are as much.
pub const SEARCH_WORK_MAX: u64 = 1 << 25;
/// What a pattern costs beside, that texts of the request make: it is compiled, to 64 KiB at most.
pub const PATTERN_MADE_WORK: u64 = 1 << 17;
/// Placeholders of `map` that a request fills in: maps of maps multiply.
pub const MAPPED_VALUES_MAX: u32 = 10_000;
/// A body that a placeholder asks for is read whole up to this size; a larger one is answered 413.
pub const READ_BODY_BYTES_MAX: usize = 1 << 20;

/// Encoders in use by one worker: the largest (zstd and brotli with the windows below) stay under 2 MiB each; above this
/// answers go as they are.
pub const ENCODERS_PER_WORKER_MAX: usize = 128;
/// Encoder states kept for reuse by one worker.
pub const ENCODERS_POOLED_MAX: usize = 16;
/// What an encoder's output grows by at a time.
pub const ENCODER_OUTPUT_BYTES: usize = 16 << 10;
/// zstd window, 128 KiB: clients need not hold more (Caddy has the same).
pub const ZSTD_WINDOW_BITS: u32 = 17;
/// brotli window, 256 KiB: a larger one gains little for pages and costs a worker's cache.
pub const BROTLI_WINDOW_BITS: u32 = 18;

/// Streams that one HTTP/2 client may have open: the edge guides of Envoy and Apache say 100.
pub const HTTP2_STREAMS_MAX: u32 = 100;
/// Body bytes that one stream may send before we used them up; the protocol's default.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 65_535;
/// What one answer of an upstream may send ahead at first: it doubles up to the above while its client takes what comes.
pub const HTTP2_UPSTREAM_WINDOW_BYTES: u32 = 16 << 10;
/// The same for all streams of a connection together: what a connection can make us hold.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Header compression table of one connection and direction (the protocol's default); ours for sending stays empty.
pub const HPACK_TABLE_BYTES_MAX: usize = 4096;
/// Frames that only cost: a browser resets 100 streams when its user leaves a page; floods send thousands a second.
pub const HTTP2_BUDGET: u32 = 200;
pub const HTTP2_BUDGET_PER_SECOND: u32 = 4;
/// One stream's share of a turn: fair between streams, and few frames.
pub const HTTP2_PIECE_BYTES: usize = 16 << 10;
/// An answer's bytes that wait for a stream's window: above the first its upstream is not read, below the second again.
pub const HTTP2_STREAM_PENDING_BYTES_HIGH: usize = 8 << 10;
pub const HTTP2_STREAM_PENDING_BYTES_LOW: usize = 4 << 10;
/// Between the two GOAWAYs of a drain: a round trip to any client, for the streams that are on their way.
pub const HTTP2_GOAWAY_GRACE_MS: u64 = 1_000;
/// Frames of one connection that were not handed to the kernel yet; above it streams wait.
pub const HTTP2_PENDING_BYTES_HIGH: usize = 128 << 10;
/// Streams of clients that share one connection to an endpoint, and requests that wait for one that is being opened; the
/// endpoint's SETTINGS may say fewer. More open another connection.
pub const HTTP2_UPSTREAM_STREAMS_MAX: u32 = 100;
/// A shared connection whose requests hear nothing for so long is asked (PING) whether it is there.
pub const HTTP2_PING_AFTER_MS: u64 = 20_000;
/// Without an answer to PING for so long it is not.
pub const HTTP2_PING_TIMEOUT_MS: u64 = 10_000;
/// Between two PINGs without an answer's frame between them: gRPC servers end connections that ask more often than
/// every 5 minutes.
pub const HTTP2_PINGS_APART_MS: u64 = 310_000;
/// Attempts of a request that endpoints did not take up (GOAWAY, REFUSED_STREAM) and that count as none.
pub const REFUSALS_MAX: u8 = 3;

/// Wheel granularity: deadlines are seconds; a late deadline by one tick harms nobody.
pub const TIMER_TICK_MS: u64 = 16;

/// Buckets of `rate_limit`, 16 bytes each: 2 MiB for whoever owns the node, 256 KiB for each tenant of a cluster, which is
/// a bucket for each client of the busiest shop within a second.
pub const RATE_BUCKETS: usize = 1 << 17;
pub const RATE_BUCKETS_OF_TENANT: usize = 1 << 14;
/// Tenants that have a table of their own: 32 MiB, where all of them count as much as they can.
pub const RATE_TENANTS_MAX: usize = 128;

/// Kept answers of this node (`cache`), heads and keys with them: what a small node spares; the rest is evicted.
pub const CACHE_BYTES_MAX: usize = 64 << 20;
/// Locks of that memory: more than cores wait for; one shard must hold the largest answer.
pub const CACHE_SHARDS: usize = 8;
/// Tenants that have a part of it for themselves: looking through all parts takes some 10 us.
pub const CACHE_TENANTS_MAX: usize = 256;
/// Body bytes of one kept answer where the route does not say, and whatever it says.
pub const CACHED_BODY_BYTES_DEFAULT: usize = 1 << 20;
pub const CACHED_BODY_BYTES_MAX: usize = 4 << 20;
/// Tenants that have a part of their own of what is shared by `tenancy`.
pub const SHARING_TENANTS_MAX: usize = 128;
/// Bodies on their way into the cache, shared by `tenancy`; what finds no room is not kept.
pub const CACHE_FILLING_BYTES_MAX: usize = 32 << 20;
/// A request waits so long for another that fetches the same, then goes up itself (nginx: proxy_cache_lock_timeout).
pub const CACHE_WAIT_MS: u64 = 5_000;
/// After an answer that could not be kept nobody waits for such a fetch.
pub const CACHE_PASS_MS: u64 = 10_000;

const _: () = assert!(CACHED_BODY_BYTES_MAX < CACHE_BYTES_MAX / CACHE_SHARDS);
const _: () = assert!(PENDING_OUTPUT_BYTES_LOW < PENDING_OUTPUT_BYTES_HIGH);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two(), "a provided buffer ring has 2^n entries");
const _: () = assert!(BUFFERED_INPUT_BYTES_MAX >= REQUEST_HEAD_BYTES_MAX, "a whole head must fit");
const _: () = assert!(DOWNSTREAM_SOCKETS_PERCENT < 100);
const _: () = assert!(IDLE_TIMEOUT_MS > UPSTREAM_IDLE_TIMEOUT_MS);

/// Templates (`templating`). A body or file that is one: pages are far smaller; each is held in memory whole.
pub const TEMPLATE_SOURCE_BYTES_MAX: usize = 4 << 20;
/// All bytes that one evaluation makes, kept or not: the page, and values on the way.
pub const TEMPLATE_BYTES_MAX: usize = 64 << 20;
/// Nodes and operands of one evaluation: about a second of one thread of the pool.
pub const TEMPLATE_STEPS_MAX: u64 = 4_000_000;
/// Templates in each other, by `include` and `template`; each takes a few KiB of the thread's stack.
pub const TEMPLATE_INCLUDES_MAX: usize = 32;
/// Blocks and parentheses in each other; with the above the stack of `FILE_THREAD_STACK_BYTES` holds all.
pub const TEMPLATE_NESTING_MAX: usize = 64;
/// Items of one list that a function counts out.
pub const TEMPLATE_ITEMS_MAX: usize = 1 << 18;
/// Requests that one page makes by `httpInclude`; it is evaluated once more after each.
pub const TEMPLATE_REQUESTS_MAX: usize = 32;
/// Such requests under way, of one worker; each holds an answer in memory.
pub const INCLUSIONS_PER_WORKER_MAX: usize = 1024;
/// One such request may take so long: a page is not worth more patience.
pub const INCLUSION_TIMEOUT_MS: u64 = 60_000;
/// Names of one `listFiles`.
pub const TEMPLATE_LISTING_MAX: usize = 10_000;
/// Address space of a thread of the file pool, which evaluates templates: the kernel gives memory as it is touched.
pub const FILE_THREAD_STACK_BYTES: usize = 64 << 20;

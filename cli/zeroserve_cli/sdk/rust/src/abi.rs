//! Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.
#![allow(clippy::missing_safety_doc)]
pub const ABI_VERSION: u64 = 1;
pub const METHOD_OTHER: u64 = 0;
pub const METHOD_GET: u64 = 1;
pub const METHOD_HEAD: u64 = 2;
pub const METHOD_POST: u64 = 3;
pub const METHOD_PUT: u64 = 4;
pub const METHOD_DELETE: u64 = 5;
pub const METHOD_CONNECT: u64 = 6;
pub const METHOD_OPTIONS: u64 = 7;
pub const METHOD_TRACE: u64 = 8;
pub const METHOD_PATCH: u64 = 9;
pub const REQUEST_METHOD: u64 = 0;
pub const REQUEST_PATH: u64 = 1;
pub const REQUEST_QUERY: u64 = 2;
pub const REQUEST_URI: u64 = 3;
pub const REQUEST_HOST: u64 = 4;
pub const REQUEST_SCHEME: u64 = 5;
pub const REQUEST_PROTOCOL: u64 = 6;
pub const REQUEST_CLIENT_IP: u64 = 7;
pub const REQUEST_REMOTE_IP: u64 = 8;
pub const REQUEST_ORIGINAL_URI: u64 = 9;
pub const REQUEST_REQUEST_ID: u64 = 10;
pub const REQUEST_ORIGINAL_METHOD: u64 = 11;
pub const JSON_ABSENT: u64 = 0;
pub const JSON_NULL: u64 = 1;
pub const JSON_BOOLEAN: u64 = 2;
pub const JSON_NUMBER: u64 = 3;
pub const JSON_STRING: u64 = 4;
pub const JSON_ARRAY: u64 = 5;
pub const JSON_OBJECT: u64 = 6;
pub const CODEC_BASE64: u64 = 0;
pub const CODEC_BASE64_URL: u64 = 1;
pub const CODEC_HEX: u64 = 2;
pub const CODEC_PERCENT: u64 = 3;
pub const CODEC_PERCENT_PATH: u64 = 4;
pub const CODEC_FORM: u64 = 5;
pub const DIGEST_SHA256: u64 = 0;
pub const DIGEST_SHA384: u64 = 1;
pub const DIGEST_SHA512: u64 = 2;
pub const DIGEST_SHA1: u64 = 3;
pub const KEY_HMAC_SHA256: u64 = 0;
pub const KEY_ED25519: u64 = 1;
pub const KEY_ECDSA_P256_SHA256: u64 = 2;
pub const KEY_RSA_PKCS1_SHA256: u64 = 3;
pub const KEY_JWK: u64 = 4;
/// copies the first value of the named field; its length (which may exceed the room), or -1
#[inline(always)]
pub unsafe fn read_request_header(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(64usize) };
    f(a0, a1, a2, a3)
}
/// sets a field of the request; 0, or -1 when name or value is not allowed; needs request_write
#[inline(always)]
pub unsafe fn write_request_header(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(65usize) };
    f(a0, a1, a2, a3)
}
/// sets a field of the answer; 0, or -1 when name or value is not allowed; needs response_write
#[inline(always)]
pub unsafe fn write_response_header(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(66usize) };
    f(a0, a1, a2, a3)
}
/// writes a line to the engine's log
#[inline(always)]
pub unsafe fn log_message(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(67usize) };
    f(a0, a1)
}
/// copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1
#[inline(always)]
pub unsafe fn read_json(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(70usize) };
    f(a0, a1, a2, a3, a4)
}
/// number of the document that a JSON text gives, or -1
#[inline(always)]
pub unsafe fn parse_json(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(71usize) };
    f(a0, a1)
}
/// JsonKind of the value at a pointer of a document
#[inline(always)]
pub unsafe fn find_json_kind(a0: u64, a1: *const u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64) -> u64 = unsafe { core::mem::transmute(72usize) };
    f(a0, a1, a2)
}
/// members of the array or object at a pointer, or -1
#[inline(always)]
pub unsafe fn count_json(a0: u64, a1: *const u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64) -> u64 = unsafe { core::mem::transmute(73usize) };
    f(a0, a1, a2)
}
/// sets a string at a pointer of a document, with the objects on the way: 0, or -1
#[inline(always)]
pub unsafe fn write_json_string(a0: u64, a1: *const u8, a2: u64, a3: *const u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(74usize) };
    f(a0, a1, a2, a3, a4)
}
/// sets a JSON text's value at a pointer, as above: 0, or -1
#[inline(always)]
pub unsafe fn write_json(a0: u64, a1: *const u8, a2: u64, a3: *const u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(75usize) };
    f(a0, a1, a2, a3, a4)
}
/// copies a document as JSON text: its length, or -1
#[inline(always)]
pub unsafe fn print_json(a0: u64, a1: *mut u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(76usize) };
    f(a0, a1, a2)
}
/// copies the name of the n-th member (from 0) of a document that is an object: its length, or -1
#[inline(always)]
pub unsafe fn read_json_key(a0: u64, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(77usize) };
    f(a0, a1, a2, a3)
}
/// copies a RequestPart: its length, or -1
#[inline(always)]
pub unsafe fn read_request(a0: u64, a1: *mut u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(78usize) };
    f(a0, a1, a2)
}
/// sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed; needs request_write
#[inline(always)]
pub unsafe fn write_request(a0: u64, a1: *const u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64) -> u64 = unsafe { core::mem::transmute(79usize) };
    f(a0, a1, a2)
}
/// copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1
#[inline(always)]
pub unsafe fn read_request_field(a0: u64, a1: *mut u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(80usize) };
    f(a0, a1, a2)
}
/// adds a field to the request: 0, or -1 when name or value is not allowed; needs request_write
#[inline(always)]
pub unsafe fn add_request_header(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(81usize) };
    f(a0, a1, a2, a3)
}
/// removes a field of the request: 0, or -1 when it is not allowed; needs request_write
#[inline(always)]
pub unsafe fn remove_request_header(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(82usize) };
    f(a0, a1)
}
/// copies the first value of a query key: its length, or -1
#[inline(always)]
pub unsafe fn read_query(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(83usize) };
    f(a0, a1, a2, a3)
}
/// copies the value of a cookie: its length, or -1
#[inline(always)]
pub unsafe fn read_cookie(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(84usize) };
    f(a0, a1, a2, a3)
}
/// copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2; needs request_body
#[inline(always)]
pub unsafe fn read_request_body(a0: u64, a1: *mut u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(85usize) };
    f(a0, a1, a2)
}
/// status of the answer at hand, 0 where there is none; takes 0
#[inline(always)]
pub unsafe fn read_response_status(a0: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64) -> u64 = unsafe { core::mem::transmute(86usize) };
    f(a0)
}
/// copies the first value of a field of the answer: its length, or -1
#[inline(always)]
pub unsafe fn read_response_header(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(87usize) };
    f(a0, a1, a2, a3)
}
/// adds a field to the answer: 0, or -1 when name or value is not allowed; needs response_write
#[inline(always)]
pub unsafe fn add_response_header(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(88usize) };
    f(a0, a1, a2, a3)
}
/// removes a field of the answer: 0, or -1 when it is not allowed; needs response_write
#[inline(always)]
pub unsafe fn remove_response_header(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(89usize) };
    f(a0, a1)
}
/// status of RESPOND: 0, or -1 outside of 200 to 599; needs response_write
#[inline(always)]
pub unsafe fn set_response_status(a0: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64) -> u64 = unsafe { core::mem::transmute(90usize) };
    f(a0)
}
/// body of RESPOND: 0; needs response_write
#[inline(always)]
pub unsafe fn set_response_body(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(91usize) };
    f(a0, a1)
}
/// copies what a plugin noted about this request under a name: its length, or -1
#[inline(always)]
pub unsafe fn read_metadata(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(92usize) };
    f(a0, a1, a2, a3)
}
/// notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room
#[inline(always)]
pub unsafe fn write_metadata(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(93usize) };
    f(a0, a1, a2, a3)
}
/// writes bytes by a Codec: the text's length, or -1
#[inline(always)]
pub unsafe fn encode(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(94usize) };
    f(a0, a1, a2, a3, a4)
}
/// reads text of a Codec: the bytes' length, or -1
#[inline(always)]
pub unsafe fn decode(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(95usize) };
    f(a0, a1, a2, a3, a4)
}
/// hash of bytes by a Digest: its length, or -1
#[inline(always)]
pub unsafe fn digest(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(96usize) };
    f(a0, a1, a2, a3, a4)
}
/// number of the key of a KeyKind, or -1
#[inline(always)]
pub unsafe fn import_key(a0: u64, a1: *const u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64) -> u64 = unsafe { core::mem::transmute(97usize) };
    f(a0, a1, a2)
}
/// HMAC of bytes with a key of HMAC_SHA256: its length, or -1
#[inline(always)]
pub unsafe fn sign(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(98usize) };
    f(a0, a1, a2, a3, a4)
}
/// 1 when a signature (second) of a message (first) is right for the key, else 0
#[inline(always)]
pub unsafe fn verify_signature(a0: u64, a1: *const u8, a2: u64, a3: *const u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(99usize) };
    f(a0, a1, a2, a3, a4)
}
/// HMAC-SHA256 with a key (first) of bytes (second): 32
#[inline(always)]
pub unsafe fn hmac_sha256(a0: *const u8, a1: u64, a2: *const u8, a3: u64, a4: *mut u8) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64, *mut u8) -> u64 =
        unsafe { core::mem::transmute(100usize) };
    f(a0, a1, a2, a3, a4)
}
/// 1 when two texts are equal, in constant time, else 0
#[inline(always)]
pub unsafe fn compare_secrets(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(101usize) };
    f(a0, a1, a2, a3)
}
/// random bytes, fit for keys: the length
#[inline(always)]
pub unsafe fn fill_random(a0: *mut u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*mut u8, u64) -> u64 = unsafe { core::mem::transmute(102usize) };
    f(a0, a1)
}
/// seconds since 1970 of the request's beginning, no finer; takes 0
#[inline(always)]
pub unsafe fn read_time(a0: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64) -> u64 = unsafe { core::mem::transmute(103usize) };
    f(a0)
}
/// writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1
#[inline(always)]
pub unsafe fn format_time(a0: u64, a1: *const u8, a2: u64, a3: *mut u8, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(104usize) };
    f(a0, a1, a2, a3, a4)
}
/// copies a value that the plugin kept: its length, or -1; needs key_value
#[inline(always)]
pub unsafe fn read_value(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(105usize) };
    f(a0, a1, a2, a3)
}
/// keeps a value for so many seconds: 0, or -1 where there is no room; needs key_value
#[inline(always)]
pub unsafe fn write_value(a0: *const u8, a1: u64, a2: *const u8, a3: u64, a4: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64, u64) -> u64 =
        unsafe { core::mem::transmute(106usize) };
    f(a0, a1, a2, a3, a4)
}
/// forgets a value: 1 when there was one, else 0; needs key_value
#[inline(always)]
pub unsafe fn remove_value(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(107usize) };
    f(a0, a1)
}
/// adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1; needs key_value
#[inline(always)]
pub unsafe fn add_value(a0: *const u8, a1: u64, a2: u64, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, u64, u64) -> u64 =
        unsafe { core::mem::transmute(108usize) };
    f(a0, a1, a2, a3)
}
/// counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0; needs key_value
#[inline(always)]
pub unsafe fn limit_events(a0: *const u8, a1: u64, a2: u64, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, u64, u64) -> u64 =
        unsafe { core::mem::transmute(109usize) };
    f(a0, a1, a2, a3)
}
/// calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2; needs call_plugins
#[inline(always)]
pub unsafe fn call_function(a0: *const u8, a1: u64, a2: *const u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *const u8, u64) -> u64 =
        unsafe { core::mem::transmute(110usize) };
    f(a0, a1, a2, a3)
}
/// sends the request that a document describes: the answer's status, -1 when there was none, -2; needs outbound_http
#[inline(always)]
pub unsafe fn fetch(a0: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64) -> u64 = unsafe { core::mem::transmute(111usize) };
    f(a0)
}
/// copies the first value of a field of the last fetch's answer: its length, or -1; needs outbound_http
#[inline(always)]
pub unsafe fn read_fetched_header(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(112usize) };
    f(a0, a1, a2, a3)
}
/// copies the body of the last fetch's answer from an offset on: bytes in all, or -1; needs outbound_http
#[inline(always)]
pub unsafe fn read_fetched_body(a0: u64, a1: *mut u8, a2: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, *mut u8, u64) -> u64 = unsafe { core::mem::transmute(113usize) };
    f(a0, a1, a2)
}
/// number of an upstream that PROXY may name, or -1; needs proxy
#[inline(always)]
pub unsafe fn find_upstream(a0: *const u8, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64) -> u64 = unsafe { core::mem::transmute(114usize) };
    f(a0, a1)
}
/// adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none
#[inline(always)]
pub unsafe fn count_metric(a0: u64, a1: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(u64, u64) -> u64 = unsafe { core::mem::transmute(115usize) };
    f(a0, a1)
}
/// copies a secret that the plugin is granted: its length, or -1; needs secrets
#[inline(always)]
pub unsafe fn read_secret(a0: *const u8, a1: u64, a2: *mut u8, a3: u64) -> u64 {
    // SAFETY: the verifier knows this number as a helper; there is no pointer to call through.
    let f: extern "C" fn(*const u8, u64, *mut u8, u64) -> u64 =
        unsafe { core::mem::transmute(116usize) };
    f(a0, a1, a2, a3)
}

//! Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.

/// Where a function finds what it was called for.
#[repr(C)]
pub struct Context {
    pub abi: u32,
    pub entry: u32,
    pub method: u32,
    pub scheme: u32,
    pub path: u32,
    pub path_length: u32,
    pub status: u32,
    pub resume_result: u32,
    pub folded_length: u32,
}

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

/// Copies the first value of the named field; its length (which may exceed the room), or -1.
#[inline(always)]
pub fn read_request_header(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(64usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Sets a field of the request; 0, or -1 when not allowed or without room; needs request_write.
#[inline(always)]
pub fn write_request_header(name: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(65usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Sets a field of the answer; 0, or -1 when not allowed or without room; needs response_write.
#[inline(always)]
pub fn write_response_header(name: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(66usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Writes a line to the engine's log; of a plugin's no more than 100 a second.
#[inline(always)]
pub fn log_message(text: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(67usize) };
    helper(text.as_ptr(), text.len() as u64)
}

/// Copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1.
#[inline(always)]
pub fn read_json(document: u64, pointer: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(70usize) };
    helper(
        document,
        pointer.as_ptr(),
        pointer.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Number of the document that a JSON text gives, or -1.
#[inline(always)]
pub fn parse_json(text: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(71usize) };
    helper(text.as_ptr(), text.len() as u64)
}

/// JsonKind of the value at a pointer of a document.
#[inline(always)]
pub fn find_json_kind(document: u64, pointer: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(72usize) };
    helper(document, pointer.as_ptr(), pointer.len() as u64)
}

/// Members of the array or object at a pointer, or -1.
#[inline(always)]
pub fn count_json(document: u64, pointer: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(73usize) };
    helper(document, pointer.as_ptr(), pointer.len() as u64)
}

/// Sets a string at a pointer of a document, with the objects on the way: 0, or -1.
#[inline(always)]
pub fn write_json_string(document: u64, pointer: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(74usize) };
    helper(
        document,
        pointer.as_ptr(),
        pointer.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Sets a JSON text's value at a pointer, as above: 0, or -1.
#[inline(always)]
pub fn write_json(document: u64, pointer: &[u8], text: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(75usize) };
    helper(
        document,
        pointer.as_ptr(),
        pointer.len() as u64,
        text.as_ptr(),
        text.len() as u64,
    )
}

/// Copies a document as JSON text: its length, or -1.
#[inline(always)]
pub fn print_json(document: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(76usize) };
    helper(document, room.as_mut_ptr(), room.len() as u64)
}

/// Copies the name of the n-th member (from 0) of a document that is an object: its length, or -1.
#[inline(always)]
pub fn read_json_key(document: u64, index: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(77usize) };
    helper(document, index, room.as_mut_ptr(), room.len() as u64)
}

/// Copies a RequestPart: its length, or -1.
#[inline(always)]
pub fn read_request(part: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(78usize) };
    helper(part, room.as_mut_ptr(), room.len() as u64)
}

/// Sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed; needs request_write.
#[inline(always)]
pub fn write_request(part: u64, value: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(79usize) };
    helper(part, value.as_ptr(), value.len() as u64)
}

/// Copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1.
#[inline(always)]
pub fn read_request_field(index: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(80usize) };
    helper(index, room.as_mut_ptr(), room.len() as u64)
}

/// Adds a field to the request: 0, or -1 when not allowed or without room; needs request_write.
#[inline(always)]
pub fn add_request_header(name: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(81usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Removes a field of the request: 0, or -1 when it is not allowed; needs request_write.
#[inline(always)]
pub fn remove_request_header(name: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(82usize) };
    helper(name.as_ptr(), name.len() as u64)
}

/// Copies the first value of a query key: its length, or -1.
#[inline(always)]
pub fn read_query(key: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(83usize) };
    helper(
        key.as_ptr(),
        key.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Copies the value of a cookie: its length, or -1.
#[inline(always)]
pub fn read_cookie(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(84usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2; needs request_body.
#[inline(always)]
pub fn read_request_body(offset: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(85usize) };
    helper(offset, room.as_mut_ptr(), room.len() as u64)
}

/// Status of the answer at hand, 0 where there is none; takes 0.
#[inline(always)]
pub fn read_response_status(zero: u64) -> u64 {
    type Helper = extern "C" fn(u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(86usize) };
    helper(zero)
}

/// Copies the first value of a field of the answer: its length, or -1.
#[inline(always)]
pub fn read_response_header(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(87usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Adds a field to the answer: 0, or -1 when not allowed or without room; needs response_write.
#[inline(always)]
pub fn add_response_header(name: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(88usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Removes a field of the answer: 0, or -1 when it is not allowed; needs response_write.
#[inline(always)]
pub fn remove_response_header(name: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(89usize) };
    helper(name.as_ptr(), name.len() as u64)
}

/// Status of RESPOND: 0, or -1 outside of 200 to 599; needs response_write.
#[inline(always)]
pub fn set_response_status(status: u64) -> u64 {
    type Helper = extern "C" fn(u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(90usize) };
    helper(status)
}

/// Body of RESPOND: 0; needs response_write.
#[inline(always)]
pub fn set_response_body(body: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(91usize) };
    helper(body.as_ptr(), body.len() as u64)
}

/// Copies what a plugin noted about this request under a name: its length, or -1.
#[inline(always)]
pub fn read_metadata(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(92usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room.
#[inline(always)]
pub fn write_metadata(name: &[u8], value: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(93usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        value.as_ptr(),
        value.len() as u64,
    )
}

/// Writes bytes by a Codec: the text's length, or -1.
#[inline(always)]
pub fn encode(codec: u64, content: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(94usize) };
    helper(
        codec,
        content.as_ptr(),
        content.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Reads text of a Codec: the bytes' length, or -1.
#[inline(always)]
pub fn decode(codec: u64, text: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(95usize) };
    helper(
        codec,
        text.as_ptr(),
        text.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Hash of bytes by a Digest: its length, or -1.
#[inline(always)]
pub fn digest(kind: u64, content: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(96usize) };
    helper(
        kind,
        content.as_ptr(),
        content.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Number of the key of a KeyKind, or -1.
#[inline(always)]
pub fn import_key(kind: u64, content: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(97usize) };
    helper(kind, content.as_ptr(), content.len() as u64)
}

/// HMAC of bytes with a key of HMAC_SHA256: its length, or -1.
#[inline(always)]
pub fn sign(key: u64, content: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(98usize) };
    helper(
        key,
        content.as_ptr(),
        content.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// 1 when a signature (second) of a message (first) is right for the key, else 0; besides 49,152 fuel for a curve, half the square of the key's bytes for RSA.
#[inline(always)]
pub fn verify_signature(key: u64, message: &[u8], signature: &[u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(99usize) };
    helper(
        key,
        message.as_ptr(),
        message.len() as u64,
        signature.as_ptr(),
        signature.len() as u64,
    )
}

/// HMAC-SHA256 with a key (first) of bytes (second): 32.
#[inline(always)]
pub fn hmac_sha256(key: &[u8], content: &[u8], room: &mut [u8; 32]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64, *mut u8) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(100usize) };
    helper(
        key.as_ptr(),
        key.len() as u64,
        content.as_ptr(),
        content.len() as u64,
        room.as_mut_ptr(),
    )
}

/// 1 when two texts are equal, in constant time, else 0.
#[inline(always)]
pub fn compare_secrets(left: &[u8], right: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(101usize) };
    helper(
        left.as_ptr(),
        left.len() as u64,
        right.as_ptr(),
        right.len() as u64,
    )
}

/// Random bytes, fit for keys: the length.
#[inline(always)]
pub fn fill_random(room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(102usize) };
    helper(room.as_mut_ptr(), room.len() as u64)
}

/// Seconds since 1970 of the request's beginning, no finer; takes 0.
#[inline(always)]
pub fn read_time(zero: u64) -> u64 {
    type Helper = extern "C" fn(u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(103usize) };
    helper(zero)
}

/// Writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1.
#[inline(always)]
pub fn format_time(unix_s: u64, format: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(104usize) };
    helper(
        unix_s,
        format.as_ptr(),
        format.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Copies a value that the plugin kept: its length, or -1; needs key_value.
#[inline(always)]
pub fn read_value(key: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(105usize) };
    helper(
        key.as_ptr(),
        key.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Keeps a value for so many seconds: 0, or -1 where there is no room; needs key_value.
#[inline(always)]
pub fn write_value(key: &[u8], value: &[u8], ttl_s: u64) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(106usize) };
    helper(
        key.as_ptr(),
        key.len() as u64,
        value.as_ptr(),
        value.len() as u64,
        ttl_s,
    )
}

/// Forgets a value: 1 when there was one, else 0; needs key_value.
#[inline(always)]
pub fn remove_value(key: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(107usize) };
    helper(key.as_ptr(), key.len() as u64)
}

/// Adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1; needs key_value.
#[inline(always)]
pub fn add_value(key: &[u8], amount: u64, ttl_s: u64) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, u64, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(108usize) };
    helper(key.as_ptr(), key.len() as u64, amount, ttl_s)
}

/// Counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0; needs key_value.
#[inline(always)]
pub fn limit_events(key: &[u8], events_max: u64, window_ms: u64) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, u64, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(109usize) };
    helper(key.as_ptr(), key.len() as u64, events_max, window_ms)
}

/// Calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2; needs call_plugins.
#[inline(always)]
pub fn call_function(target: &[u8], config: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(110usize) };
    helper(
        target.as_ptr(),
        target.len() as u64,
        config.as_ptr(),
        config.len() as u64,
    )
}

/// Sends the request that a document describes: the answer's status, -1 when there was none, -2; needs outbound_http.
#[inline(always)]
pub fn fetch(document: u64) -> u64 {
    type Helper = extern "C" fn(u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(111usize) };
    helper(document)
}

/// Copies the first value of a field of the last fetch's answer: its length, or -1; needs outbound_http.
#[inline(always)]
pub fn read_fetched_header(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(112usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Copies the body of the last fetch's answer from an offset on: bytes in all, or -1; needs outbound_http.
#[inline(always)]
pub fn read_fetched_body(offset: u64, room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(113usize) };
    helper(offset, room.as_mut_ptr(), room.len() as u64)
}

/// Number of an upstream that PROXY may name, or -1; needs proxy.
#[inline(always)]
pub fn find_upstream(name: &[u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(114usize) };
    helper(name.as_ptr(), name.len() as u64)
}

/// Adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none.
#[inline(always)]
pub fn count_metric(counter: u64, amount: u64) -> u64 {
    type Helper = extern "C" fn(u64, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(115usize) };
    helper(counter, amount)
}

/// Copies a secret that the plugin is granted: its length, or -1; needs secrets.
#[inline(always)]
pub fn read_secret(name: &[u8], room: &mut [u8]) -> u64 {
    type Helper = extern "C" fn(*const u8, u64, *mut u8, u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(116usize) };
    helper(
        name.as_ptr(),
        name.len() as u64,
        room.as_mut_ptr(),
        room.len() as u64,
    )
}

/// Length of the whole body, above what `read_request_body` gives of a cut one: -1 if nobody told it, or -2; takes 0; needs request_body.
#[inline(always)]
pub fn count_request_body(zero: u64) -> u64 {
    type Helper = extern "C" fn(u64) -> u64;
    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.
    let helper: Helper = unsafe { core::mem::transmute(117usize) };
    helper(zero)
}

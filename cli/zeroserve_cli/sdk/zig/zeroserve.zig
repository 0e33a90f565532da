//! What a plugin in Zig needs, and all that there is beside the parts of `std` that need no system.
//!
//!     const zs = @import("zeroserve");
//!
//!     export fn hello(_: *const zs.Context) linksection("function") zs.Verdict {
//!         _ = zs.write_response_header("X-Hello", "world");
//!         return zs.CONTINUE;
//!     }
//!
//! There is no allocation and no state between requests other than what helpers keep: globals begin anew at every
//! call. A frame holds 512 bytes; larger buffers are globals. Helpers that copy out give the whole length, which may
//! exceed the room; NONE where there is nothing; LATER where it is not known yet: return SUSPEND then, and the
//! function is called again. Sections: "function" (by `zeroserve_call`), "request", "response".

/// Document 0 is the function's input: {"version": 1, "config": {...}, "route": {...}}.
pub const INPUT: u64 = 0;
pub const NONE: u64 = ~@as(u64, 0);
pub const LATER: u64 = ~@as(u64, 1);

/// What a function returns.
pub const Verdict = u64;
pub const CONTINUE: Verdict = 0;
pub const ABORT: Verdict = 4;
pub const SUSPEND: Verdict = 6;
pub const ADOPT: Verdict = 9;

/// The answer that the helpers made, with this status.
pub fn respond(status: u16) Verdict {
    return 1 | @as(u64, status) << 8;
}

/// To an upstream, by the number that `find_upstream` gave.
pub fn proxy(upstream: u32) Verdict {
    return 2 | @as(u64, upstream) << 32;
}

/// To the error routes.
pub fn raise(status: u16) Verdict {
    return 5 | @as(u64, status) << 8;
}

/// Text that grows in a buffer. What does not fit is not written and sets `full`.
pub const Text = struct {
    room: []u8,
    length: usize = 0,
    full: bool = false,

    pub fn put(self: *Text, bytes: []const u8) void {
        if (bytes.len > self.room.len - self.length) {
            self.full = true;
            return;
        }
        for (bytes, self.room[self.length..][0..bytes.len]) |byte, *place| place.* = byte;
        self.length += bytes.len;
    }

    /// A number in decimal digits.
    pub fn put_number(self: *Text, number: u64) void {
        var digits: [20]u8 = undefined;
        var at: usize = digits.len;
        var left = number;
        while (true) {
            at -= 1;
            digits[at] = '0' + @as(u8, @intCast(left % 10));
            left /= 10;
            if (left == 0) break;
        }
        self.put(digits[at..]);
    }

    /// Where a helper may write; `grow` takes the length that it gave.
    pub fn rest(self: *Text) []u8 {
        return self.room[self.length..];
    }

    pub fn grow(self: *Text, length: u64) void {
        if (length > self.room.len - self.length) {
            self.full = true;
        } else {
            self.length += @intCast(length);
        }
    }

    pub fn slice(self: *const Text) []const u8 {
        return self.room[0..self.length];
    }
};

// Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.

/// Where a function finds what it was called for.
pub const Context = extern struct {
    abi: u32,
    entry: u32,
    method: u32,
    scheme: u32,
    path: u32,
    path_length: u32,
    status: u32,
    resume_result: u32,
    folded_length: u32,
};

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
pub inline fn read_request_header(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(64);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Sets a field of the request; 0, or -1 when not allowed or without room; needs request_write.
pub inline fn write_request_header(name: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(65);
    return helper(name.ptr, name.len, value.ptr, value.len);
}

/// Sets a field of the answer; 0, or -1 when not allowed or without room; needs response_write.
pub inline fn write_response_header(name: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(66);
    return helper(name.ptr, name.len, value.ptr, value.len);
}

/// Writes a line to the engine's log; of a plugin's no more than 100 a second.
pub inline fn log_message(text: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(67);
    return helper(text.ptr, text.len);
}

/// Copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1.
pub inline fn read_json(document: u64, pointer: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(70);
    return helper(document, pointer.ptr, pointer.len, room.ptr, room.len);
}

/// Number of the document that a JSON text gives, or -1.
pub inline fn parse_json(text: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(71);
    return helper(text.ptr, text.len);
}

/// JsonKind of the value at a pointer of a document.
pub inline fn find_json_kind(document: u64, pointer: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(72);
    return helper(document, pointer.ptr, pointer.len);
}

/// Members of the array or object at a pointer, or -1.
pub inline fn count_json(document: u64, pointer: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(73);
    return helper(document, pointer.ptr, pointer.len);
}

/// Sets a string at a pointer of a document, with the objects on the way: 0, or -1.
pub inline fn write_json_string(document: u64, pointer: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(74);
    return helper(document, pointer.ptr, pointer.len, value.ptr, value.len);
}

/// Sets a JSON text's value at a pointer, as above: 0, or -1.
pub inline fn write_json(document: u64, pointer: []const u8, text: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(75);
    return helper(document, pointer.ptr, pointer.len, text.ptr, text.len);
}

/// Copies a document as JSON text: its length, or -1.
pub inline fn print_json(document: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(76);
    return helper(document, room.ptr, room.len);
}

/// Copies the name of the n-th member (from 0) of a document that is an object: its length, or -1.
pub inline fn read_json_key(document: u64, index: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(77);
    return helper(document, index, room.ptr, room.len);
}

/// Copies a RequestPart: its length, or -1.
pub inline fn read_request(part: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(78);
    return helper(part, room.ptr, room.len);
}

/// Sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed; needs request_write.
pub inline fn write_request(part: u64, value: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(79);
    return helper(part, value.ptr, value.len);
}

/// Copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1.
pub inline fn read_request_field(index: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(80);
    return helper(index, room.ptr, room.len);
}

/// Adds a field to the request: 0, or -1 when not allowed or without room; needs request_write.
pub inline fn add_request_header(name: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(81);
    return helper(name.ptr, name.len, value.ptr, value.len);
}

/// Removes a field of the request: 0, or -1 when it is not allowed; needs request_write.
pub inline fn remove_request_header(name: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(82);
    return helper(name.ptr, name.len);
}

/// Copies the first value of a query key: its length, or -1.
pub inline fn read_query(key: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(83);
    return helper(key.ptr, key.len, room.ptr, room.len);
}

/// Copies the value of a cookie: its length, or -1.
pub inline fn read_cookie(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(84);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2; needs request_body.
pub inline fn read_request_body(offset: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(85);
    return helper(offset, room.ptr, room.len);
}

/// Status of the answer at hand, 0 where there is none; takes 0.
pub inline fn read_response_status(zero: u64) u64 {
    const Helper = *align(1) const fn (u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(86);
    return helper(zero);
}

/// Copies the first value of a field of the answer: its length, or -1.
pub inline fn read_response_header(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(87);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Adds a field to the answer: 0, or -1 when not allowed or without room; needs response_write.
pub inline fn add_response_header(name: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(88);
    return helper(name.ptr, name.len, value.ptr, value.len);
}

/// Removes a field of the answer: 0, or -1 when it is not allowed; needs response_write.
pub inline fn remove_response_header(name: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(89);
    return helper(name.ptr, name.len);
}

/// Status of RESPOND: 0, or -1 outside of 200 to 599; needs response_write.
pub inline fn set_response_status(status: u64) u64 {
    const Helper = *align(1) const fn (u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(90);
    return helper(status);
}

/// Body of RESPOND: 0; needs response_write.
pub inline fn set_response_body(body: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(91);
    return helper(body.ptr, body.len);
}

/// Copies what a plugin noted about this request under a name: its length, or -1.
pub inline fn read_metadata(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(92);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room.
pub inline fn write_metadata(name: []const u8, value: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(93);
    return helper(name.ptr, name.len, value.ptr, value.len);
}

/// Writes bytes by a Codec: the text's length, or -1.
pub inline fn encode(codec: u64, content: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(94);
    return helper(codec, content.ptr, content.len, room.ptr, room.len);
}

/// Reads text of a Codec: the bytes' length, or -1.
pub inline fn decode(codec: u64, text: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(95);
    return helper(codec, text.ptr, text.len, room.ptr, room.len);
}

/// Hash of bytes by a Digest: its length, or -1.
pub inline fn digest(kind: u64, content: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(96);
    return helper(kind, content.ptr, content.len, room.ptr, room.len);
}

/// Number of the key of a KeyKind, or -1.
pub inline fn import_key(kind: u64, content: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(97);
    return helper(kind, content.ptr, content.len);
}

/// HMAC of bytes with a key of HMAC_SHA256: its length, or -1.
pub inline fn sign(key: u64, content: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(98);
    return helper(key, content.ptr, content.len, room.ptr, room.len);
}

/// 1 when a signature (second) of a message (first) is right for the key, else 0; besides 49,152 fuel for a curve, half the square of the key's bytes for RSA.
pub inline fn verify_signature(key: u64, message: []const u8, signature: []const u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(99);
    return helper(key, message.ptr, message.len, signature.ptr, signature.len);
}

/// HMAC-SHA256 with a key (first) of bytes (second): 32.
pub inline fn hmac_sha256(key: []const u8, content: []const u8, room: *[32]u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64, *[32]u8) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(100);
    return helper(key.ptr, key.len, content.ptr, content.len, room);
}

/// 1 when two texts are equal, in constant time, else 0.
pub inline fn compare_secrets(left: []const u8, right: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(101);
    return helper(left.ptr, left.len, right.ptr, right.len);
}

/// Random bytes, fit for keys: the length.
pub inline fn fill_random(room: []u8) u64 {
    const Helper = *align(1) const fn ([*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(102);
    return helper(room.ptr, room.len);
}

/// Seconds since 1970 of the request's beginning, no finer; takes 0.
pub inline fn read_time(zero: u64) u64 {
    const Helper = *align(1) const fn (u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(103);
    return helper(zero);
}

/// Writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1.
pub inline fn format_time(unix_s: u64, format: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(104);
    return helper(unix_s, format.ptr, format.len, room.ptr, room.len);
}

/// Copies a value that the plugin kept: its length, or -1; needs key_value.
pub inline fn read_value(key: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(105);
    return helper(key.ptr, key.len, room.ptr, room.len);
}

/// Keeps a value for so many seconds: 0, or -1 where there is no room; needs key_value.
pub inline fn write_value(key: []const u8, value: []const u8, ttl_s: u64) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(106);
    return helper(key.ptr, key.len, value.ptr, value.len, ttl_s);
}

/// Forgets a value: 1 when there was one, else 0; needs key_value.
pub inline fn remove_value(key: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(107);
    return helper(key.ptr, key.len);
}

/// Adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1; needs key_value.
pub inline fn add_value(key: []const u8, amount: u64, ttl_s: u64) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, u64, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(108);
    return helper(key.ptr, key.len, amount, ttl_s);
}

/// Counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0; needs key_value.
pub inline fn limit_events(key: []const u8, events_max: u64, window_ms: u64) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, u64, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(109);
    return helper(key.ptr, key.len, events_max, window_ms);
}

/// Calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2; needs call_plugins.
pub inline fn call_function(target: []const u8, config: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(110);
    return helper(target.ptr, target.len, config.ptr, config.len);
}

/// Sends the request that a document describes: the answer's status, -1 when there was none, -2; needs outbound_http.
pub inline fn fetch(document: u64) u64 {
    const Helper = *align(1) const fn (u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(111);
    return helper(document);
}

/// Copies the first value of a field of the last fetch's answer: its length, or -1; needs outbound_http.
pub inline fn read_fetched_header(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(112);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Copies the body of the last fetch's answer from an offset on: bytes in all, or -1; needs outbound_http.
pub inline fn read_fetched_body(offset: u64, room: []u8) u64 {
    const Helper = *align(1) const fn (u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(113);
    return helper(offset, room.ptr, room.len);
}

/// Number of an upstream that PROXY may name, or -1; needs proxy.
pub inline fn find_upstream(name: []const u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(114);
    return helper(name.ptr, name.len);
}

/// Adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none.
pub inline fn count_metric(counter: u64, amount: u64) u64 {
    const Helper = *align(1) const fn (u64, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(115);
    return helper(counter, amount);
}

/// Copies a secret that the plugin is granted: its length, or -1; needs secrets.
pub inline fn read_secret(name: []const u8, room: []u8) u64 {
    const Helper = *align(1) const fn ([*]const u8, u64, [*]u8, u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(116);
    return helper(name.ptr, name.len, room.ptr, room.len);
}

/// Length of the whole body, above what `read_request_body` gives of a cut one: -1 if nobody told it, or -2; takes 0; needs request_body.
pub inline fn count_request_body(zero: u64) u64 {
    const Helper = *align(1) const fn (u64) callconv(.c) u64;
    const helper: Helper = @ptrFromInt(117);
    return helper(zero);
}

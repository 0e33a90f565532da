//! Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.
#![allow(dead_code, clippy::unreadable_literal)]

pub const ABI_VERSION: u64 = 0x2;
pub const ABI_OLDEST: u64 = 0x1;
pub const CONTEXT: u64 = 0x10000;
pub const CONTEXT_BYTES: u64 = 0x10000;
pub const STACK: u64 = 0x20000;
pub const FRAME_BYTES: u64 = 0x200;
pub const CALL_DEPTH_MAX: u64 = 0x8;
pub const STACK_TOP: u64 = 0x21000;
pub const HEAP: u64 = 0x30000;
pub const HEAP_BYTES: u64 = 0x10000;
pub const CONSTANTS: u64 = 0x100000000;
pub const WINDOW_BYTES: u64 = 0x100000000;
pub const LOAD_OF_WINDOW: u64 = 0x1;
pub const INSTRUCTIONS_MAX: u64 = 0x1000;
pub const CONSTANTS_BYTES_MAX: u64 = 0x100000;
pub const TABLE_ROWS_MAX: u64 = 0x10000;
pub const FUEL_DEFAULT: u64 = 0x100000;
pub const TRAP_FUEL: i64 = -4611686018427387904;
pub const HELPERS_MAX: u64 = 0xa0;
pub const VM_FUEL_OFFSET: u64 = 0x0;
pub const VM_HELPERS_OFFSET: u64 = 0x10;
pub const PATH_BYTES_MAX: u64 = 0x4000;
pub const OVERREAD_BYTES: u64 = 0x40;
pub const FOLDED_BYTES_MAX: u64 = 0x100;
pub const FOLDED_END_BYTES: u64 = 0x10;
pub const FIELD_ABI: usize = 0;
pub const FIELD_ENTRY: usize = 4;
pub const FIELD_METHOD: usize = 8;
pub const FIELD_SCHEME: usize = 12;
pub const FIELD_PATH: usize = 16;
pub const FIELD_PATH_LENGTH: usize = 20;
pub const FIELD_STATUS: usize = 24;
pub const FIELD_RESUME_RESULT: usize = 28;
pub const FIELD_PATH_BYTES: usize = 256;
pub const FIELD_FOLDED_LENGTH: usize = 32;
pub const FIELD_FOLDED_BYTES: usize = 16704;
pub const FIELD_FOLDED_END: usize = 16960;
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
pub const ACTION_NOT_FOUND: u64 = 0;
pub const ACTION_RESPOND: u64 = 1;
pub const ACTION_PROXY: u64 = 2;
pub const ACTION_FILE: u64 = 3;
pub const ACTION_ABORT: u64 = 4;
pub const ACTION_ERROR: u64 = 5;
pub const ACTION_SUSPEND: u64 = 6;
pub const ACTION_EMPTY: u64 = 7;
pub const ACTION_PASS: u64 = 8;
pub const ACTION_ANSWER: u64 = 9;
pub const OPERATION_CHECK_PASSWORD: u64 = 1;
pub const OPERATION_MATCH_FILE: u64 = 2;
pub const OPERATION_READ_BODY: u64 = 9;
pub const OPERATION_CALL_PLUGIN: u64 = 16;
pub const OPERATION_PAUSE: u64 = 25;
pub const OPERATION_TAKE_TOKEN: u64 = 26;
pub const VERDICT_CONTINUE: u64 = 0;
pub const VERDICT_RESPOND: u64 = 1;
pub const VERDICT_PROXY: u64 = 2;
pub const VERDICT_ABORT: u64 = 4;
pub const VERDICT_ERROR: u64 = 5;
pub const VERDICT_SUSPEND: u64 = 6;
pub const VERDICT_ADOPT: u64 = 9;
pub const REQUESTPART_METHOD: u64 = 0;
pub const REQUESTPART_PATH: u64 = 1;
pub const REQUESTPART_QUERY: u64 = 2;
pub const REQUESTPART_URI: u64 = 3;
pub const REQUESTPART_HOST: u64 = 4;
pub const REQUESTPART_SCHEME: u64 = 5;
pub const REQUESTPART_PROTOCOL: u64 = 6;
pub const REQUESTPART_CLIENT_IP: u64 = 7;
pub const REQUESTPART_REMOTE_IP: u64 = 8;
pub const REQUESTPART_ORIGINAL_URI: u64 = 9;
pub const REQUESTPART_REQUEST_ID: u64 = 10;
pub const REQUESTPART_ORIGINAL_METHOD: u64 = 11;
pub const JSONKIND_ABSENT: u64 = 0;
pub const JSONKIND_NULL: u64 = 1;
pub const JSONKIND_BOOLEAN: u64 = 2;
pub const JSONKIND_NUMBER: u64 = 3;
pub const JSONKIND_STRING: u64 = 4;
pub const JSONKIND_ARRAY: u64 = 5;
pub const JSONKIND_OBJECT: u64 = 6;
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
pub const KEYKIND_HMAC_SHA256: u64 = 0;
pub const KEYKIND_ED25519: u64 = 1;
pub const KEYKIND_ECDSA_P256_SHA256: u64 = 2;
pub const KEYKIND_RSA_PKCS1_SHA256: u64 = 3;
pub const KEYKIND_JWK: u64 = 4;
/// 1 when a pattern of Tables.paths[row] fits the decoded path.
pub const HELPER_MATCH_PATH: u32 = 1;
/// 1 when Tables.regexps[row] fits; its captures are kept.
pub const HELPER_MATCH_REGEXP: u32 = 2;
/// 1 when the host is among Tables.hosts[row].
pub const HELPER_MATCH_HOST: u32 = 3;
/// 1 when the method is among Tables.methods[row].
pub const HELPER_MATCH_METHOD: u32 = 4;
/// 1 when Tables.headers[row] fits.
pub const HELPER_MATCH_HEADER: u32 = 5;
/// 1 when Tables.queries[row] fits.
pub const HELPER_MATCH_QUERY: u32 = 6;
/// 1 when the request is of Tables.protocols[row].
pub const HELPER_MATCH_PROTOCOL: u32 = 7;
/// 1 when the peer lies in Tables.addresses[row].
pub const HELPER_MATCH_REMOTE_IP: u32 = 8;
/// 1 when the client lies in Tables.addresses[row].
pub const HELPER_MATCH_CLIENT_IP: u32 = 9;
/// 1 when Tables.variables[row] fits.
pub const HELPER_MATCH_VARIABLE: u32 = 10;
/// value of the longest entry of Tables.tries[row], or 0.
pub const HELPER_FIND_PATH: u32 = 11;
/// lowest value of Tables.pattern_tries[row] that fits, or 0.
pub const HELPER_FIND_PATTERN: u32 = 127;
/// writes the folded path, as `match_path` compares it, to the context.
pub const HELPER_FOLD_PATH: u32 = 126;
/// applies Tables.rewrites[row] to method, path and query; what it writes costs one fuel for 16 bytes besides.
pub const HELPER_REWRITE: u32 = 16;
/// applies Tables.header_changes[row] to the request; what it writes costs one fuel for 16 bytes besides.
pub const HELPER_CHANGE_REQUEST_HEADERS: u32 = 17;
/// applies Tables.header_changes[row] to the answer; what it writes costs one fuel for 16 bytes besides.
pub const HELPER_CHANGE_RESPONSE_HEADERS: u32 = 18;
/// 413 past so many bytes; 0 lifts the limit.
pub const HELPER_LIMIT_REQUEST_BODY: u32 = 19;
/// basic authentication by Tables.credentials[row]: 0 refused, 1 right, 2 not known yet (suspend).
pub const HELPER_CHECK_PASSWORD: u32 = 20;
/// sets the variables of Tables.assignments[row]; what it writes costs one fuel for 16 bytes besides.
pub const HELPER_ASSIGN_VARIABLES: u32 = 21;
/// adds WWW-Authenticate of Tables.credentials[row] to the answer.
pub const HELPER_REQUIRE_AUTHENTICATION: u32 = 22;
/// placeholders of Tables.maps[row] are defined from here on.
pub const HELPER_MAP_VALUES: u32 = 37;
/// adds Tables.log_fields[row] to the access log line.
pub const HELPER_APPEND_LOG: u32 = 38;
/// takes part in the request's W3C trace, by Tables.traces[row].
pub const HELPER_TRACE_REQUEST: u32 = 39;
/// Tables.file_matches[row]: 0 no file, 1 found, 2 not known yet (suspend), 3 raises its status.
pub const HELPER_MATCH_FILE: u32 = 24;
/// the answer may be encoded by Tables.encodings[row].
pub const HELPER_ENCODE_ANSWER: u32 = 40;
/// 1 when Tables.expressions[row] holds, 0 when not, 2 when it has no value.
pub const HELPER_MATCH_EXPRESSION: u32 = 45;
/// 0 when the request's body is here, 2 when not yet (suspend).
pub const HELPER_READ_BODY: u32 = 47;
/// counts the request by Tables.rate_limits[row]: 1 past its rate.
pub const HELPER_LIMIT_RATE: u32 = 46;
/// as limit_rate, with all nodes: 0 allowed, 1 past the rate, 2 not known yet (suspend), 3 store down.
pub const HELPER_LIMIT_SHARED_RATE: u32 = 144;
/// the next proxy call's answer may be kept, by Tables.caches[row].
pub const HELPER_USE_CACHE: u32 = 140;
/// what Tables.faults[row] means for the request: 1 a delay, 2 an end.
pub const HELPER_DRAW_FAULT: u32 = 141;
/// takes a place by Tables.concurrencies[row]: 1 if none is left.
pub const HELPER_LIMIT_CONCURRENCY: u32 = 143;
/// the answer's body goes out as Tables.bandwidths[row] allows.
pub const HELPER_LIMIT_BANDWIDTH: u32 = 142;
/// the answer may be a template, by Tables.templates[row].
pub const HELPER_EVALUATE_TEMPLATES: u32 = 61;
/// records that Tables.steps[row] was reached, where the request is explained.
pub const HELPER_NOTE_STEP: u32 = 60;
/// 1 when Tables.response_matches[row] fits the answer at hand, or the error's status.
pub const HELPER_MATCH_RESPONSE: u32 = 30;
/// the status of the next PASS or ERROR, from Tables.texts[row].
pub const HELPER_SET_STATUS: u32 = 31;
/// adds the fields of Tables.field_selections[row] of the upstream's answer to the answer.
pub const HELPER_COPY_RESPONSE_FIELDS: u32 = 32;
/// calls the program at this entry once there is an answer.
pub const HELPER_INTERCEPT: u32 = 33;
/// replaces the request's body by Tables.texts[row].
pub const HELPER_SET_REQUEST_BODY: u32 = 34;
/// copies the first value of the named field; its length (which may exceed the room), or -1.
pub const HELPER_READ_REQUEST_HEADER: u32 = 64;
/// sets a field of the request; 0, or -1 when not allowed or without room.
pub const HELPER_WRITE_REQUEST_HEADER: u32 = 65;
/// sets a field of the answer; 0, or -1 when not allowed or without room.
pub const HELPER_WRITE_RESPONSE_HEADER: u32 = 66;
/// writes a line to the engine's log; of a plugin's no more than 100 a second.
pub const HELPER_LOG_MESSAGE: u32 = 67;
/// calls the function of Tables.plugin_calls[row]: 0 continue, 6 not known yet (suspend), else an action.
pub const HELPER_CALL_PLUGIN: u32 = 68;
/// copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1.
pub const HELPER_READ_JSON: u32 = 70;
/// number of the document that a JSON text gives, or -1.
pub const HELPER_PARSE_JSON: u32 = 71;
/// JsonKind of the value at a pointer of a document.
pub const HELPER_FIND_JSON_KIND: u32 = 72;
/// members of the array or object at a pointer, or -1.
pub const HELPER_COUNT_JSON: u32 = 73;
/// sets a string at a pointer of a document, with the objects on the way: 0, or -1.
pub const HELPER_WRITE_JSON_STRING: u32 = 74;
/// sets a JSON text's value at a pointer, as above: 0, or -1.
pub const HELPER_WRITE_JSON: u32 = 75;
/// copies a document as JSON text: its length, or -1.
pub const HELPER_PRINT_JSON: u32 = 76;
/// copies the name of the n-th member (from 0) of a document that is an object: its length, or -1.
pub const HELPER_READ_JSON_KEY: u32 = 77;
/// copies a RequestPart: its length, or -1.
pub const HELPER_READ_REQUEST: u32 = 78;
/// sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed.
pub const HELPER_WRITE_REQUEST: u32 = 79;
/// copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1.
pub const HELPER_READ_REQUEST_FIELD: u32 = 80;
/// adds a field to the request: 0, or -1 when not allowed or without room.
pub const HELPER_ADD_REQUEST_HEADER: u32 = 81;
/// removes a field of the request: 0, or -1 when it is not allowed.
pub const HELPER_REMOVE_REQUEST_HEADER: u32 = 82;
/// copies the first value of a query key: its length, or -1.
pub const HELPER_READ_QUERY: u32 = 83;
/// copies the value of a cookie: its length, or -1.
pub const HELPER_READ_COOKIE: u32 = 84;
/// copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2.
pub const HELPER_READ_REQUEST_BODY: u32 = 85;
/// length of the whole body, above what `read_request_body` gives of a cut one: -1 if nobody told it, or -2; takes 0.
pub const HELPER_COUNT_REQUEST_BODY: u32 = 117;
/// status of the answer at hand, 0 where there is none; takes 0.
pub const HELPER_READ_RESPONSE_STATUS: u32 = 86;
/// copies the first value of a field of the answer: its length, or -1.
pub const HELPER_READ_RESPONSE_HEADER: u32 = 87;
/// adds a field to the answer: 0, or -1 when not allowed or without room.
pub const HELPER_ADD_RESPONSE_HEADER: u32 = 88;
/// removes a field of the answer: 0, or -1 when it is not allowed.
pub const HELPER_REMOVE_RESPONSE_HEADER: u32 = 89;
/// status of RESPOND: 0, or -1 outside of 200 to 599.
pub const HELPER_SET_RESPONSE_STATUS: u32 = 90;
/// body of RESPOND: 0.
pub const HELPER_SET_RESPONSE_BODY: u32 = 91;
/// copies what a plugin noted about this request under a name: its length, or -1.
pub const HELPER_READ_METADATA: u32 = 92;
/// notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room.
pub const HELPER_WRITE_METADATA: u32 = 93;
/// writes bytes by a Codec: the text's length, or -1.
pub const HELPER_ENCODE: u32 = 94;
/// reads text of a Codec: the bytes' length, or -1.
pub const HELPER_DECODE: u32 = 95;
/// hash of bytes by a Digest: its length, or -1.
pub const HELPER_DIGEST: u32 = 96;
/// number of the key of a KeyKind, or -1.
pub const HELPER_IMPORT_KEY: u32 = 97;
/// HMAC of bytes with a key of HMAC_SHA256: its length, or -1.
pub const HELPER_SIGN: u32 = 98;
/// 1 when a signature (second) of a message (first) is right for the key, else 0; besides 49,152 fuel for a curve, half the square of the key's bytes for RSA.
pub const HELPER_VERIFY_SIGNATURE: u32 = 99;
/// HMAC-SHA256 with a key (first) of bytes (second): 32.
pub const HELPER_HMAC_SHA256: u32 = 100;
/// 1 when two texts are equal, in constant time, else 0.
pub const HELPER_COMPARE_SECRETS: u32 = 101;
/// random bytes, fit for keys: the length.
pub const HELPER_FILL_RANDOM: u32 = 102;
/// seconds since 1970 of the request's beginning, no finer; takes 0.
pub const HELPER_READ_TIME: u32 = 103;
/// writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1.
pub const HELPER_FORMAT_TIME: u32 = 104;
/// copies a value that the plugin kept: its length, or -1.
pub const HELPER_READ_VALUE: u32 = 105;
/// keeps a value for so many seconds: 0, or -1 where there is no room.
pub const HELPER_WRITE_VALUE: u32 = 106;
/// forgets a value: 1 when there was one, else 0.
pub const HELPER_REMOVE_VALUE: u32 = 107;
/// adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1.
pub const HELPER_ADD_VALUE: u32 = 108;
/// counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0.
pub const HELPER_LIMIT_EVENTS: u32 = 109;
/// calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2.
pub const HELPER_CALL_FUNCTION: u32 = 110;
/// sends the request that a document describes: the answer's status, -1 when there was none, -2.
pub const HELPER_FETCH: u32 = 111;
/// copies the first value of a field of the last fetch's answer: its length, or -1.
pub const HELPER_READ_FETCHED_HEADER: u32 = 112;
/// copies the body of the last fetch's answer from an offset on: bytes in all, or -1.
pub const HELPER_READ_FETCHED_BODY: u32 = 113;
/// number of an upstream that PROXY may name, or -1.
pub const HELPER_FIND_UPSTREAM: u32 = 114;
/// adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none.
pub const HELPER_COUNT_METRIC: u32 = 115;
/// copies a secret that the plugin is granted: its length, or -1.
pub const HELPER_READ_SECRET: u32 = 116;
pub const DIGEST_BYTES: u64 = 32;
pub const LENGTH_FUEL_MAX: i64 = 1099511627776;
pub const CAPABILITY_REQUEST_WRITE: u64 = 1;
pub const CAPABILITY_RESPONSE_WRITE: u64 = 2;
pub const CAPABILITY_REQUEST_BODY: u64 = 4;
pub const CAPABILITY_OUTBOUND_HTTP: u64 = 8;
pub const CAPABILITY_SECRETS: u64 = 16;
pub const CAPABILITY_KEY_VALUE: u64 = 32;
pub const CAPABILITY_CALL_PLUGINS: u64 = 64;
pub const CAPABILITY_PROXY: u64 = 128;
/// Row of the helper table. Plugins may call what is `for_plugins`, routes what is `for_routes`.
pub struct HelperRow {
    pub number: u32,
    pub name: &'static str,
    /// How many arguments it takes.
    pub arguments: usize,
    /// Bit n: argument n, from 0, is a length.
    pub lengths: u8,
    pub fuel: i64,
    /// 0: lengths cost nothing.
    pub bytes_per_fuel: u64,
    pub for_routes: bool,
    pub for_plugins: bool,
    /// Bit that a plugin must be granted, or 0.
    pub capability: u64,
}
/// Every helper.
pub const HELPERS: &[HelperRow] = &[
    HelperRow {
        number: 1,
        name: "match_path",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 2,
        name: "match_regexp",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 3,
        name: "match_host",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 4,
        name: "match_method",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 5,
        name: "match_header",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 6,
        name: "match_query",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 7,
        name: "match_protocol",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 8,
        name: "match_remote_ip",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 9,
        name: "match_client_ip",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 10,
        name: "match_variable",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 11,
        name: "find_path",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 127,
        name: "find_pattern",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 126,
        name: "fold_path",
        arguments: 0,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 16,
        name: "rewrite",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 17,
        name: "change_request_headers",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 18,
        name: "change_response_headers",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 19,
        name: "limit_request_body",
        arguments: 1,
        lengths: 0,
        fuel: 1,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 20,
        name: "check_password",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 21,
        name: "assign_variables",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 22,
        name: "require_authentication",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 37,
        name: "map_values",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 38,
        name: "append_log",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 39,
        name: "trace_request",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 24,
        name: "match_file",
        arguments: 1,
        lengths: 0,
        fuel: 128,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 40,
        name: "encode_answer",
        arguments: 1,
        lengths: 0,
        fuel: 48,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 45,
        name: "match_expression",
        arguments: 1,
        lengths: 0,
        fuel: 256,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 47,
        name: "read_body",
        arguments: 0,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 46,
        name: "limit_rate",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 144,
        name: "limit_shared_rate",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 140,
        name: "use_cache",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 141,
        name: "draw_fault",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 143,
        name: "limit_concurrency",
        arguments: 1,
        lengths: 0,
        fuel: 64,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 142,
        name: "limit_bandwidth",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 61,
        name: "evaluate_templates",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 60,
        name: "note_step",
        arguments: 1,
        lengths: 0,
        fuel: 4,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 30,
        name: "match_response",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 31,
        name: "set_status",
        arguments: 1,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 32,
        name: "copy_response_fields",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 33,
        name: "intercept",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 34,
        name: "set_request_body",
        arguments: 1,
        lengths: 0,
        fuel: 32,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 64,
        name: "read_request_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: true,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 65,
        name: "write_request_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: true,
        for_plugins: true,
        capability: 1,
    },
    HelperRow {
        number: 66,
        name: "write_response_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: true,
        for_plugins: true,
        capability: 2,
    },
    HelperRow {
        number: 67,
        name: "log_message",
        arguments: 2,
        lengths: 2,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: true,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 68,
        name: "call_plugin",
        arguments: 1,
        lengths: 0,
        fuel: 256,
        bytes_per_fuel: 0,
        for_routes: true,
        for_plugins: false,
        capability: 0,
    },
    HelperRow {
        number: 70,
        name: "read_json",
        arguments: 5,
        lengths: 20,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 71,
        name: "parse_json",
        arguments: 2,
        lengths: 2,
        fuel: 128,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 72,
        name: "find_json_kind",
        arguments: 3,
        lengths: 4,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 73,
        name: "count_json",
        arguments: 3,
        lengths: 4,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 74,
        name: "write_json_string",
        arguments: 5,
        lengths: 20,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 75,
        name: "write_json",
        arguments: 5,
        lengths: 20,
        fuel: 128,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 76,
        name: "print_json",
        arguments: 3,
        lengths: 4,
        fuel: 128,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 77,
        name: "read_json_key",
        arguments: 4,
        lengths: 8,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 78,
        name: "read_request",
        arguments: 3,
        lengths: 4,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 79,
        name: "write_request",
        arguments: 3,
        lengths: 4,
        fuel: 64,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 1,
    },
    HelperRow {
        number: 80,
        name: "read_request_field",
        arguments: 3,
        lengths: 4,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 81,
        name: "add_request_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 1,
    },
    HelperRow {
        number: 82,
        name: "remove_request_header",
        arguments: 2,
        lengths: 2,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 1,
    },
    HelperRow {
        number: 83,
        name: "read_query",
        arguments: 4,
        lengths: 10,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 84,
        name: "read_cookie",
        arguments: 4,
        lengths: 10,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 85,
        name: "read_request_body",
        arguments: 3,
        lengths: 4,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 4,
    },
    HelperRow {
        number: 117,
        name: "count_request_body",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 4,
    },
    HelperRow {
        number: 86,
        name: "read_response_status",
        arguments: 1,
        lengths: 0,
        fuel: 4,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 87,
        name: "read_response_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 88,
        name: "add_response_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 2,
    },
    HelperRow {
        number: 89,
        name: "remove_response_header",
        arguments: 2,
        lengths: 2,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 2,
    },
    HelperRow {
        number: 90,
        name: "set_response_status",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 2,
    },
    HelperRow {
        number: 91,
        name: "set_response_body",
        arguments: 2,
        lengths: 2,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 2,
    },
    HelperRow {
        number: 92,
        name: "read_metadata",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 93,
        name: "write_metadata",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 94,
        name: "encode",
        arguments: 5,
        lengths: 20,
        fuel: 32,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 95,
        name: "decode",
        arguments: 5,
        lengths: 20,
        fuel: 32,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 96,
        name: "digest",
        arguments: 5,
        lengths: 20,
        fuel: 256,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 97,
        name: "import_key",
        arguments: 3,
        lengths: 4,
        fuel: 1024,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 98,
        name: "sign",
        arguments: 5,
        lengths: 20,
        fuel: 512,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 99,
        name: "verify_signature",
        arguments: 5,
        lengths: 20,
        fuel: 16384,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 100,
        name: "hmac_sha256",
        arguments: 5,
        lengths: 10,
        fuel: 512,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 101,
        name: "compare_secrets",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 102,
        name: "fill_random",
        arguments: 2,
        lengths: 2,
        fuel: 128,
        bytes_per_fuel: 4,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 103,
        name: "read_time",
        arguments: 1,
        lengths: 0,
        fuel: 8,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 104,
        name: "format_time",
        arguments: 5,
        lengths: 20,
        fuel: 64,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 105,
        name: "read_value",
        arguments: 4,
        lengths: 10,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 32,
    },
    HelperRow {
        number: 106,
        name: "write_value",
        arguments: 5,
        lengths: 10,
        fuel: 128,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 32,
    },
    HelperRow {
        number: 107,
        name: "remove_value",
        arguments: 2,
        lengths: 2,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 32,
    },
    HelperRow {
        number: 108,
        name: "add_value",
        arguments: 4,
        lengths: 2,
        fuel: 128,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 32,
    },
    HelperRow {
        number: 109,
        name: "limit_events",
        arguments: 4,
        lengths: 2,
        fuel: 64,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 32,
    },
    HelperRow {
        number: 110,
        name: "call_function",
        arguments: 4,
        lengths: 10,
        fuel: 4096,
        bytes_per_fuel: 1,
        for_routes: false,
        for_plugins: true,
        capability: 64,
    },
    HelperRow {
        number: 111,
        name: "fetch",
        arguments: 1,
        lengths: 0,
        fuel: 1024,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 8,
    },
    HelperRow {
        number: 112,
        name: "read_fetched_header",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 8,
    },
    HelperRow {
        number: 113,
        name: "read_fetched_body",
        arguments: 3,
        lengths: 4,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 8,
    },
    HelperRow {
        number: 114,
        name: "find_upstream",
        arguments: 2,
        lengths: 2,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 128,
    },
    HelperRow {
        number: 115,
        name: "count_metric",
        arguments: 2,
        lengths: 0,
        fuel: 16,
        bytes_per_fuel: 0,
        for_routes: false,
        for_plugins: true,
        capability: 0,
    },
    HelperRow {
        number: 116,
        name: "read_secret",
        arguments: 4,
        lengths: 10,
        fuel: 32,
        bytes_per_fuel: 16,
        for_routes: false,
        for_plugins: true,
        capability: 16,
    },
];

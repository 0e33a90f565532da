//! Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.
#![allow(dead_code, clippy::unreadable_literal)]

pub const ABI_VERSION: u64 = 0x1;
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
pub const INSTRUCTIONS_MAX: u64 = 0x1000;
pub const CONSTANTS_BYTES_MAX: u64 = 0x100000;
pub const TABLE_ROWS_MAX: u64 = 0x10000;
pub const FUEL_DEFAULT: u64 = 0x100000;
pub const TRAP_FUEL: i64 = -4611686018427387904;
pub const HELPERS_MAX: u64 = 0x80;
pub const VM_FUEL_OFFSET: u64 = 0x0;
pub const VM_HELPERS_OFFSET: u64 = 0x10;
pub const PATH_BYTES_MAX: u64 = 0x4000;
pub const OVERREAD_BYTES: u64 = 0x40;
pub const FIELD_ABI: usize = 0;
pub const FIELD_ENTRY: usize = 4;
pub const FIELD_METHOD: usize = 8;
pub const FIELD_SCHEME: usize = 12;
pub const FIELD_PATH: usize = 16;
pub const FIELD_PATH_LENGTH: usize = 20;
pub const FIELD_STATUS: usize = 24;
pub const FIELD_RESUME_RESULT: usize = 28;
pub const FIELD_PATH_BYTES: usize = 256;
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
pub const OPERATION_CHECK_PASSWORD: u64 = 1;
pub const OPERATION_MATCH_FILE: u64 = 2;
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
/// applies Tables.rewrites[row] to method, path and query.
pub const HELPER_REWRITE: u32 = 16;
/// applies Tables.header_changes[row] to the request.
pub const HELPER_CHANGE_REQUEST_HEADERS: u32 = 17;
/// applies Tables.header_changes[row] to the answer.
pub const HELPER_CHANGE_RESPONSE_HEADERS: u32 = 18;
/// 413 past so many bytes; 0 lifts the limit.
pub const HELPER_LIMIT_REQUEST_BODY: u32 = 19;
/// basic authentication by Tables.credentials[row]: 0 refused, 1 right, 2 not known yet (suspend).
pub const HELPER_CHECK_PASSWORD: u32 = 20;
/// sets the variables of Tables.assignments[row].
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
/// counts the request by Tables.rate_limits[row]: 1 past its rate.
pub const HELPER_LIMIT_RATE: u32 = 46;
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
/// sets a field of the request; 0, or -1 when name or value is not allowed.
pub const HELPER_WRITE_REQUEST_HEADER: u32 = 65;
/// sets a field of the answer; 0, or -1 when name or value is not allowed.
pub const HELPER_WRITE_RESPONSE_HEADER: u32 = 66;
/// writes a line to the engine's log.
pub const HELPER_LOG_MESSAGE: u32 = 67;
/// (number, name, arguments that it takes, fuel) of every helper, ascending.
pub const HELPERS: &[(u32, &str, usize, i64)] = &[
    (1, "match_path", 1, 16),
    (2, "match_regexp", 1, 64),
    (3, "match_host", 1, 16),
    (4, "match_method", 1, 8),
    (5, "match_header", 1, 16),
    (6, "match_query", 1, 16),
    (7, "match_protocol", 1, 8),
    (8, "match_remote_ip", 1, 16),
    (9, "match_client_ip", 1, 16),
    (10, "match_variable", 1, 16),
    (11, "find_path", 1, 32),
    (16, "rewrite", 1, 64),
    (17, "change_request_headers", 1, 32),
    (18, "change_response_headers", 1, 32),
    (19, "limit_request_body", 1, 1),
    (20, "check_password", 1, 64),
    (21, "assign_variables", 1, 16),
    (22, "require_authentication", 1, 8),
    (37, "map_values", 1, 16),
    (38, "append_log", 1, 16),
    (39, "trace_request", 1, 32),
    (24, "match_file", 1, 128),
    (40, "encode_answer", 1, 48),
    (45, "match_expression", 1, 256),
    (46, "limit_rate", 1, 64),
    (61, "evaluate_templates", 1, 16),
    (60, "note_step", 1, 4),
    (30, "match_response", 1, 16),
    (31, "set_status", 1, 16),
    (32, "copy_response_fields", 1, 32),
    (33, "intercept", 1, 8),
    (34, "set_request_body", 1, 32),
    (64, "read_request_header", 4, 32),
    (65, "write_request_header", 4, 32),
    (66, "write_response_header", 4, 32),
    (67, "log_message", 2, 64),
];

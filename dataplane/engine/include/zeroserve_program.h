/* Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.
 * For programs built with `clang -target bpf -O2`. Pointers are guest addresses. */
#pragma once
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define ZS_ABI_VERSION 1LL
#define ZS_CONTEXT 65536LL
#define ZS_CONTEXT_BYTES 65536LL
#define ZS_STACK 131072LL
#define ZS_FRAME_BYTES 512LL
#define ZS_CALL_DEPTH_MAX 8LL
#define ZS_STACK_TOP 135168LL
#define ZS_HEAP 196608LL
#define ZS_HEAP_BYTES 65536LL
#define ZS_CONSTANTS 4294967296LL
#define ZS_WINDOW_BYTES 4294967296LL
#define ZS_INSTRUCTIONS_MAX 4096LL
#define ZS_CONSTANTS_BYTES_MAX 1048576LL
#define ZS_TABLE_ROWS_MAX 65536LL
#define ZS_FUEL_DEFAULT 1048576LL
#define ZS_TRAP_FUEL -4611686018427387904LL
#define ZS_HELPERS_MAX 128LL
#define ZS_VM_FUEL_OFFSET 0LL
#define ZS_VM_HELPERS_OFFSET 16LL
#define ZS_PATH_BYTES_MAX 16384LL
#define ZS_OVERREAD_BYTES 64LL
#define ZS_FIELD_ABI 0
#define ZS_FIELD_ENTRY 4
#define ZS_FIELD_METHOD 8
#define ZS_FIELD_SCHEME 12
#define ZS_FIELD_PATH 16
#define ZS_FIELD_PATH_LENGTH 20
#define ZS_FIELD_STATUS 24
#define ZS_FIELD_RESUME_RESULT 28
#define ZS_FIELD_PATH_BYTES 256
#define ZS_METHOD_OTHER 0
#define ZS_METHOD_GET 1
#define ZS_METHOD_HEAD 2
#define ZS_METHOD_POST 3
#define ZS_METHOD_PUT 4
#define ZS_METHOD_DELETE 5
#define ZS_METHOD_CONNECT 6
#define ZS_METHOD_OPTIONS 7
#define ZS_METHOD_TRACE 8
#define ZS_METHOD_PATCH 9
#define ZS_ACTION_NOT_FOUND 0
#define ZS_ACTION_RESPOND 1
#define ZS_ACTION_PROXY 2
#define ZS_ACTION_FILE 3
#define ZS_ACTION_ABORT 4
#define ZS_ACTION_ERROR 5
#define ZS_ACTION_SUSPEND 6
#define ZS_ACTION_EMPTY 7
#define ZS_ACTION_PASS 8
#define ZS_ACTION_ANSWER 9
#define ZS_OPERATION_CHECK_PASSWORD 1
#define ZS_OPERATION_MATCH_FILE 2
#define ZS_OPERATION_CALL_PLUGIN 16
#define ZS_VERDICT_CONTINUE 0
#define ZS_VERDICT_RESPOND 1
#define ZS_VERDICT_PROXY 2
#define ZS_VERDICT_ABORT 4
#define ZS_VERDICT_ERROR 5
#define ZS_VERDICT_SUSPEND 6
#define ZS_VERDICT_ADOPT 9
#define ZS_REQUESTPART_METHOD 0
#define ZS_REQUESTPART_PATH 1
#define ZS_REQUESTPART_QUERY 2
#define ZS_REQUESTPART_URI 3
#define ZS_REQUESTPART_HOST 4
#define ZS_REQUESTPART_SCHEME 5
#define ZS_REQUESTPART_PROTOCOL 6
#define ZS_REQUESTPART_CLIENT_IP 7
#define ZS_REQUESTPART_REMOTE_IP 8
#define ZS_REQUESTPART_ORIGINAL_URI 9
#define ZS_REQUESTPART_REQUEST_ID 10
#define ZS_REQUESTPART_ORIGINAL_METHOD 11
#define ZS_JSONKIND_ABSENT 0
#define ZS_JSONKIND_NULL 1
#define ZS_JSONKIND_BOOLEAN 2
#define ZS_JSONKIND_NUMBER 3
#define ZS_JSONKIND_STRING 4
#define ZS_JSONKIND_ARRAY 5
#define ZS_JSONKIND_OBJECT 6
#define ZS_CODEC_BASE64 0
#define ZS_CODEC_BASE64_URL 1
#define ZS_CODEC_HEX 2
#define ZS_CODEC_PERCENT 3
#define ZS_CODEC_PERCENT_PATH 4
#define ZS_CODEC_FORM 5
#define ZS_DIGEST_SHA256 0
#define ZS_DIGEST_SHA384 1
#define ZS_DIGEST_SHA512 2
#define ZS_DIGEST_SHA1 3
#define ZS_KEYKIND_HMAC_SHA256 0
#define ZS_KEYKIND_ED25519 1
#define ZS_KEYKIND_ECDSA_P256_SHA256 2
#define ZS_KEYKIND_RSA_PKCS1_SHA256 3
#define ZS_KEYKIND_JWK 4

#define ZS_RETURN(action, index, detail) ((u64)(action) | (u64)(detail) << 8 | (u64)(index) << 32)
/* 1 when a pattern of Tables.paths[row] fits the decoded path */
static u64 (*const zs_match_path)(u64) = (void *)1;
/* 1 when Tables.regexps[row] fits; its captures are kept */
static u64 (*const zs_match_regexp)(u64) = (void *)2;
/* 1 when the host is among Tables.hosts[row] */
static u64 (*const zs_match_host)(u64) = (void *)3;
/* 1 when the method is among Tables.methods[row] */
static u64 (*const zs_match_method)(u64) = (void *)4;
/* 1 when Tables.headers[row] fits */
static u64 (*const zs_match_header)(u64) = (void *)5;
/* 1 when Tables.queries[row] fits */
static u64 (*const zs_match_query)(u64) = (void *)6;
/* 1 when the request is of Tables.protocols[row] */
static u64 (*const zs_match_protocol)(u64) = (void *)7;
/* 1 when the peer lies in Tables.addresses[row] */
static u64 (*const zs_match_remote_ip)(u64) = (void *)8;
/* 1 when the client lies in Tables.addresses[row] */
static u64 (*const zs_match_client_ip)(u64) = (void *)9;
/* 1 when Tables.variables[row] fits */
static u64 (*const zs_match_variable)(u64) = (void *)10;
/* value of the longest entry of Tables.tries[row], or 0 */
static u64 (*const zs_find_path)(u64) = (void *)11;
/* applies Tables.rewrites[row] to method, path and query */
static u64 (*const zs_rewrite)(u64) = (void *)16;
/* applies Tables.header_changes[row] to the request */
static u64 (*const zs_change_request_headers)(u64) = (void *)17;
/* applies Tables.header_changes[row] to the answer */
static u64 (*const zs_change_response_headers)(u64) = (void *)18;
/* 413 past so many bytes; 0 lifts the limit */
static u64 (*const zs_limit_request_body)(u64) = (void *)19;
/* basic authentication by Tables.credentials[row]: 0 refused, 1 right, 2 not known yet (suspend) */
static u64 (*const zs_check_password)(u64) = (void *)20;
/* sets the variables of Tables.assignments[row] */
static u64 (*const zs_assign_variables)(u64) = (void *)21;
/* adds WWW-Authenticate of Tables.credentials[row] to the answer */
static u64 (*const zs_require_authentication)(u64) = (void *)22;
/* placeholders of Tables.maps[row] are defined from here on */
static u64 (*const zs_map_values)(u64) = (void *)37;
/* adds Tables.log_fields[row] to the access log line */
static u64 (*const zs_append_log)(u64) = (void *)38;
/* takes part in the request's W3C trace, by Tables.traces[row] */
static u64 (*const zs_trace_request)(u64) = (void *)39;
/* Tables.file_matches[row]: 0 no file, 1 found, 2 not known yet (suspend), 3 raises its status */
static u64 (*const zs_match_file)(u64) = (void *)24;
/* the answer may be encoded by Tables.encodings[row] */
static u64 (*const zs_encode_answer)(u64) = (void *)40;
/* 1 when Tables.expressions[row] holds, 0 when not, 2 when it has no value */
static u64 (*const zs_match_expression)(u64) = (void *)45;
/* counts the request by Tables.rate_limits[row]: 1 past its rate */
static u64 (*const zs_limit_rate)(u64) = (void *)46;
/* the answer may be a template, by Tables.templates[row] */
static u64 (*const zs_evaluate_templates)(u64) = (void *)61;
/* records that Tables.steps[row] was reached, where the request is explained */
static u64 (*const zs_note_step)(u64) = (void *)60;
/* 1 when Tables.response_matches[row] fits the answer at hand, or the error's status */
static u64 (*const zs_match_response)(u64) = (void *)30;
/* the status of the next PASS or ERROR, from Tables.texts[row] */
static u64 (*const zs_set_status)(u64) = (void *)31;
/* adds the fields of Tables.field_selections[row] of the upstream's answer to the answer */
static u64 (*const zs_copy_response_fields)(u64) = (void *)32;
/* calls the program at this entry once there is an answer */
static u64 (*const zs_intercept)(u64) = (void *)33;
/* replaces the request's body by Tables.texts[row] */
static u64 (*const zs_set_request_body)(u64) = (void *)34;
/* copies the first value of the named field; its length (which may exceed the room), or -1 */
static u64 (*const zs_read_request_header)(const void *, u64, void *, u64) = (void *)64;
/* sets a field of the request; 0, or -1 when name or value is not allowed */
static u64 (*const zs_write_request_header)(const void *, u64, const void *, u64) = (void *)65;
/* sets a field of the answer; 0, or -1 when name or value is not allowed */
static u64 (*const zs_write_response_header)(const void *, u64, const void *, u64) = (void *)66;
/* writes a line to the engine's log */
static u64 (*const zs_log_message)(const void *, u64) = (void *)67;
/* calls the function of Tables.plugin_calls[row]: 0 continue, 6 not known yet (suspend), else an action */
static u64 (*const zs_call_plugin)(u64) = (void *)68;
/* copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1 */
static u64 (*const zs_read_json)(u64, const void *, u64, void *, u64) = (void *)70;
/* number of the document that a JSON text gives, or -1 */
static u64 (*const zs_parse_json)(const void *, u64) = (void *)71;
/* JsonKind of the value at a pointer of a document */
static u64 (*const zs_find_json_kind)(u64, const void *, u64) = (void *)72;
/* members of the array or object at a pointer, or -1 */
static u64 (*const zs_count_json)(u64, const void *, u64) = (void *)73;
/* sets a string at a pointer of a document, with the objects on the way: 0, or -1 */
static u64 (*const zs_write_json_string)(u64, const void *, u64, const void *, u64) = (void *)74;
/* sets a JSON text's value at a pointer, as above: 0, or -1 */
static u64 (*const zs_write_json)(u64, const void *, u64, const void *, u64) = (void *)75;
/* copies a document as JSON text: its length, or -1 */
static u64 (*const zs_print_json)(u64, void *, u64) = (void *)76;
/* copies the name of the n-th member (from 0) of a document that is an object: its length, or -1 */
static u64 (*const zs_read_json_key)(u64, u64, void *, u64) = (void *)77;
/* copies a RequestPart: its length, or -1 */
static u64 (*const zs_read_request)(u64, void *, u64) = (void *)78;
/* sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed */
static u64 (*const zs_write_request)(u64, const void *, u64) = (void *)79;
/* copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1 */
static u64 (*const zs_read_request_field)(u64, void *, u64) = (void *)80;
/* adds a field to the request: 0, or -1 when name or value is not allowed */
static u64 (*const zs_add_request_header)(const void *, u64, const void *, u64) = (void *)81;
/* removes a field of the request: 0, or -1 when it is not allowed */
static u64 (*const zs_remove_request_header)(const void *, u64) = (void *)82;
/* copies the first value of a query key: its length, or -1 */
static u64 (*const zs_read_query)(const void *, u64, void *, u64) = (void *)83;
/* copies the value of a cookie: its length, or -1 */
static u64 (*const zs_read_cookie)(const void *, u64, void *, u64) = (void *)84;
/* copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2 */
static u64 (*const zs_read_request_body)(u64, void *, u64) = (void *)85;
/* status of the answer at hand, 0 where there is none; takes 0 */
static u64 (*const zs_read_response_status)(u64) = (void *)86;
/* copies the first value of a field of the answer: its length, or -1 */
static u64 (*const zs_read_response_header)(const void *, u64, void *, u64) = (void *)87;
/* adds a field to the answer: 0, or -1 when name or value is not allowed */
static u64 (*const zs_add_response_header)(const void *, u64, const void *, u64) = (void *)88;
/* removes a field of the answer: 0, or -1 when it is not allowed */
static u64 (*const zs_remove_response_header)(const void *, u64) = (void *)89;
/* status of RESPOND: 0, or -1 outside of 200 to 599 */
static u64 (*const zs_set_response_status)(u64) = (void *)90;
/* body of RESPOND: 0 */
static u64 (*const zs_set_response_body)(const void *, u64) = (void *)91;
/* copies what a plugin noted about this request under a name: its length, or -1 */
static u64 (*const zs_read_metadata)(const void *, u64, void *, u64) = (void *)92;
/* notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room */
static u64 (*const zs_write_metadata)(const void *, u64, const void *, u64) = (void *)93;
/* writes bytes by a Codec: the text's length, or -1 */
static u64 (*const zs_encode)(u64, const void *, u64, void *, u64) = (void *)94;
/* reads text of a Codec: the bytes' length, or -1 */
static u64 (*const zs_decode)(u64, const void *, u64, void *, u64) = (void *)95;
/* hash of bytes by a Digest: its length, or -1 */
static u64 (*const zs_digest)(u64, const void *, u64, void *, u64) = (void *)96;
/* number of the key of a KeyKind, or -1 */
static u64 (*const zs_import_key)(u64, const void *, u64) = (void *)97;
/* HMAC of bytes with a key of HMAC_SHA256: its length, or -1 */
static u64 (*const zs_sign)(u64, const void *, u64, void *, u64) = (void *)98;
/* 1 when a signature (second) of a message (first) is right for the key, else 0 */
static u64 (*const zs_verify_signature)(u64, const void *, u64, const void *, u64) = (void *)99;
/* HMAC-SHA256 with a key (first) of bytes (second): 32 */
static u64 (*const zs_hmac_sha256)(const void *, u64, const void *, u64, void *) = (void *)100;
/* 1 when two texts are equal, in constant time, else 0 */
static u64 (*const zs_compare_secrets)(const void *, u64, const void *, u64) = (void *)101;
/* random bytes, fit for keys: the length */
static u64 (*const zs_fill_random)(void *, u64) = (void *)102;
/* seconds since 1970 of the request's beginning, no finer; takes 0 */
static u64 (*const zs_read_time)(u64) = (void *)103;
/* writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1 */
static u64 (*const zs_format_time)(u64, const void *, u64, void *, u64) = (void *)104;
/* copies a value that the plugin kept: its length, or -1 */
static u64 (*const zs_read_value)(const void *, u64, void *, u64) = (void *)105;
/* keeps a value for so many seconds: 0, or -1 where there is no room */
static u64 (*const zs_write_value)(const void *, u64, const void *, u64, u64) = (void *)106;
/* forgets a value: 1 when there was one, else 0 */
static u64 (*const zs_remove_value)(const void *, u64) = (void *)107;
/* adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1 */
static u64 (*const zs_add_value)(const void *, u64, u64, u64) = (void *)108;
/* counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0 */
static u64 (*const zs_limit_events)(const void *, u64, u64, u64) = (void *)109;
/* calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2 */
static u64 (*const zs_call_function)(const void *, u64, const void *, u64) = (void *)110;
/* sends the request that a document describes: the answer's status, -1 when there was none, -2 */
static u64 (*const zs_fetch)(u64) = (void *)111;
/* copies the first value of a field of the last fetch's answer: its length, or -1 */
static u64 (*const zs_read_fetched_header)(const void *, u64, void *, u64) = (void *)112;
/* copies the body of the last fetch's answer from an offset on: bytes in all, or -1 */
static u64 (*const zs_read_fetched_body)(u64, void *, u64) = (void *)113;
/* number of an upstream that PROXY may name, or -1 */
static u64 (*const zs_find_upstream)(const void *, u64) = (void *)114;
/* adds to a counter of the plugin's: 0, or -1 where there is no room */
static u64 (*const zs_count_metric)(const void *, u64, u64) = (void *)115;
/* copies a secret that the plugin is granted: its length, or -1 */
static u64 (*const zs_read_secret)(const void *, u64, void *, u64) = (void *)116;

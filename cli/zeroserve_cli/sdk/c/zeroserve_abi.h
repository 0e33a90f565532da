/* Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited. */
#pragma once
#define ZS_ABI_VERSION 2

struct zs_context {
    unsigned int abi;
    unsigned int entry;
    unsigned int method;
    unsigned int scheme;
    unsigned int path;
    unsigned int path_length;
    unsigned int status;
    unsigned int resume_result;
    unsigned int folded_length;
};

enum { ZS_METHOD_OTHER = 0 };
enum { ZS_METHOD_GET = 1 };
enum { ZS_METHOD_HEAD = 2 };
enum { ZS_METHOD_POST = 3 };
enum { ZS_METHOD_PUT = 4 };
enum { ZS_METHOD_DELETE = 5 };
enum { ZS_METHOD_CONNECT = 6 };
enum { ZS_METHOD_OPTIONS = 7 };
enum { ZS_METHOD_TRACE = 8 };
enum { ZS_METHOD_PATCH = 9 };

enum { ZS_REQUEST_METHOD = 0 };
enum { ZS_REQUEST_PATH = 1 };
enum { ZS_REQUEST_QUERY = 2 };
enum { ZS_REQUEST_URI = 3 };
enum { ZS_REQUEST_HOST = 4 };
enum { ZS_REQUEST_SCHEME = 5 };
enum { ZS_REQUEST_PROTOCOL = 6 };
enum { ZS_REQUEST_CLIENT_IP = 7 };
enum { ZS_REQUEST_REMOTE_IP = 8 };
enum { ZS_REQUEST_ORIGINAL_URI = 9 };
enum { ZS_REQUEST_REQUEST_ID = 10 };
enum { ZS_REQUEST_ORIGINAL_METHOD = 11 };

enum { ZS_JSON_ABSENT = 0 };
enum { ZS_JSON_NULL = 1 };
enum { ZS_JSON_BOOLEAN = 2 };
enum { ZS_JSON_NUMBER = 3 };
enum { ZS_JSON_STRING = 4 };
enum { ZS_JSON_ARRAY = 5 };
enum { ZS_JSON_OBJECT = 6 };

enum { ZS_CODEC_BASE64 = 0 };
enum { ZS_CODEC_BASE64_URL = 1 };
enum { ZS_CODEC_HEX = 2 };
enum { ZS_CODEC_PERCENT = 3 };
enum { ZS_CODEC_PERCENT_PATH = 4 };
enum { ZS_CODEC_FORM = 5 };

enum { ZS_DIGEST_SHA256 = 0 };
enum { ZS_DIGEST_SHA384 = 1 };
enum { ZS_DIGEST_SHA512 = 2 };
enum { ZS_DIGEST_SHA1 = 3 };

enum { ZS_KEY_HMAC_SHA256 = 0 };
enum { ZS_KEY_ED25519 = 1 };
enum { ZS_KEY_ECDSA_P256_SHA256 = 2 };
enum { ZS_KEY_RSA_PKCS1_SHA256 = 3 };
enum { ZS_KEY_JWK = 4 };

/* copies the first value of the named field; its length (which may exceed the room), or -1 */
static unsigned long long (*const zs_read_request_header)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)64;
/* sets a field of the request; 0, or -1 when not allowed or without room; needs request_write */
static unsigned long long (*const zs_write_request_header)(const void *name, unsigned long long name_bytes, const void *value, unsigned long long value_bytes) = (void *)65;
/* sets a field of the answer; 0, or -1 when not allowed or without room; needs response_write */
static unsigned long long (*const zs_write_response_header)(const void *name, unsigned long long name_bytes, const void *value, unsigned long long value_bytes) = (void *)66;
/* writes a line to the engine's log; of a plugin's no more than 100 a second */
static unsigned long long (*const zs_log_message)(const void *text, unsigned long long text_bytes) = (void *)67;
/* copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1 */
static unsigned long long (*const zs_read_json)(unsigned long long document, const void *pointer, unsigned long long pointer_bytes, void *room, unsigned long long room_bytes) = (void *)70;
/* number of the document that a JSON text gives, or -1 */
static unsigned long long (*const zs_parse_json)(const void *text, unsigned long long text_bytes) = (void *)71;
/* JsonKind of the value at a pointer of a document */
static unsigned long long (*const zs_find_json_kind)(unsigned long long document, const void *pointer, unsigned long long pointer_bytes) = (void *)72;
/* members of the array or object at a pointer, or -1 */
static unsigned long long (*const zs_count_json)(unsigned long long document, const void *pointer, unsigned long long pointer_bytes) = (void *)73;
/* sets a string at a pointer of a document, with the objects on the way: 0, or -1 */
static unsigned long long (*const zs_write_json_string)(unsigned long long document, const void *pointer, unsigned long long pointer_bytes, const void *value, unsigned long long value_bytes) = (void *)74;
/* sets a JSON text's value at a pointer, as above: 0, or -1 */
static unsigned long long (*const zs_write_json)(unsigned long long document, const void *pointer, unsigned long long pointer_bytes, const void *text, unsigned long long text_bytes) = (void *)75;
/* copies a document as JSON text: its length, or -1 */
static unsigned long long (*const zs_print_json)(unsigned long long document, void *room, unsigned long long room_bytes) = (void *)76;
/* copies the name of the n-th member (from 0) of a document that is an object: its length, or -1 */
static unsigned long long (*const zs_read_json_key)(unsigned long long document, unsigned long long index, void *room, unsigned long long room_bytes) = (void *)77;
/* copies a RequestPart: its length, or -1 */
static unsigned long long (*const zs_read_request)(unsigned long long part, void *room, unsigned long long room_bytes) = (void *)78;
/* sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed; needs request_write */
static unsigned long long (*const zs_write_request)(unsigned long long part, const void *value, unsigned long long value_bytes) = (void *)79;
/* copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1 */
static unsigned long long (*const zs_read_request_field)(unsigned long long index, void *room, unsigned long long room_bytes) = (void *)80;
/* adds a field to the request: 0, or -1 when not allowed or without room; needs request_write */
static unsigned long long (*const zs_add_request_header)(const void *name, unsigned long long name_bytes, const void *value, unsigned long long value_bytes) = (void *)81;
/* removes a field of the request: 0, or -1 when it is not allowed; needs request_write */
static unsigned long long (*const zs_remove_request_header)(const void *name, unsigned long long name_bytes) = (void *)82;
/* copies the first value of a query key: its length, or -1 */
static unsigned long long (*const zs_read_query)(const void *key, unsigned long long key_bytes, void *room, unsigned long long room_bytes) = (void *)83;
/* copies the value of a cookie: its length, or -1 */
static unsigned long long (*const zs_read_cookie)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)84;
/* copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2; needs request_body */
static unsigned long long (*const zs_read_request_body)(unsigned long long offset, void *room, unsigned long long room_bytes) = (void *)85;
/* status of the answer at hand, 0 where there is none; takes 0 */
static unsigned long long (*const zs_read_response_status)(unsigned long long zero) = (void *)86;
/* copies the first value of a field of the answer: its length, or -1 */
static unsigned long long (*const zs_read_response_header)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)87;
/* adds a field to the answer: 0, or -1 when not allowed or without room; needs response_write */
static unsigned long long (*const zs_add_response_header)(const void *name, unsigned long long name_bytes, const void *value, unsigned long long value_bytes) = (void *)88;
/* removes a field of the answer: 0, or -1 when it is not allowed; needs response_write */
static unsigned long long (*const zs_remove_response_header)(const void *name, unsigned long long name_bytes) = (void *)89;
/* status of RESPOND: 0, or -1 outside of 200 to 599; needs response_write */
static unsigned long long (*const zs_set_response_status)(unsigned long long status) = (void *)90;
/* body of RESPOND: 0; needs response_write */
static unsigned long long (*const zs_set_response_body)(const void *body, unsigned long long body_bytes) = (void *)91;
/* copies what a plugin noted about this request under a name: its length, or -1 */
static unsigned long long (*const zs_read_metadata)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)92;
/* notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room */
static unsigned long long (*const zs_write_metadata)(const void *name, unsigned long long name_bytes, const void *value, unsigned long long value_bytes) = (void *)93;
/* writes bytes by a Codec: the text's length, or -1 */
static unsigned long long (*const zs_encode)(unsigned long long codec, const void *content, unsigned long long content_bytes, void *room, unsigned long long room_bytes) = (void *)94;
/* reads text of a Codec: the bytes' length, or -1 */
static unsigned long long (*const zs_decode)(unsigned long long codec, const void *text, unsigned long long text_bytes, void *room, unsigned long long room_bytes) = (void *)95;
/* hash of bytes by a Digest: its length, or -1 */
static unsigned long long (*const zs_digest)(unsigned long long kind, const void *content, unsigned long long content_bytes, void *room, unsigned long long room_bytes) = (void *)96;
/* number of the key of a KeyKind, or -1 */
static unsigned long long (*const zs_import_key)(unsigned long long kind, const void *content, unsigned long long content_bytes) = (void *)97;
/* HMAC of bytes with a key of HMAC_SHA256: its length, or -1 */
static unsigned long long (*const zs_sign)(unsigned long long key, const void *content, unsigned long long content_bytes, void *room, unsigned long long room_bytes) = (void *)98;
/* 1 when a signature (second) of a message (first) is right for the key, else 0; besides 49,152 fuel for a curve, half the square of the key's bytes for RSA */
static unsigned long long (*const zs_verify_signature)(unsigned long long key, const void *message, unsigned long long message_bytes, const void *signature, unsigned long long signature_bytes) = (void *)99;
/* HMAC-SHA256 with a key (first) of bytes (second): 32 */
static unsigned long long (*const zs_hmac_sha256)(const void *key, unsigned long long key_bytes, const void *content, unsigned long long content_bytes, void *room) = (void *)100;
/* 1 when two texts are equal, in constant time, else 0 */
static unsigned long long (*const zs_compare_secrets)(const void *left, unsigned long long left_bytes, const void *right, unsigned long long right_bytes) = (void *)101;
/* random bytes, fit for keys: the length */
static unsigned long long (*const zs_fill_random)(void *room, unsigned long long room_bytes) = (void *)102;
/* seconds since 1970 of the request's beginning, no finer; takes 0 */
static unsigned long long (*const zs_read_time)(unsigned long long zero) = (void *)103;
/* writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1 */
static unsigned long long (*const zs_format_time)(unsigned long long unix_s, const void *format, unsigned long long format_bytes, void *room, unsigned long long room_bytes) = (void *)104;
/* copies a value that the plugin kept: its length, or -1; needs key_value */
static unsigned long long (*const zs_read_value)(const void *key, unsigned long long key_bytes, void *room, unsigned long long room_bytes) = (void *)105;
/* keeps a value for so many seconds: 0, or -1 where there is no room; needs key_value */
static unsigned long long (*const zs_write_value)(const void *key, unsigned long long key_bytes, const void *value, unsigned long long value_bytes, unsigned long long ttl_s) = (void *)106;
/* forgets a value: 1 when there was one, else 0; needs key_value */
static unsigned long long (*const zs_remove_value)(const void *key, unsigned long long key_bytes) = (void *)107;
/* adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1; needs key_value */
static unsigned long long (*const zs_add_value)(const void *key, unsigned long long key_bytes, unsigned long long amount, unsigned long long ttl_s) = (void *)108;
/* counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0; needs key_value */
static unsigned long long (*const zs_limit_events)(const void *key, unsigned long long key_bytes, unsigned long long events_max, unsigned long long window_ms) = (void *)109;
/* calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2; needs call_plugins */
static unsigned long long (*const zs_call_function)(const void *target, unsigned long long target_bytes, const void *config, unsigned long long config_bytes) = (void *)110;
/* sends the request that a document describes: the answer's status, -1 when there was none, -2; needs outbound_http */
static unsigned long long (*const zs_fetch)(unsigned long long document) = (void *)111;
/* copies the first value of a field of the last fetch's answer: its length, or -1; needs outbound_http */
static unsigned long long (*const zs_read_fetched_header)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)112;
/* copies the body of the last fetch's answer from an offset on: bytes in all, or -1; needs outbound_http */
static unsigned long long (*const zs_read_fetched_body)(unsigned long long offset, void *room, unsigned long long room_bytes) = (void *)113;
/* number of an upstream that PROXY may name, or -1; needs proxy */
static unsigned long long (*const zs_find_upstream)(const void *name, unsigned long long name_bytes) = (void *)114;
/* adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none */
static unsigned long long (*const zs_count_metric)(unsigned long long counter, unsigned long long amount) = (void *)115;
/* copies a secret that the plugin is granted: its length, or -1; needs secrets */
static unsigned long long (*const zs_read_secret)(const void *name, unsigned long long name_bytes, void *room, unsigned long long room_bytes) = (void *)116;
/* length of the whole body, above what `read_request_body` gives of a cut one: -1 if nobody told it, or -2; takes 0; needs request_body */
static unsigned long long (*const zs_count_request_body)(unsigned long long zero) = (void *)117;

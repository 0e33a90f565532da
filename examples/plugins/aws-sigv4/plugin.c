/* AWS Signature Version 4: signs what goes upstream, so that clients need no keys of the store behind.
 *
 * In: the request as the routes before have made it, and the configuration (README.md). Out: the fields
 * x-amz-date, x-amz-content-sha256 (S3) and authorization on the request. Whatever cannot be signed is
 * answered with an error: an unsigned request never leaves. Source: AWS General Reference, "Create a
 * signed AWS API request", and the S3 API Reference, "Authenticating requests (Authorization header)". */
#include <zeroserve.h>

#define PARTS_MAX 96
#define DATE_BYTES 16
#define DAY_BYTES 8
#define ALGORITHM "AWS4-HMAC-SHA256"

struct part {
    u32 start;
    u32 name_length;
    u32 length;
};

static u8 text_bytes[12000], canonical_bytes[16000], body[8192], config_bytes[512];
static u8 key_id[256], secret[256], token[2048], region[64], service[64], host[512];
static u8 path[3072], query[3072], decoded[3072];
static struct part parts[PARTS_MAX];
static u8 stamp[DATE_BYTES + 1], scope_bytes[256], payload[80];
static u64 key_id_length, secret_length, token_length, region_length, service_length;

/* Copies a setting of the configuration; ZS_NONE where it is absent, empty or too long. */
static __attribute__((noinline)) u64 read_setting(const char *pointer, u64 pointer_length, u8 *to, u64 room) {
    u64 length = zs_read_json(ZS_INPUT, pointer, pointer_length, to, room);
    return length && length <= room ? length : ZS_NONE;
}

/* Copies a key from the configuration, or from the secrets that the plugin is granted. */
static __attribute__((noinline)) u64 read_key(const char *pointer, u64 pointer_length, u8 *to, u64 room) {
    u64 length = read_setting(pointer, pointer_length, to, room);
    if (length != ZS_NONE) return length;
    if (zs_find_json_kind(ZS_INPUT, ZS("/config/secrets")) != ZS_JSON_STRING) return ZS_NONE;
    /* `secrets yes`: the grant is asked for only where the route says so, as reading without it traps. */
    length = zs_read_secret(pointer + sizeof("/config"), pointer_length - sizeof("/config"), to, room);
    return length && length <= room ? length : ZS_NONE;
}

static __attribute__((noinline)) int read_settings(void) {
    key_id_length = read_key(ZS("/config/access_key_id"), ZS_ROOM(key_id));
    secret_length = read_key(ZS("/config/secret_access_key"), ZS_ROOM(secret));
    token_length = read_key(ZS("/config/session_token"), ZS_ROOM(token));
    region_length = read_setting(ZS("/config/region"), ZS_ROOM(region));
    service_length = read_setting(ZS("/config/service"), ZS_ROOM(service));
    if (region_length == ZS_NONE) {
        memcpy(region, "us-east-1", 9);
        region_length = 9;
    }
    if (service_length == ZS_NONE) {
        memcpy(service, "s3", 2);
        service_length = 2;
    }
    return key_id_length != ZS_NONE && secret_length != ZS_NONE;
}

static int is_s3(void) { return service_length == 2 && service[0] == 's' && service[1] == '3'; }

/* Sorts parts of a text by name, then by the rest where `whole`; equal ones keep their order. */
static __attribute__((noinline)) void sort_parts(const u8 *bytes, u64 count, int whole) {
    for (u64 at = 1; at < count; at++) {
        struct part moving = parts[at];
        u64 length = whole ? moving.length : moving.name_length;
        u64 to = at;
        while (to > 0) {
            struct part *before = &parts[to - 1];
            u64 other = whole ? before->length : before->name_length;
            i64 order = zs_compare(bytes + before->start, before->name_length, bytes + moving.start,
                                   moving.name_length);
            if (order == 0 && whole)
                order = zs_compare(bytes + before->start, other, bytes + moving.start, length);
            if (order <= 0) break;
            parts[to] = *before;
            to--;
        }
        parts[to] = moving;
    }
}

/* Appends a part in the one form that is signed: decoded, then RFC 3986. A plus of a query is a space to
 * every store, and to those who check signatures. */
static __attribute__((noinline)) int put_recoded(struct zs_text *text, u64 codec, const u8 *part, u64 length) {
    u64 written = codec == ZS_CODEC_PERCENT ? ZS_CODEC_FORM : ZS_CODEC_PERCENT;
    u64 bytes = zs_decode(written, part, length, ZS_ROOM(decoded));
    if (bytes > sizeof(decoded)) return 0;
    zs_grow(text, zs_encode(codec, decoded, bytes, ZS_REST(text)));
    return !text->full;
}

/* Removes "." and ".." and empty segments, as services other than S3 see a path (RFC 3986, 5.2.4). */
static __attribute__((noinline)) u64 normalise_path(u64 length) {
    u64 to = 0, at = 0;
    while (at < length) {
        u64 start = at + 1, end = start;
        while (end < length && path[end] != '/') end++;
        u64 bytes = end - start;
        int last = end >= length;
        if (bytes == 0 || (bytes == 1 && path[start] == '.')) {
            if (last) path[to++] = '/';
        } else if (bytes == 2 && path[start] == '.' && path[start + 1] == '.') {
            while (to > 0 && path[--to] != '/') {}
            if (last) path[to++] = '/';
        } else {
            path[to++] = '/';
            for (u64 each = 0; each < bytes; each++) path[to++] = path[start + each];
        }
        at = end;
    }
    if (to == 0) path[to++] = '/';
    return to;
}

static __attribute__((noinline)) int put_path(struct zs_text *text) {
    u64 length = zs_read_request(ZS_REQUEST_PATH, ZS_ROOM(path));
    if (length > sizeof(path)) return 0;
    if (is_s3()) return put_recoded(text, ZS_CODEC_PERCENT_PATH, path, length);
    length = normalise_path(length);
    if (zs_find_json_kind(ZS_INPUT, ZS("/config/encode_path_once")) != ZS_JSON_ABSENT)
        return put_recoded(text, ZS_CODEC_PERCENT_PATH, path, length);
    zs_grow(text, zs_encode(ZS_CODEC_PERCENT_PATH, path, length, ZS_REST(text)));
    return !text->full;
}

static __attribute__((noinline)) int put_query(struct zs_text *text) {
    struct zs_text made = ZS_TEXT(text_bytes);
    u64 length = zs_read_request(ZS_REQUEST_QUERY, ZS_ROOM(query)), count = 0, at = 0;
    if (length == ZS_NONE) length = 0;
    if (length > sizeof(query)) return 0;
    while (at < length) {
        u64 end = at, equals;
        while (end < length && query[end] != '&') end++;
        for (equals = at; equals < end && query[equals] != '='; equals++) {}
        if (end > at) {
            if (count == PARTS_MAX) return 0;
            struct part *part = &parts[count++];
            part->start = made.length;
            if (!put_recoded(&made, ZS_CODEC_PERCENT, query + at, equals - at)) return 0;
            part->name_length = made.length - part->start;
            zs_put(&made, "=", 1);
            if (equals < end && !put_recoded(&made, ZS_CODEC_PERCENT, query + equals + 1, end - equals - 1))
                return 0;
            part->length = made.length - part->start;
        }
        at = end + 1;
    }
    sort_parts(made.bytes, count, 1);
    for (u64 each = 0; each < count; each++) {
        if (each) zs_put(text, "&", 1);
        zs_put(text, made.bytes + parts[each].start, parts[each].length);
    }
    return !made.full && !text->full;
}

/* Whether a field is signed: host, content-type, x-amz-*, and what `signed_headers` names. */
static __attribute__((noinline)) int is_signed(const u8 *name, u64 length) {
    if (length > 6 && !memcmp(name, "x-amz-", 6)) return 1;
    if (length == 12 && !memcmp(name, "content-type", 12)) return 1;
    if (zs_find_json_kind(ZS_INPUT, ZS("/config/signed_headers")) == ZS_JSON_STRING) {
        u64 found = zs_read_json(ZS_INPUT, ZS("/config/signed_headers"), ZS_ROOM(config_bytes));
        u64 at = 0;
        while (found <= sizeof(config_bytes) && at < found) {
            u64 end = at;
            while (end < found && config_bytes[end] != ' ' && config_bytes[end] != ',') end++;
            if (end - at == length) {
                u64 same = 0;
                while (same < length && zs_lower(config_bytes[at + same]) == name[same]) same++;
                if (same == length) return 1;
            }
            at = end + 1;
        }
    }
    return 0;
}

/* Appends a value without spaces around it, and one for several inside. */
static __attribute__((noinline)) void put_value(struct zs_text *text, const u8 *value, u64 length) {
    u64 at = 0, begun = 0, space = 0;
    for (; at < length; at++) {
        if (value[at] == ' ' || value[at] == '\t') {
            space = begun;
            continue;
        }
        if (space) zs_put_byte(text, ' ');
        zs_put_byte(text, value[at]);
        begun = 1;
        space = 0;
    }
}

/* Appends the canonical fields, an empty line, and their names. */
static __attribute__((noinline)) int put_fields(struct zs_text *text, struct zs_text *names) {
    struct zs_text made = ZS_TEXT(text_bytes);
    u64 count = 0, host_length = zs_read_request(ZS_REQUEST_HOST, ZS_ROOM(host));
    u64 set = read_setting(ZS("/config/host"), ZS_ROOM(host));
    if (set != ZS_NONE) host_length = set;
    if (host_length > sizeof(host)) return 0;
    parts[count++] = (struct part){0, 4, (u32)(5 + host_length)};
    zs_put(&made, "host:", 5);
    zs_put(&made, host, host_length);
    for (u64 number = 0;; number++) {
        u64 start = made.length, length = zs_read_request_field(number, ZS_REST(&made)), name = 0;
        if (length == ZS_NONE) break;
        if (length > made.room - start) return 0;
        const u8 *field = made.bytes + start;
        while (name < length && field[name] != ':') name++;
        if (name == length || !is_signed(field, name)) continue;
        if (count == PARTS_MAX) return 0;
        made.length = start + length;
        parts[count++] = (struct part){(u32)start, (u32)name, (u32)length};
    }
    sort_parts(made.bytes, count, 0);
    for (u64 each = 0; each < count; each++) {
        struct part *part = &parts[each], *before = each ? part - 1 : 0;
        const u8 *name = made.bytes + part->start;
        int again = before && !zs_compare(made.bytes + before->start, before->name_length, name, part->name_length);
        if (!again) {
            if (each) zs_put(text, "\n", 1);
            zs_put(text, name, part->name_length + 1);
            if (each) zs_put(names, ";", 1);
            zs_put(names, name, part->name_length);
        } else {
            zs_put(text, ",", 1);
        }
        put_value(text, name + part->name_length + 1, part->length - part->name_length - 1);
    }
    zs_put(text, "\n\n", 2);
    zs_put(text, names->bytes, names->length);
    return !text->full && !names->full;
}

/* Whether `payload` asks for signed bodies; ZS_NONE where it is no word for that: none leaves unsigned by a slip. */
static __attribute__((noinline)) u64 signs_payload(void) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/payload"), ZS_ROOM(config_bytes));
    if (length == 0 || length == ZS_NONE) return !is_s3();
    if (length == 6 && !memcmp(config_bytes, "signed", 6)) return 1;
    return length == 8 && !memcmp(config_bytes, "unsigned", 8) ? 0 : ZS_NONE;
}

/* Writes the hash that stands for the body; returns its length, ZS_LATER, or ZS_NONE for a body too long. */
static __attribute__((noinline)) u64 hash_payload(void) {
    u8 sum[32];
    u64 length;
    if (!signs_payload()) {
        memcpy(payload, "UNSIGNED-PAYLOAD", 16);
        return 16;
    }
    length = zs_read_request_body(0, ZS_ROOM(body));
    if (length == ZS_LATER) return ZS_LATER;
    if (length > sizeof(body) || zs_count_request_body(0) != length) return ZS_NONE;
    if (zs_digest(ZS_DIGEST_SHA256, body, length, ZS_ROOM(sum)) != sizeof(sum)) return ZS_NONE;
    return zs_encode(ZS_CODEC_HEX, sum, sizeof(sum), ZS_ROOM(payload));
}

static __attribute__((noinline)) void put_hash(struct zs_text *text, const struct zs_text *of) {
    u8 sum[32];
    zs_digest(ZS_DIGEST_SHA256, of->bytes, of->length, ZS_ROOM(sum));
    zs_grow(text, zs_encode(ZS_CODEC_HEX, sum, sizeof(sum), ZS_REST(text)));
}

/* Appends the signature of a text: HMAC by a key that is derived from day, region and service. */
static __attribute__((noinline)) void put_signature(struct zs_text *out, const struct zs_text *signed_text) {
    u8 key[4 + sizeof(secret)], derived[32];
    memcpy(key, "AWS4", 4);
    memcpy(key + 4, secret, secret_length);
    zs_hmac_sha256(key, 4 + secret_length, stamp, DAY_BYTES, derived);
    zs_hmac_sha256(derived, 32, region, region_length, derived);
    zs_hmac_sha256(derived, 32, service, service_length, derived);
    zs_hmac_sha256(derived, 32, ZS("aws4_request"), derived);
    zs_hmac_sha256(derived, 32, signed_text->bytes, signed_text->length, derived);
    zs_grow(out, zs_encode(ZS_CODEC_HEX, derived, sizeof(derived), ZS_REST(out)));
}

/* Sets the date of the request: that of `time`, else now. */
static __attribute__((noinline)) int set_date(void) {
    u64 length = read_setting(ZS("/config/time"), ZS_ROOM(config_bytes)), seconds = zs_read_time(0);
    if (length != ZS_NONE) seconds = zs_parse_number(config_bytes, length);
    if (seconds == ZS_NONE) return 0;
    if (zs_format_time(seconds, ZS("%Y%m%dT%H%M%SZ"), stamp, DATE_BYTES) != DATE_BYTES) return 0;
    return !zs_write_request_header(ZS("x-amz-date"), stamp, DATE_BYTES);
}

/* Writes the canonical request; returns the hash of the body's length, ZS_LATER, or ZS_NONE. */
static __attribute__((noinline)) u64 put_request(struct zs_text *canonical, struct zs_text *names) {
    u64 payload_length = hash_payload();
    if (payload_length > sizeof(payload)) return payload_length;
    if (is_s3() && zs_write_request_header(ZS("x-amz-content-sha256"), payload, payload_length)) return ZS_NONE;
    zs_grow(canonical, zs_read_request(ZS_REQUEST_METHOD, ZS_REST(canonical)));
    zs_put(canonical, "\n", 1);
    if (!put_path(canonical)) return ZS_NONE;
    zs_put(canonical, "\n", 1);
    if (!put_query(canonical)) return ZS_NONE;
    zs_put(canonical, "\n", 1);
    if (!put_fields(canonical, names)) return ZS_NONE;
    zs_put(canonical, "\n", 1);
    zs_put(canonical, payload, payload_length);
    return canonical->full ? ZS_NONE : payload_length;
}

ZS_FUNCTION u64 sign_request(struct zs_context *context) {
    static u8 name_bytes[1024];
    struct zs_text canonical = ZS_TEXT(canonical_bytes), names = ZS_TEXT(name_bytes);
    struct zs_text scope = ZS_TEXT(scope_bytes), text = ZS_TEXT(text_bytes), line = ZS_TEXT(canonical_bytes);
    (void)context;
    if (!read_settings()) {
        zs_log_message(ZS("aws-sigv4: access_key_id and secret_access_key are needed"));
        return ZS_ERROR(500);
    }
    if (signs_payload() == ZS_NONE) {
        zs_log_message(ZS("aws-sigv4: `payload` is signed or unsigned"));
        return ZS_ERROR(500);
    }
    zs_remove_request_header(ZS("authorization"));
    if (!set_date()) return ZS_ERROR(500);
    if (token_length != ZS_NONE && zs_write_request_header(ZS("x-amz-security-token"), token, token_length))
        return ZS_ERROR(500);
    u64 made = put_request(&canonical, &names);
    if (made == ZS_LATER) return ZS_SUSPEND;
    if (made == ZS_NONE) {
        zs_log_message(ZS("aws-sigv4: the request is too long to be signed"));
        return ZS_ERROR(413);
    }
    zs_put(&scope, stamp, DAY_BYTES);
    zs_put(&scope, "/", 1);
    zs_put(&scope, region, region_length);
    zs_put(&scope, "/", 1);
    zs_put(&scope, service, service_length);
    zs_put(&scope, ZS("/aws4_request"));
    zs_put(&text, ZS(ALGORITHM "\n"));
    zs_put(&text, stamp, DATE_BYTES);
    zs_put(&text, "\n", 1);
    zs_put(&text, scope.bytes, scope.length);
    zs_put(&text, "\n", 1);
    put_hash(&text, &canonical);
    zs_put(&line, ZS(ALGORITHM " Credential="));
    zs_put(&line, key_id, key_id_length);
    zs_put(&line, "/", 1);
    zs_put(&line, scope.bytes, scope.length);
    zs_put(&line, ZS(", SignedHeaders="));
    zs_put(&line, names.bytes, names.length);
    zs_put(&line, ZS(", Signature="));
    put_signature(&line, &text);
    if (line.full || text.full || scope.full) return ZS_ERROR(500);
    return zs_write_request_header(ZS("authorization"), line.bytes, line.length) ? ZS_ERROR(500) : ZS_CONTINUE;
}

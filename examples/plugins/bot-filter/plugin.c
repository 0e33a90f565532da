/* Bot filter: refuses clients by their User-Agent, and slows those down that ask too often.
 *
 * In: `deny TEXT`, `allow TEXT` (each may be repeated; compared without case, `allow` wins), `empty deny`,
 * `limit N` requests in `window SECONDS` for each client address. Out: 403, 429 with Retry-After, or nothing. */
#include <zeroserve.h>

#define TEXTS_MAX 10

static u8 agent[1024], text[128], address[64], digits[24];

/* Whether the User-Agent holds one of the texts at a name of the configuration: one text, or an array. */
static __attribute__((noinline)) int holds(u64 agent_length, u64 text_length) {
    if (!text_length || text_length > sizeof(text)) return 0;
    for (u64 at = 0; at + text_length <= agent_length; at++) {
        u64 same = 0;
        while (same < text_length && agent[at + same] == zs_lower(text[same])) same++;
        if (same == text_length) return 1;
    }
    return 0;
}

static __attribute__((noinline)) int holds_any(u64 agent_length, const char *name, u64 name_length) {
    u8 bytes[64];
    u64 kind = zs_find_json_kind(ZS_INPUT, name, name_length), count = 1;
    if (kind == ZS_JSON_ARRAY) count = zs_count_json(ZS_INPUT, name, name_length);
    else if (kind != ZS_JSON_STRING) return 0;
    for (u64 each = 0; each < count; each++) {
        struct zs_text item = ZS_TEXT(bytes);
        zs_put(&item, name, name_length);
        if (kind == ZS_JSON_ARRAY) {
            zs_put_byte(&item, '/');
            if (each >= 100) return 0;
            if (each >= TEXTS_MAX) zs_put_byte(&item, (u8)('0' + each / 10));
            zs_put_byte(&item, (u8)('0' + each % 10));
        }
        if (holds(agent_length, zs_read_json(ZS_INPUT, item.bytes, item.length, ZS_ROOM(text)))) return 1;
    }
    return 0;
}

static __attribute__((noinline)) u64 read_number(const char *name, u64 name_length, u64 otherwise) {
    u64 length = zs_read_json(ZS_INPUT, name, name_length, ZS_ROOM(digits));
    if (length == ZS_NONE) return otherwise;
    return length <= sizeof(digits) ? zs_parse_number(digits, length) : ZS_NONE;
}

static __attribute__((noinline)) u64 check_rate(void) {
    u64 limit = read_number(ZS("/config/limit"), 0), window_s = read_number(ZS("/config/window"), 60);
    if (!limit) return ZS_CONTINUE;
    if (limit == ZS_NONE || window_s == ZS_NONE) return ZS_ERROR(500);
    u64 length = zs_read_request(ZS_REQUEST_CLIENT_IP, ZS_ROOM(address));
    if (length > sizeof(address)) return ZS_ERROR(500);
    if (zs_limit_events(address, length, limit, window_s * 1000) != 1) return ZS_CONTINUE;
    length = zs_read_json(ZS_INPUT, ZS("/config/window"), ZS_ROOM(digits));
    if (length <= sizeof(digits)) zs_write_response_header(ZS("retry-after"), digits, length);
    else zs_write_response_header(ZS("retry-after"), ZS("60"));
    return ZS_RESPOND(429);
}

ZS_FUNCTION u64 filter(struct zs_context *context) {
    u64 length = zs_read_request_header(ZS("user-agent"), ZS_ROOM(agent));
    (void)context;
    if (length == ZS_NONE) length = 0;
    if (length > sizeof(agent)) length = sizeof(agent);
    for (u64 at = 0; at < length; at++) agent[at] = zs_lower(agent[at]);
    if (holds_any(length, ZS("/config/allow"))) return ZS_CONTINUE;
    int empty = !length && zs_read_json(ZS_INPUT, ZS("/config/empty"), ZS_ROOM(text)) == 4 && !memcmp(text, "deny", 4);
    if (empty || holds_any(length, ZS("/config/deny"))) return ZS_RESPOND(403);
    return check_rate();
}

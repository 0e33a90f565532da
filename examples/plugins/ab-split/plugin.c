/* A/B split: gives each client a variant, by a field of its own, by the cookie of an earlier answer, or by lot.
 *
 * In: `split { NAME WEIGHT }`. Out: the field `X-Variant` on the request, for matchers after it in the route,
 * and a cookie that keeps the choice. Clients may ask for a variant that exists, never for another. */
#include <zeroserve.h>

#define VARIANTS_MAX 16

static u8 split[1024], field[128], cookie[128], name[128], chosen[128], line[512];

static __attribute__((noinline)) u64 read_setting(const char *at, u64 at_length, u8 *to, u64 room, const char *otherwise,
                                                  u64 otherwise_length) {
    u64 length = zs_read_json(ZS_INPUT, at, at_length, to, room);
    if (length && length <= room) return length;
    memcpy(to, otherwise, otherwise_length);
    return otherwise_length;
}

/* Number of a variant of this name in the split, or ZS_NONE. */
static __attribute__((noinline)) u64 find_variant(u64 variants, const u8 *wanted, u64 length) {
    for (u64 number = 0; number < VARIANTS_MAX; number++) {
        u64 found = zs_read_json_key(variants, number, ZS_ROOM(name));
        if (found == ZS_NONE) break;
        if (found == length && found <= sizeof(name) && !memcmp(name, wanted, length)) return number;
    }
    return ZS_NONE;
}

static __attribute__((noinline)) u64 read_weight(u64 variants, u64 number) {
    struct zs_text item = ZS_TEXT(line);
    u8 digits[8];
    zs_put_byte(&item, '/');
    zs_grow(&item, zs_read_json_key(variants, number, ZS_REST(&item)));
    u64 length = zs_read_json(variants, item.bytes, item.length, ZS_ROOM(digits));
    if (item.full || length > sizeof(digits)) return ZS_NONE;
    return zs_parse_number(digits, length);
}

/* Draws a variant by weight; its name goes to `chosen`. Returns the name's length, or ZS_NONE. */
static __attribute__((noinline)) u64 draw(u64 variants) {
    u64 total = 0, lot = 0;
    for (u64 number = 0; number < VARIANTS_MAX; number++) {
        if (zs_read_json_key(variants, number, ZS_ROOM(name)) == ZS_NONE) break;
        u64 weight = read_weight(variants, number);
        if (weight == ZS_NONE) return ZS_NONE;
        total += weight;
    }
    if (!total) return ZS_NONE;
    zs_fill_random(&lot, sizeof(lot));
    lot %= total;
    for (u64 number = 0; number < VARIANTS_MAX; number++) {
        u64 weight = read_weight(variants, number);
        if (weight == ZS_NONE) return ZS_NONE;
        if (lot < weight) {
            u64 length = zs_read_json_key(variants, number, ZS_ROOM(chosen));
            return length <= sizeof(chosen) ? length : ZS_NONE;
        }
        lot -= weight;
    }
    return ZS_NONE;
}

ZS_FUNCTION u64 choose(struct zs_context *context) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/split"), ZS_ROOM(split)), found;
    (void)context;
    u64 variants = length <= sizeof(split) ? zs_parse_json(split, length) : ZS_NONE;
    if (variants == ZS_NONE) {
        zs_log_message(ZS("ab-split: `split { NAME WEIGHT }` is needed"));
        return ZS_ERROR(500);
    }
    u64 field_length = read_setting(ZS("/config/header"), ZS_ROOM(field), ZS("X-Variant"));
    u64 cookie_length = read_setting(ZS("/config/cookie"), ZS_ROOM(cookie), ZS("variant"));
    found = zs_read_request_header(field, field_length, ZS_ROOM(chosen));
    if (found <= sizeof(chosen) && find_variant(variants, chosen, found) != ZS_NONE) return ZS_CONTINUE;
    found = zs_read_cookie(cookie, cookie_length, ZS_ROOM(chosen));
    if (found > sizeof(chosen) || find_variant(variants, chosen, found) == ZS_NONE) {
        found = draw(variants);
        if (found == ZS_NONE) return ZS_ERROR(500);
        struct zs_text text = ZS_TEXT(line);
        zs_put(&text, cookie, cookie_length);
        zs_put_byte(&text, '=');
        zs_put(&text, chosen, found);
        zs_put(&text, ZS("; Path=/; Max-Age=2592000; SameSite=Lax"));
        zs_add_response_header(ZS("set-cookie"), text.bytes, text.length);
    }
    return zs_write_request_header(field, field_length, chosen, found) ? ZS_ERROR(500) : ZS_CONTINUE;
}

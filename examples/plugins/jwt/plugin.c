/* JSON Web Tokens (RFC 7519, RFC 7515): lets through what carries a valid token, hands claims on as fields.
 *
 * In: `Authorization: Bearer`, or a cookie. Out: 401 with WWW-Authenticate (RFC 6750) unless signature, times,
 * issuer and audience hold. The rule: the algorithm is the configuration's, never the token's, so that a
 * token cannot choose a weaker one; `none` does not exist. */
#include <zeroserve.h>

#define LEEWAY_S 60
#define KEYS_MAX 8
#define SET_MAX 64

static u8 token[8192], header[512], claims[6144], key[8192], signature[1024], setting[512], value[2048], pointer[256];
static u8 set[16384], algorithm[5];
static u64 keys; /* The document of the set. */

static __attribute__((noinline)) u64 read_setting(const char *at, u64 at_length, u8 *to, u64 room) {
    u64 length = zs_read_json(ZS_INPUT, at, at_length, to, room);
    return length && length <= room ? length : ZS_NONE;
}

/* Finds the token; ZS_NONE where there is none. */
static __attribute__((noinline)) u64 find_token(void) {
    u64 length = read_setting(ZS("/config/cookie"), ZS_ROOM(setting));
    if (length != ZS_NONE) return zs_read_cookie(setting, length, ZS_ROOM(token));
    length = zs_read_request_header(ZS("authorization"), ZS_ROOM(token));
    if (length > sizeof(token) || length < 8) return ZS_NONE;
    const char *scheme = "bearer ";
    for (u64 at = 0; at < 7; at++)
        if (zs_lower(token[at]) != (u8)scheme[at]) return ZS_NONE;
    for (u64 at = 7; at < length; at++) token[at - 7] = token[at];
    return length - 7;
}

static __attribute__((noinline)) int is_text(u64 document, const char *at, u64 at_length, const char *text, u64 length) {
    u64 found = zs_read_json(document, at, at_length, ZS_ROOM(setting));
    return found == length && found <= sizeof(setting) && !memcmp(setting, text, length);
}

/* Kind of the key that tokens are signed by, ZS_NONE for an algorithm that is none of ours; its name goes to `algorithm`. */
static __attribute__((noinline)) u64 read_algorithm(void) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/algorithm"), ZS_ROOM(setting));
    if (length == ZS_NONE) memcpy(setting, "HS256", length = 5);
    if (length != 5) return ZS_NONE;
    memcpy(algorithm, setting, 5);
    return !memcmp(algorithm, "HS256", 5)   ? ZS_KEY_HMAC_SHA256
           : !memcmp(algorithm, "RS256", 5) ? ZS_KEY_RSA_PKCS1_SHA256
           : !memcmp(algorithm, "ES256", 5) ? ZS_KEY_ECDSA_P256_SHA256
           : !memcmp(algorithm, "EdDSA", 5) ? ZS_KEY_ED25519
                                            : ZS_NONE;
}

/* Reads the key at a place of the configuration (0 where it is not repeated), or the secret; ZS_NONE where there is none.
 * A public key is no secret: who forgot `algorithm` would let everybody sign. */
static __attribute__((noinline)) u64 read_key(u64 kind, u64 place) {
    struct zs_text at = ZS_TEXT(pointer);
    zs_put(&at, ZS("/config/key"));
    if (zs_find_json_kind(ZS_INPUT, at.bytes, at.length) == ZS_JSON_ARRAY) {
        zs_put_byte(&at, '/');
        zs_put_byte(&at, (u8)('0' + place));
    } else if (place) {
        return ZS_NONE;
    }
    u64 length = read_setting((const char *)at.bytes, at.length, ZS_ROOM(key));
    if (length == ZS_NONE && !place && zs_find_json_kind(ZS_INPUT, ZS("/config/secrets")) == ZS_JSON_STRING)
        length = zs_read_secret(ZS("jwt_key"), ZS_ROOM(key));
    if (!length || length > sizeof(key)) return ZS_NONE;
    u64 begin = 0;
    while (begin < length && key[begin] <= ' ') begin++;
    int is_pem = length - begin >= 11 && !memcmp(key + begin, "-----BEGIN ", 11);
    return is_pem && kind == ZS_KEY_HMAC_SHA256 ? ZS_NONE : length;
}

/* Appends a member of a key of the set to `pointer`. */
static __attribute__((noinline)) u64 point_at(u64 place, const char *member, u64 length) {
    struct zs_text at = ZS_TEXT(pointer);
    zs_put(&at, ZS("/keys/"));
    if (place > 9) zs_put_byte(&at, (u8)('0' + place / 10));
    zs_put_byte(&at, (u8)('0' + place % 10));
    zs_put(&at, member, length);
    return at.length;
}

/* Whether a member of a key of the set is this text; ZS_NONE where there is no such member. */
static __attribute__((noinline)) u64 is_member(u64 place, const char *member, u64 member_length, const void *text, u64 length) {
    u64 at = point_at(place, member, member_length);
    if (zs_find_json_kind(keys, pointer, at) == ZS_JSON_ABSENT) return ZS_NONE;
    return is_text(keys, (const char *)pointer, at, text, length);
}

/* Whether a key of the set is one for the configured algorithm (RFC 7517, 4): the key says what it is for, not the token. */
static __attribute__((noinline)) int is_for_algorithm(u64 place, u64 kind) {
    const char *type = kind == ZS_KEY_HMAC_SHA256        ? "oct"
                       : kind == ZS_KEY_RSA_PKCS1_SHA256 ? "RSA"
                       : kind == ZS_KEY_ED25519          ? "OKP"
                                                         : "EC";
    u64 length = kind == ZS_KEY_ECDSA_P256_SHA256 ? 2 : 3;
    return is_member(place, ZS("/kty"), type, length) == 1 && is_member(place, ZS("/use"), ZS("sig")) &&
           is_member(place, ZS("/alg"), algorithm, sizeof(algorithm));
}

/* Whether a key of the configured JWK set made the signature: one with the token's `kid`, any where it has none. */
static __attribute__((noinline)) u64 is_signed_by_set(u64 kind, u64 signed_length, u64 signature_length, u64 head) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/jwks"), ZS_ROOM(set)), usable = 0, tried = 0;
    keys = length > sizeof(set) ? ZS_NONE : zs_parse_json(set, length);
    if (keys == ZS_NONE) return ZS_NONE;
    u64 count = zs_count_json(keys, ZS("/keys"));
    if (count == ZS_NONE) return ZS_NONE;
    int named = zs_find_json_kind(head, ZS("/kid")) != ZS_JSON_ABSENT;
    u64 name = named ? zs_read_json(head, ZS("/kid"), ZS_ROOM(value)) : 0;
    if (name > sizeof(value)) return 0;
    for (u64 place = 0; place < count && place < SET_MAX && tried < KEYS_MAX; place++) {
        if (!is_for_algorithm(place, kind)) continue;
        usable = 1;
        if (named && is_member(place, ZS("/kid"), value, name) != 1) continue;
        length = zs_read_json(keys, pointer, point_at(place, ZS("")), ZS_ROOM(key));
        u64 number = length > sizeof(key) ? ZS_NONE : zs_import_key(ZS_KEY_JWK, key, length);
        if (number == ZS_NONE) continue;
        if (zs_verify_signature(number, token, signed_length, signature, signature_length) == 1) return 1;
        tried++;
    }
    return usable ? 0 : ZS_NONE;
}

/* Whether the signature over the first part of the token is right for a configured key; ZS_NONE where none is usable. */
static __attribute__((noinline)) u64 is_signed(u64 signed_length, u64 signature_length, u64 head) {
    u64 kind = read_algorithm(), usable = 0;
    if (kind == ZS_NONE) return ZS_NONE;
    if (zs_read_json(head, ZS("/alg"), ZS_ROOM(value)) != 5 || memcmp(algorithm, value, 5)) return 0;
    if (zs_find_json_kind(ZS_INPUT, ZS("/config/jwks")) != ZS_JSON_ABSENT)
        return is_signed_by_set(kind, signed_length, signature_length, head);
    for (u64 place = 0; place < KEYS_MAX; place++) {
        u64 length = read_key(kind, place);
        if (length == ZS_NONE) continue;
        if (kind == ZS_KEY_HMAC_SHA256) {
            u8 sum[32];
            zs_hmac_sha256(key, length, token, signed_length, sum);
            if (zs_compare_secrets(sum, sizeof(sum), signature, signature_length) == 1) return 1;
        } else {
            u64 number = zs_import_key(kind, key, length);
            if (number == ZS_NONE) continue;
            if (zs_verify_signature(number, token, signed_length, signature, signature_length) == 1) return 1;
        }
        usable = 1;
    }
    return usable ? 0 : ZS_NONE;
}

/* A number of the claims, without its fraction; ZS_NONE for anything else. */
static __attribute__((noinline)) u64 read_number(u64 document, const char *at, u64 at_length) {
    if (zs_find_json_kind(document, at, at_length) != ZS_JSON_NUMBER) return ZS_NONE;
    u64 length = zs_read_json(document, at, at_length, ZS_ROOM(value));
    if (length > sizeof(value)) return ZS_NONE;
    for (u64 each = 0; each < length; each++)
        if (value[each] == '.') length = each;
    return zs_parse_number(value, length);
}

static __attribute__((noinline)) int is_in_time(u64 document) {
    u64 now = zs_read_time(0), leeway = LEEWAY_S;
    u64 length = read_setting(ZS("/config/leeway"), ZS_ROOM(setting));
    if (length != ZS_NONE) leeway = zs_parse_number(setting, length);
    if (leeway == ZS_NONE) return 0;
    if (zs_find_json_kind(document, ZS("/exp")) != ZS_JSON_ABSENT) {
        u64 expires = read_number(document, ZS("/exp"));
        if (expires == ZS_NONE || now > expires + leeway) return 0;
    } else if (!is_text(ZS_INPUT, ZS("/config/allow_endless"), ZS("yes")) &&
               !is_text(ZS_INPUT, ZS("/config/allow_endless"), ZS("true"))) {
        return 0;
    }
    if (zs_find_json_kind(document, ZS("/nbf")) != ZS_JSON_ABSENT) {
        u64 begins = read_number(document, ZS("/nbf"));
        if (begins == ZS_NONE || now + leeway < begins) return 0;
    }
    return 1;
}

/* Whether a claim, a text or an array of texts, has the value that the configuration asks for, if it does. */
static __attribute__((noinline)) int has_wanted(u64 document, const char *at, u64 at_length, const char *name, u64 name_length) {
    u64 wanted = read_setting(at, at_length, ZS_ROOM(value));
    if (wanted == ZS_NONE) return zs_find_json_kind(ZS_INPUT, at, at_length) == ZS_JSON_ABSENT;
    u64 kind = zs_find_json_kind(document, name, name_length);
    if (kind == ZS_JSON_STRING) return is_text(document, name, name_length, (const char *)value, wanted);
    if (kind != ZS_JSON_ARRAY) return 0;
    u64 count = zs_count_json(document, name, name_length);
    for (u64 each = 0; each < count && each < 10; each++) {
        struct zs_text item = ZS_TEXT(pointer);
        zs_put(&item, name, name_length);
        zs_put_byte(&item, '/');
        zs_put_byte(&item, (u8)('0' + each));
        if (is_text(document, (const char *)item.bytes, item.length, (const char *)value, wanted)) return 1;
    }
    return 0;
}

/* Appends a step of a JSON pointer (RFC 6901, 3): claims may be named by URLs. */
static __attribute__((noinline)) void put_step(struct zs_text *text, const u8 *name, u64 length) {
    zs_put_byte(text, '/');
    for (u64 at = 0; at < length; at++) {
        if (name[at] == '~') zs_put(text, ZS("~0"));
        else if (name[at] == '/') zs_put(text, ZS("~1"));
        else zs_put_byte(text, name[at]);
    }
}

/* Sets the fields that `claims { NAME FIELD }` asks for; a claim that is absent removes its field. */
static __attribute__((noinline)) int forward_claims(u64 document) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/claims"), ZS_ROOM(value));
    if (length > sizeof(value)) return length == ZS_NONE;
    u64 wanted = zs_parse_json(value, length);
    if (wanted == ZS_NONE) return 0;
    for (u64 number = 0; number < 32; number++) {
        struct zs_text item = ZS_TEXT(pointer);
        length = zs_read_json_key(wanted, number, ZS_ROOM(setting));
        if (length == ZS_NONE) return 1;
        if (length > sizeof(setting)) return 0;
        put_step(&item, setting, length);
        u64 field = zs_read_json(wanted, item.bytes, item.length, ZS_ROOM(setting));
        if (item.full || field > sizeof(setting)) return 0;
        length = zs_read_json(document, item.bytes, item.length, ZS_ROOM(value));
        if (length > sizeof(value)) {
            zs_remove_request_header(setting, field);
        } else if (zs_write_request_header(setting, field, value, length)) {
            return 0;
        }
    }
    return 0;
}

static __attribute__((noinline)) u64 refuse(const char *why, u64 length) {
    struct zs_text text = ZS_TEXT(value);
    zs_put(&text, ZS("Bearer"));
    if (length) {
        zs_put(&text, ZS(" error=\"invalid_token\", error_description=\""));
        zs_put(&text, why, length);
        zs_put(&text, ZS("\""));
    }
    zs_write_response_header(ZS("www-authenticate"), text.bytes, text.length);
    return ZS_RESPOND(401);
}

ZS_FUNCTION u64 verify(struct zs_context *context) {
    u64 length = find_token(), dots[2], count = 0;
    (void)context;
    if (length > sizeof(token)) return refuse("", 0);
    dots[0] = dots[1] = 0;
    for (u64 at = 0; at < length; at++) {
        if (token[at] != '.') continue;
        if (count == 2) return refuse(ZS("malformed"));
        dots[count ? 1 : 0] = at;
        count++;
    }
    if (count != 2) return refuse(ZS("malformed"));
    u64 first = dots[0], second = dots[1];
    u64 head_length = zs_decode(ZS_CODEC_BASE64_URL, token, first, ZS_ROOM(header));
    u64 claims_length = zs_decode(ZS_CODEC_BASE64_URL, token + first + 1, second - first - 1, ZS_ROOM(claims));
    u64 mac_length = zs_decode(ZS_CODEC_BASE64_URL, token + second + 1, length - second - 1, ZS_ROOM(signature));
    if (head_length > sizeof(header) || claims_length > sizeof(claims) || mac_length > sizeof(signature))
        return refuse(ZS("malformed"));
    u64 head = zs_parse_json(header, head_length);
    /* Extensions that must be understood and are not (RFC 7515, 4.1.11). */
    if (head == ZS_NONE || zs_find_json_kind(head, ZS("/crit")) != ZS_JSON_ABSENT) return refuse(ZS("malformed"));
    u64 right = is_signed(second, mac_length, head);
    if (right == ZS_NONE) {
        zs_log_message(ZS("jwt: no `key` or key of `jwks` fits `algorithm`: RS256, ES256 and EdDSA take a public key, HS256 a secret"));
        return ZS_ERROR(500);
    }
    if (!right) return refuse(ZS("signature"));
    u64 document = zs_parse_json(claims, claims_length);
    if (document == ZS_NONE) return refuse(ZS("malformed"));
    if (!is_in_time(document)) return refuse(ZS("expired"));
    if (!has_wanted(document, ZS("/config/issuer"), ZS("/iss"))) return refuse(ZS("issuer"));
    if (!has_wanted(document, ZS("/config/audience"), ZS("/aud"))) return refuse(ZS("audience"));
    return forward_claims(document) ? ZS_CONTINUE : ZS_ERROR(500);
}

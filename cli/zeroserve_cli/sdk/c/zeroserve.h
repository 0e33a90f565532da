/* zeroserve.h: what a plugin in C needs, and all that there is.
 *
 * A function that routes may call:
 *
 *     ZS_FUNCTION unsigned long long hello(struct zs_context *context) {
 *         zs_write_response_header(ZS("X-Hello"), ZS("world"));
 *         return ZS_CONTINUE;
 *     }
 *
 * There is no libc, no heap allocation and no state between requests other than what helpers keep: global
 * variables begin anew at every call. A frame holds 512 bytes; larger buffers are static variables.
 * Helpers are in zeroserve_abi.h. Those that copy out return the whole length, which may exceed the room
 * given; ZS_NONE where there is nothing; ZS_LATER where it is not known yet: return ZS_SUSPEND then, and
 * the function is called again from its beginning. */
#pragma once
#include "zeroserve_abi.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/* Where a function runs: by `zeroserve_call`, before the routes of a host, or once there is an answer. */
#define ZS_FUNCTION __attribute__((section("function"), used))
#define ZS_REQUEST __attribute__((section("request"), used))
#define ZS_RESPONSE __attribute__((section("response"), used))

/* Two arguments, address and length: of a string literal, and of an array to write to. */
#define ZS(text) ("" text), (sizeof(text) - 1)
#define ZS_ROOM(array) (array), sizeof(array)

/* Document 0 is the function's input: {"version": 1, "config": {...}, "route": {...}}. */
#define ZS_INPUT 0ULL
#define ZS_NONE (~0ULL)
#define ZS_LATER (~1ULL)

/* What a function returns. */
#define ZS_CONTINUE 0ULL
#define ZS_RESPOND(status) (1ULL | (u64)(status) << 8)
#define ZS_PROXY(upstream) (2ULL | (u64)(upstream) << 32)
#define ZS_ABORT 4ULL
#define ZS_ERROR(status) (5ULL | (u64)(status) << 8)
#define ZS_SUSPEND 6ULL
#define ZS_ADOPT 9ULL

#define ZS_INLINE static inline __attribute__((always_inline, unused))

/* Whether a length that a helper gave is that of something which fits into the room. */
ZS_INLINE int zs_fits(u64 length, u64 room) { return length <= room; }

/* The compiler calls these by itself, for structures and arrays. */
#define ZS_LIBRARY __attribute__((weak, noinline, no_builtin))
ZS_LIBRARY void *memcpy(void *to, const void *from, unsigned long bytes) {
    for (u64 at = 0; at < bytes; at++) ((u8 *)to)[at] = ((const u8 *)from)[at];
    return to;
}
ZS_LIBRARY void *memset(void *to, int value, unsigned long bytes) {
    for (u64 at = 0; at < bytes; at++) ((u8 *)to)[at] = (u8)value;
    return to;
}
ZS_LIBRARY void *memmove(void *to, const void *from, unsigned long bytes) {
    if ((u64)to <= (u64)from) return memcpy(to, from, bytes);
    for (u64 at = bytes; at > 0; at--) ((u8 *)to)[at - 1] = ((const u8 *)from)[at - 1];
    return to;
}
ZS_LIBRARY int memcmp(const void *left, const void *right, unsigned long bytes) {
    for (u64 at = 0; at < bytes; at++) {
        int difference = ((const u8 *)left)[at] - ((const u8 *)right)[at];
        if (difference) return difference;
    }
    return 0;
}

/* Text that grows in a buffer. What does not fit is not written and sets `full`. */
struct zs_text {
    u8 *bytes;
    u64 room;
    u64 length;
    u64 full;
};
#define ZS_TEXT(array) {(u8 *)(array), sizeof(array), 0, 0}

ZS_INLINE void zs_put(struct zs_text *text, const void *bytes, u64 length) {
    if (length > text->room - text->length) {
        text->full = 1;
        return;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}
ZS_INLINE void zs_put_byte(struct zs_text *text, u8 byte) { zs_put(text, &byte, 1); }

/* A number in decimal digits. */
static __attribute__((unused, noinline)) void zs_put_number(struct zs_text *text, u64 number) {
    u8 digits[20];
    u64 at = sizeof(digits);
    do digits[--at] = '0' + (u8)(number % 10);
    while (number /= 10);
    zs_put(text, digits + at, sizeof(digits) - at);
}

/* Where a helper may write the rest of a text: address and room; `zs_grow` takes the length it gave. */
#define ZS_REST(text) ((text)->bytes + (text)->length), ((text)->room - (text)->length)
ZS_INLINE void zs_grow(struct zs_text *text, u64 length) {
    if (length > text->room - text->length) {
        text->full = 1;
        return;
    }
    text->length += length;
}

ZS_INLINE u8 zs_lower(u8 byte) { return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte; }

/* Order of two texts by their bytes: below 0, 0, or above. */
static __attribute__((unused, noinline)) i64 zs_compare(const u8 *left, u64 left_length, const u8 *right,
                                                        u64 right_length) {
    u64 shorter = left_length < right_length ? left_length : right_length;
    int difference = memcmp(left, right, shorter);
    return difference ? difference : (i64)left_length - (i64)right_length;
}

/* Number that decimal digits mean; ZS_NONE for anything else. */
static __attribute__((unused, noinline)) u64 zs_parse_number(const u8 *digits, u64 length) {
    u64 number = 0;
    if (!length || length > 18) return ZS_NONE;
    for (u64 at = 0; at < length; at++) {
        if (digits[at] < '0' || digits[at] > '9') return ZS_NONE;
        number = number * 10 + (digits[at] - '0');
    }
    return number;
}

/* What a plugin may try against the engine and its neighbours; test_attacks.py says how each must end. */
#include <zeroserve.h>

#define TRY(name) ZS_FUNCTION u64 name(struct zs_context *context)
#define EACH(at, texts) for (u64 at = 0; at < sizeof texts / sizeof *texts; at++)
#define WAIT() \
    if (zs_read_request_body(0, other, sizeof other) == ZS_LATER) return ZS_SUSPEND

struct text {
    u64 length;
    u8 bytes[56];
};
#define TEXT(literal) {sizeof(literal) - 1, literal}

static u8 place[256], other[256], large[16384];

/* Answers with a signed number. */
static __attribute__((noinline)) u64 show(u64 number) {
    u64 at = sizeof large, left = (i64)number < 0 ? -number : number;
    do large[--at] = '0' + left % 10;
    while (left /= 10);
    if ((i64)number < 0) large[--at] = '-';
    zs_set_response_body(large + at, sizeof large - at);
    return ZS_RESPOND(200);
}

static __attribute__((noinline)) u64 put(u8 *to, const char *text) {
    u64 length = 0;
    for (; text[length]; length++) to[length] = text[length];
    return length;
}

/* A number that no verifier knows. */
static __attribute__((noinline)) u64 hide(u64 number) {
    static volatile u64 kept;
    kept = number;
    return kept;
}

/* What a helper reads and what it writes is the same memory. */
TRY(encodes_over_itself) {
    put(place, "moon");
    zs_set_response_body(place, zs_encode(ZS_CODEC_HEX, place, 4, ZS_ROOM(place)));
    return ZS_RESPOND(200);
}
TRY(encodes_beside_itself) {
    put(place, "moon");
    zs_set_response_body(place + 2, zs_encode(ZS_CODEC_HEX, place, 4, place + 2, 64));
    return ZS_RESPOND(200);
}
TRY(signs_over_its_key) {
    put(place, "key of thirty-two bytes and more");
    zs_hmac_sha256(place, 32, place, 32, other);
    zs_hmac_sha256(place, 32, place, 32, place);
    return show(memcmp(place, other, 32));
}
TRY(reads_a_field_over_its_name) {
    put(place, "X-A");
    zs_set_response_body(place, zs_read_request_header(place, 3, ZS_ROOM(place)));
    return ZS_RESPOND(200);
}
TRY(reads_json_over_its_pointer) {
    put(place, "/a{\"a\":\"x\"}");
    u64 document = zs_parse_json(place + 2, 9);
    zs_set_response_body(place, zs_read_json(document, place, 2, place, 64));
    return ZS_RESPOND(200);
}
TRY(overwrites_its_frame) {
    u8 frame[64];
    return show(zs_fill_random(frame, sizeof frame));
}

/* Lengths and numbers near the ends of what a register holds. */
TRY(length_2_32) { return show(zs_log_message(place, hide(1ULL << 32))); }
TRY(length_above_2_32) { return show(zs_log_message(place, hide((1ULL << 32) + 4))); }
TRY(length_2_63) { return show(zs_log_message(place, hide(1ULL << 63))); }
TRY(length_of_all) { return show(zs_log_message(place, hide(~0ULL))); }
TRY(pointer_above_2_32) { return show(zs_log_message((void *)hide((u64)place | 1ULL << 32), 4)); }
TRY(pointer_around) { return show(zs_log_message((void *)hide(~0ULL - 3), 8)); }
TRY(room_past_the_heap) { return show(zs_fill_random((void *)hide(HEAP_END - 4), 8)); }
TRY(room_in_constants) { return show(zs_fill_random((void *)hide(CONSTANTS), 8)); }
TRY(body_offset_2_63) {
    WAIT();
    return show(zs_read_request_body(1ULL << 63, ZS_ROOM(place)));
}
TRY(time_without_end) { return show(zs_format_time(~0ULL, ZS("%Y"), ZS_ROOM(place))); }
TRY(value_for_ever) {
    zs_write_value(ZS("k"), ZS("v"), ~0ULL);
    return show(zs_read_value(ZS("k"), ZS_ROOM(place)));
}
TRY(sum_too_large) {
    zs_remove_value(ZS("n"));
    zs_add_value(ZS("n"), ~0ULL >> 1, 10);
    return show(zs_add_value(ZS("n"), 1, 10));
}
TRY(events_without_end) { return show(zs_limit_events(ZS("e"), ~0ULL, ~0ULL)); }
TRY(window_without_end) { return show(zs_limit_events(ZS("w"), 5, ~0ULL)); }
TRY(counter_2_63) { return show(zs_count_metric(1ULL << 63, 1)); }
TRY(kind_of_key_2_40) { return show(zs_import_key(1ULL << 40, ZS("x"))); }
TRY(document_2_63) { return show(zs_count_json(1ULL << 63, ZS(""))); }

/* What was had before a wait. */
TRY(key_of_before) {
    if (zs_read_request_body(0, ZS_ROOM(other)) == ZS_LATER) {
        zs_import_key(0, ZS("key"));
        return ZS_SUSPEND;
    }
    return show(zs_sign(0, ZS("text"), ZS_ROOM(place)));
}
TRY(document_of_before) {
    if (zs_read_request_body(0, ZS_ROOM(other)) == ZS_LATER) {
        zs_parse_json(ZS("{}"));
        return ZS_SUSPEND;
    }
    return show(zs_find_json_kind(1, ZS("")));
}
TRY(memory_of_before) {
    u64 seen = place[0];
    place[0] = 7;
    WAIT();
    return show(seen);
}
TRY(answer_of_nobody) { return show(zs_read_fetched_body(0, ZS_ROOM(place))); }
TRY(adopts_nothing) { return ZS_ADOPT; }
TRY(waits_for_nothing) { return ZS_SUSPEND; }
TRY(waits_twice) {
    WAIT();
    return ZS_SUSPEND;
}
TRY(asks_for_ever) {
    u64 document = zs_parse_json(ZS("{\"upstream\":\"api\"}")), count = 0;
    for (;; count++) {
        u64 status = zs_fetch(document);
        if (status == ZS_LATER) return ZS_SUSPEND;
        if (status == ZS_NONE) return show(count);
    }
}
TRY(asks_oddly) {
    static const struct text members[] = {
        TEXT("/method GET / HTTP/1.1\r\nX: "), TEXT("/path /a HTTP/1.1\r\nX: y"), TEXT("/path http://other/"),
        TEXT("/path /a#b"),  TEXT("/headers/Host evil"),       TEXT("/headers/Content-Length 5"),
        TEXT("/headers/X-A 1\r\nX-Evil: 1"), TEXT("/headers/Transfer-Encoding chunked"), TEXT("/upstream nobody"),
    };
    u64 asked = 0;
    EACH(at, members) {
        u64 document = zs_parse_json(ZS("{\"upstream\":\"api\"}")), space = 0;
        const struct text *text = &members[at];
        while (text->bytes[space] != ' ') space++;
        zs_write_json_string(document, text->bytes, space, text->bytes + space + 1, text->length - space - 1);
        asked += zs_fetch(document) != ZS_NONE;
    }
    return show(asked);
}

/* What grows. */
TRY(notes_without_end) {
    u64 count = 0;
    for (u64 at = 0; at < 100; at++) {
        place[0] = at;
        count += zs_write_metadata(place, 8, large, 500) == 0;
    }
    return show(count);
}
TRY(large_notes) {
    u64 count = 0;
    while (zs_write_metadata(ZS("n"), ZS_ROOM(large)) == 0) count++;
    return show(count);
}
TRY(notes_who_it_is) {
    zs_write_metadata(ZS("../http.auth.user.id"), ZS("root"));
    zs_write_metadata(ZS("http.auth.user.id"), ZS("root"));
    return ZS_CONTINUE;
}
TRY(deep_json) {
    memset(large, '[', 300);
    return show(zs_parse_json(large, 300));
}
TRY(deepest_json) {
    memset(large, '[', 127);
    memset(large + 127, ']', 127);
    for (u64 at = 0; at < 64; at += 2) place[at] = '/', place[at + 1] = 'a';
    u64 document = zs_parse_json(ZS("{}"));
    u64 written = zs_write_json(document, place, 64, large, 254);
    return show(written ? written : zs_print_json(document, ZS_ROOM(large)));
}
TRY(huge_number) { return show(zs_parse_json(ZS("1e999999999"))); }
TRY(large_documents) {
    u64 document = zs_parse_json(ZS("{}")), count = 0;
    memset(large, 'x', sizeof large);
    while (zs_write_json_string(document, ZS("/a"), ZS_ROOM(large)) == 0) count++;
    return show(count);
}
TRY(documents_of_small_objects) {
    static const char object[] = "{\"\":0},";
    u64 length = 0, count = 0;
    large[length++] = '[';
    while (length + sizeof object < sizeof large) length += put(large + length, object);
    large[length++] = '0';
    large[length++] = ']';
    while (zs_parse_json(large, length) != ZS_NONE) count++;
    return show(count);
}
TRY(documents_of_new_levels) {
    u64 document = zs_parse_json(ZS("{}")), count = 0;
    memcpy(place, "/aaaa/a/a/a/a/a/a/a/a/a/a", 25);
    do for (u64 left = count, at = 1; at < 5; at++, left >>= 4) place[at] = 'a' + left % 16;
    while (zs_write_json(document, place, 25, ZS("0")) == 0 && ++count);
    return show(count);
}
TRY(documents_without_end) {
    u64 count = 0;
    while (zs_parse_json(ZS("0")) != ZS_NONE) count++;
    return show(count);
}
TRY(keys_without_end) {
    u64 count = 0;
    while (zs_import_key(0, ZS("key")) != ZS_NONE) count++;
    return show(count);
}
TRY(values_without_end) {
    u64 count = 0;
    while (count < 5000) {
        *(u64 *)place = count;
        if (zs_write_value(place, 8, ZS("v"), 60)) break;
        count++;
    }
    return show(count <= 4096);
}
TRY(fields_without_end) {
    u64 count = 0;
    while (count < 400 && zs_add_request_header(ZS("X-Many"), ZS("v")) == 0) count++;
    return show(count > 200 && count <= 256);
}

/* What would begin another line, message or field. */
TRY(logs_lines) { return show(zs_log_message(ZS("\r\n{\"part\":\"forged\"}\x1b[31m"))); }
TRY(calls_by_a_name_of_lines) { return show(zs_call_function(ZS("attacker no\r\n\x1b[2Jsuch"), ZS("{}"))); }
TRY(calls_by_odd_names) {
    static const struct text names[] = {
        TEXT(""), TEXT(" "), TEXT("friend"), TEXT("friend "), TEXT(" friend fine"), TEXT("friend  fine"),
        TEXT("../friend fine"), TEXT("friend fine\0"), TEXT("/friend fine"), TEXT("FRIEND fine"), TEXT("friend\nfine"),
    };
    u64 found = 0;
    EACH(at, names) found += zs_call_function(names[at].bytes, names[at].length, ZS("{}")) != ZS_NONE;
    return show(found);
}
TRY(values_of_lines) {
    static const struct text values[] = {TEXT("1\r\nX-Evil: 1"), TEXT("1\nX-Evil: 1"), TEXT("1\rX"), TEXT("1\0X")};
    u64 written = 0;
    EACH(at, values) {
        written += zs_write_response_header(ZS("X-A"), values[at].bytes, values[at].length) == 0;
        written += zs_add_response_header(ZS("X-A"), values[at].bytes, values[at].length) == 0;
        written += zs_write_request_header(ZS("X-A"), values[at].bytes, values[at].length) == 0;
        written += zs_add_request_header(ZS("X-A"), values[at].bytes, values[at].length) == 0;
    }
    return show(written);
}
TRY(names_of_the_engine) {
    static const struct text names[] = {
        TEXT("X-Evil: 1\r\nX-B"), TEXT(""), TEXT("X A"), TEXT("X\0A"), TEXT("X:"), TEXT("Content-Length"),
        TEXT("content-length"), TEXT("Transfer-Encoding"), TEXT("Connection"), TEXT("Keep-Alive"), TEXT("Upgrade"),
        TEXT("Proxy-Connection"), TEXT("TE"),
    };
    u64 written = 0;
    EACH(at, names) {
        written += zs_write_response_header(names[at].bytes, names[at].length, ZS("5")) == 0;
        written += zs_add_response_header(names[at].bytes, names[at].length, ZS("5")) == 0;
        written += zs_write_request_header(names[at].bytes, names[at].length, ZS("5")) == 0;
        written += zs_add_request_header(names[at].bytes, names[at].length, ZS("5")) == 0;
    }
    return show(written);
}
TRY(methods_of_lines) {
    static const struct text methods[] = {
        TEXT("GET / HTTP/1.1\r\nX: "), TEXT("G ET"), TEXT(""), TEXT("GET\r"), TEXT("GET\0"), TEXT("G\xc3\xa4T"),
    };
    u64 written = 0;
    EACH(at, methods) written += zs_write_request(ZS_REQUEST_METHOD, methods[at].bytes, methods[at].length) == 0;
    return show(written);
}
TRY(paths_of_lines) {
    static const struct text paths[] = {
        TEXT("/a b"), TEXT("/a\r\nX: y"), TEXT("a"), TEXT(""), TEXT("/a#b"), TEXT("/\xff"), TEXT("/a\0"), TEXT("*"),
        TEXT("http://other/"),
    };
    u64 written = 0;
    EACH(at, paths) {
        written += zs_write_request(ZS_REQUEST_PATH, paths[at].bytes, paths[at].length) == 0;
        written += zs_write_request(ZS_REQUEST_URI, paths[at].bytes, paths[at].length) == 0;
    }
    return show(written);
}
TRY(queries_of_lines) {
    static const struct text queries[] = {TEXT("a b"), TEXT("a\r\nX: y"), TEXT("a#b"), TEXT("\xff"), TEXT("a\0")};
    u64 written = 0;
    EACH(at, queries) written += zs_write_request(ZS_REQUEST_QUERY, queries[at].bytes, queries[at].length) == 0;
    return show(written);
}

/* Methods and statuses that decide where a message ends. */
TRY(goes_on_as_connect) {
    zs_write_request(ZS_REQUEST_METHOD, ZS("CONNECT"));
    return ZS_CONTINUE;
}
TRY(goes_on_as_head) {
    zs_write_request(ZS_REQUEST_METHOD, ZS("HEAD"));
    return ZS_CONTINUE;
}
TRY(switches_protocols) { return ZS_RESPOND(101); }
TRY(informs) { return show(zs_set_response_status(103)); }
TRY(no_content_with_a_body) {
    zs_set_response_body(ZS("HTTP/1.1 200 OK\r\n\r\n"));
    return ZS_RESPOND(204);
}
TRY(not_modified_with_a_body) {
    zs_set_response_body(ZS("HTTP/1.1 200 OK\r\n\r\n"));
    return ZS_RESPOND(304);
}
TRY(status_1000) { return ZS_RESPOND(1000); }
TRY(error_200) { return ZS_ERROR(200); }

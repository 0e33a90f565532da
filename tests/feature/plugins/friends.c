/* Neighbours of what attacks.c tries, and what has fewer grants than its friends. */
#include <zeroserve.h>

static u8 place[256];

ZS_FUNCTION u64 fine(struct zs_context *context) {
    zs_set_response_body(ZS("of a friend"));
    return ZS_RESPOND(200);
}
ZS_FUNCTION u64 is_alone(struct zs_context *context) {
    for (u64 at = 0; at < sizeof place; at++)
        if (place[at]) return ZS_ERROR(418);
    place[7] = 1;
    if (zs_read_value(ZS("k"), ZS_ROOM(place)) != ZS_NONE) return ZS_ERROR(419);
    if (zs_write_value(ZS("mine"), ZS("v"), 60)) return ZS_ERROR(420);
    return ZS_CONTINUE;
}
ZS_FUNCTION u64 returns_a_friend_s_verdict(struct zs_context *context) {
    return zs_call_function(ZS("friend fine"), ZS("{}"));
}
ZS_RESPONSE u64 refuses_every_answer(struct zs_context *context) { return ZS_ERROR(451); }

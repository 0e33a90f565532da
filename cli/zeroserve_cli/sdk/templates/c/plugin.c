/* Answers with a greeting: `zeroserve_call @NAME@ greet { greeting TEXT }`. */
#include <zeroserve.h>

static u8 bytes[1024];

ZS_FUNCTION u64 greet(struct zs_context *context) {
    struct zs_text answer = ZS_TEXT(bytes);
    (void)context;

    zs_grow(&answer, zs_read_json(ZS_INPUT, ZS("/config/greeting"), ZS_REST(&answer)));
    zs_put(&answer, ZS(", "));
    u64 length = zs_read_query(ZS("name"), ZS_REST(&answer));
    if (length == ZS_NONE) {
        zs_put(&answer, ZS("world"));
    } else {
        zs_grow(&answer, length);
    }
    zs_put(&answer, ZS("\n"));
    if (answer.full) return ZS_ERROR(414);

    zs_write_response_header(ZS("Content-Type"), ZS("text/plain; charset=utf-8"));
    zs_set_response_body(answer.bytes, answer.length);
    return ZS_RESPOND(200);
}

//! Answers with a greeting: `zeroserve_call @NAME@ greet { greeting TEXT }`.
const zs = @import("zeroserve");

var bytes: [1024]u8 = undefined;

export fn greet(_: *const zs.Context) linksection("function") zs.Verdict {
    var answer = zs.Text{ .room = &bytes };
    answer.grow(zs.read_json(zs.INPUT, "/config/greeting", answer.rest()));
    answer.put(", ");
    switch (zs.read_query("name", answer.rest())) {
        zs.NONE => answer.put("world"),
        else => |length| answer.grow(length),
    }
    answer.put("\n");
    if (answer.full) return zs.raise(414);

    _ = zs.write_response_header("Content-Type", "text/plain; charset=utf-8");
    _ = zs.set_response_body(answer.slice());
    return zs.respond(200);
}

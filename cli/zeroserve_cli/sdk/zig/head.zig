//! What a plugin in Zig needs, and all that there is beside the parts of `std` that need no system.
//!
//!     const zs = @import("zeroserve");
//!
//!     export fn hello(_: *const zs.Context) linksection("function") zs.Verdict {
//!         _ = zs.write_response_header("X-Hello", "world");
//!         return zs.CONTINUE;
//!     }
//!
//! There is no allocation and no state between requests other than what helpers keep: globals begin anew at every
//! call. A frame holds 512 bytes; larger buffers are globals. Helpers that copy out give the whole length, which may
//! exceed the room; NONE where there is nothing; LATER where it is not known yet: return SUSPEND then, and the
//! function is called again. Sections: "function" (by `zeroserve_call`), "request", "response".

/// Document 0 is the function's input: {"version": 1, "config": {...}, "route": {...}}.
pub const INPUT: u64 = 0;
pub const NONE: u64 = ~@as(u64, 0);
pub const LATER: u64 = ~@as(u64, 1);

/// What a function returns.
pub const Verdict = u64;
pub const CONTINUE: Verdict = 0;
pub const ABORT: Verdict = 4;
pub const SUSPEND: Verdict = 6;
pub const ADOPT: Verdict = 9;

/// The answer that the helpers made, with this status.
pub fn respond(status: u16) Verdict {
    return 1 | @as(u64, status) << 8;
}

/// To an upstream, by the number that `find_upstream` gave.
pub fn proxy(upstream: u32) Verdict {
    return 2 | @as(u64, upstream) << 32;
}

/// To the error routes.
pub fn raise(status: u16) Verdict {
    return 5 | @as(u64, status) << 8;
}

/// Text that grows in a buffer. What does not fit is not written and sets `full`.
pub const Text = struct {
    room: []u8,
    length: usize = 0,
    full: bool = false,

    pub fn put(self: *Text, bytes: []const u8) void {
        if (bytes.len > self.room.len - self.length) {
            self.full = true;
            return;
        }
        for (bytes, self.room[self.length..][0..bytes.len]) |byte, *place| place.* = byte;
        self.length += bytes.len;
    }

    /// A number in decimal digits.
    pub fn put_number(self: *Text, number: u64) void {
        var digits: [20]u8 = undefined;
        var at: usize = digits.len;
        var left = number;
        while (true) {
            at -= 1;
            digits[at] = '0' + @as(u8, @intCast(left % 10));
            left /= 10;
            if (left == 0) break;
        }
        self.put(digits[at..]);
    }

    /// Where a helper may write; `grow` takes the length that it gave.
    pub fn rest(self: *Text) []u8 {
        return self.room[self.length..];
    }

    pub fn grow(self: *Text, length: u64) void {
        if (length > self.room.len - self.length) {
            self.full = true;
        } else {
            self.length += @intCast(length);
        }
    }

    pub fn slice(self: *const Text) []const u8 {
        return self.room[0..self.length];
    }
};


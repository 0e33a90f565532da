"""Programs of real sites with some of their bytes changed.

Their helper calls become calls of a helper that needs no table, or 0 where nothing is given to them, so that
what follows a match is reached. All registers hold a number first, and bytes are changed where that gives an
instruction: else nine of ten programs are refused, for registers that nobody wrote or for reserved fields.
"""

from functools import cache

from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument
from zeroserve_ir.program.encoding import encode, scan
from zeroserve_ir.program.isa import R0, Binary, Malformed, Operator, Register
from zeroserve_ir.program.lowering import lower_site

_SLOT = 8
_CALL, _WIDE = 0x85, 0x18
_GIVEN = 3
"""r1 and r2 are given to a program (`abi`), r0 and the others begin here."""
_TRIES_MAX = 8
"""Of one change, until it gives an instruction; the last one is kept as it is."""
HASHED_PATHS = 12
"""Told apart by a hash, whose index into the constants is masked (`zeroserve_ir.program.hashing`)."""
_SITES = """
a.test {
	@api path /api/* /v2/*
	handle @api {
		header X-Kind api
		reverse_proxy 127.0.0.1:1 127.0.0.1:2
	}
	handle_path /static/* {
		rewrite /files{uri}
		respond "static" 200
	}
	redir /old /new 308
	@secret {
		header Authorization *
		method GET POST
		not path /public/*
	}
	basic_auth @secret {
		joe $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	respond 404
}
b.test {
	route /a* {
		uri strip_prefix /a
		request_body {
			max_size 10MB
		}
		reverse_proxy 127.0.0.1:3
	}
	@slow path_regexp name ^/x/(.*)$
	respond @slow "{re.name.1}"
	handle_errors {
		respond "{err.status_code}"
	}
}
c.test {
	map {path} {kind} {
		/a one
		default two
	}
	vars {kind} x
	@vars vars kind one
	abort @vars
	error /gone 410
	file_server
}
d.test {
"""
_SITES += "".join(f"	respond /route{number}/* {200 + number}\n" for number in range(HASHED_PATHS)) + "}\n"


@cache
def read_programs():
    """Return (code, bytes of constants) of the sites, without helper calls that need tables."""
    configuration, diagnostics = read_configuration(_SITES)
    assert not diagnostics, diagnostics
    lowered = [lower_site(site) for site in configuration.sites]
    beginning = b"".join(
        encode(Binary(Operator.MOV, 64, register, register.number))
        for register in (R0, *list(Register)[_GIVEN:-1])
    )
    return [(beginning + _replace_calls(one.code), len(one.constants)) for one in lowered]


def _replace_calls(code):
    number = abi.BY_NAME["limit_request_body"].number
    changed = bytearray(code)
    for slot in range(0, len(code), _SLOT):
        if code[slot] == _CALL and code[slot + 1] >> 4 == 0:
            called = abi.BY_NUMBER[int.from_bytes(code[slot + 4 : slot + 8], "little")]
            if any(argument is not Argument.NONE for argument in called.arguments):
                changed[slot + 4 : slot + 8] = number.to_bytes(4, "little")
            else:
                changed[slot : slot + 8] = encode(Binary(Operator.MOV, 64, R0, 0))
    return bytes(changed)


def mutate(random):
    """Return a real program with one to four changes, and its bytes of constants."""
    code, constants_bytes = random.choice(read_programs())
    slots = [code[at : at + _SLOT] for at in range(0, len(code), _SLOT)]
    for _ in range(random.randint(1, 4)):
        _CHANGES[random.randrange(len(_CHANGES))](random, slots)
    return b"".join(slots), constants_bytes


def _change_one(random, slots, change):
    """Change one slot of any by `change`, so that it is an instruction still, if that can be had."""
    for _ in range(_TRIES_MAX):
        at = random.randrange(len(slots))
        changed = change(random, slots[at])
        if _is_instruction(slots, at, changed):
            break
    slots[at] = changed


def _is_instruction(slots, at, changed):
    """Whether `changed` may stand at `at`, with the other half of a wide load where it is one."""
    before = slots[at - 1] if at and slots[at - 1][0] == _WIDE else b""
    after = slots[at + 1] if changed[0] == _WIDE and at + 1 < len(slots) else b""
    return not any(isinstance(slot, Malformed) for slot in scan(before + changed + after))


def _change_byte(random, slots):
    _change_one(random, slots, _replace_byte)


def _change_registers(random, slots):
    _change_one(random, slots, _replace_registers)


def _change_offset(random, slots):
    _change_one(random, slots, _replace_offset)


def _change_immediate(random, slots):
    _change_one(random, slots, _replace_immediate)


def _replace_byte(random, slot):
    byte = random.randrange(_SLOT)
    changed = random.choice((random.randrange(256), slot[byte] ^ 1 << random.randrange(8)))
    return slot[:byte] + bytes((changed,)) + slot[byte + 1 :]


def _replace_registers(random, slot):
    return slot[:1] + bytes((random.randrange(11) | random.randrange(11) << 4,)) + slot[2:]


def _replace_offset(random, slot):
    offset = random.choice((-1, 0, 1, 8, -8, 32767, -32768, random.randint(-64, 64)))
    return slot[:2] + offset.to_bytes(2, "little", signed=True) + slot[4:]


def _replace_immediate(random, slot):
    immediate = random.choice((0, 1, -1, 1 << 30, -(1 << 31), random.getrandbits(31)))
    return slot[:4] + immediate.to_bytes(4, "little", signed=True)


def _swap(random, slots):
    one, other = random.randrange(len(slots)), random.randrange(len(slots))
    slots[one], slots[other] = slots[other], slots[one]


def _repeat(random, slots):
    slots.insert(random.randrange(len(slots)), slots[random.randrange(len(slots))])


def _remove(random, slots):
    if len(slots) > 1:
        del slots[random.randrange(len(slots))]


_CHANGES = (_change_byte, _change_registers, _change_offset, _change_immediate, _swap, _repeat, _remove)

"""Programs of real sites with some of their bytes changed.

Their helper calls become calls of a helper that needs no table, or 0 where nothing is given to them, so that
what follows a match is reached.
"""

from functools import cache

from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import R0, Binary, Operator
from zeroserve_ir.program.lowering import lower_site

_SLOT = 8
_CALL = 0x85
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
"""


@cache
def read_programs():
    """Return (code, bytes of constants) of the sites, without helper calls that need tables."""
    configuration, diagnostics = read_configuration(_SITES)
    assert not diagnostics, diagnostics
    lowered = [lower_site(site) for site in configuration.sites]
    return [(_replace_calls(one.code), len(one.constants)) for one in lowered]


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


def _change_byte(random, slots):
    at, byte = random.randrange(len(slots)), random.randrange(_SLOT)
    changed = bytearray(slots[at])
    changed[byte] = random.choice((random.randrange(256), changed[byte] ^ 1 << random.randrange(8)))
    slots[at] = bytes(changed)


def _change_registers(random, slots):
    at = random.randrange(len(slots))
    registers = random.randrange(11) | random.randrange(11) << 4
    slots[at] = slots[at][:1] + bytes((registers,)) + slots[at][2:]


def _change_offset(random, slots):
    at = random.randrange(len(slots))
    offset = random.choice((-1, 0, 1, 8, -8, 32767, -32768, random.randint(-64, 64)))
    slots[at] = slots[at][:2] + offset.to_bytes(2, "little", signed=True) + slots[at][4:]


def _change_immediate(random, slots):
    at = random.randrange(len(slots))
    immediate = random.choice((0, 1, -1, 1 << 30, -(1 << 31), random.getrandbits(31)))
    slots[at] = slots[at][:4] + immediate.to_bytes(4, "little", signed=True)


def _swap(random, slots):
    one, other = random.randrange(len(slots)), random.randrange(len(slots))
    slots[one], slots[other] = slots[other], slots[one]


def _repeat(random, slots):
    slots.insert(random.randrange(len(slots)), slots[random.randrange(len(slots))])


def _remove(random, slots):
    if len(slots) > 1:
        del slots[random.randrange(len(slots))]


_CHANGES = (_change_byte, _change_registers, _change_offset, _change_immediate, _swap, _repeat, _remove)

"""Renders what authors of plugins compile against, from `zeroserve_ir.program.abi`: the C header."""

from enum import IntEnum

from zeroserve_ir.program import abi

NOTICE = "Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited."
ENUMS: tuple[type[IntEnum], ...] = (
    abi.Method,
    abi.RequestPart,
    abi.JsonKind,
    abi.Codec,
    abi.Digest,
    abi.KeyKind,
)
_C_TYPES = {
    abi.Argument.READ: "const void *",
    abi.Argument.WRITE: "void *",
    abi.Argument.DIGEST: "void *",
}


def list_helpers() -> list[abi.Helper]:
    """Return the helpers that a plugin may call, by number."""
    found = (helper for helper in abi.HELPERS if helper.use is not abi.Use.ROUTE)
    return sorted(found, key=lambda helper: helper.number)


def render_c() -> str:
    """Return zeroserve_abi.h."""
    lines = [f"/* {NOTICE} */", "#pragma once", f"#define ZS_ABI_VERSION {abi.ABI_VERSION}", ""]
    lines += ["struct zs_context {"]
    lines += [f"    unsigned int {field.name.lower()};" for field in abi.Field if field.value[1] == 4]
    lines += ["};", ""]
    for kind in ENUMS:
        prefix = _prefix(kind)
        lines += [f"enum {{ ZS_{prefix}{member.name} = {member.value} }};" for member in kind]
        lines.append("")
    for helper in list_helpers():
        arguments = ", ".join(_C_TYPES.get(argument, "unsigned long long") for argument in helper.arguments)
        lines += [
            f"/* {helper.meaning}{_granted(helper)} */",
            f"static unsigned long long (*const zs_{helper.name})({arguments or 'void'}) = "
            f"(void *){helper.number};",
        ]
    return "\n".join([*lines, ""])


def _prefix(kind: type[IntEnum]) -> str:
    words = {"RequestPart": "REQUEST", "JsonKind": "JSON", "KeyKind": "KEY"}
    return words.get(kind.__name__, kind.__name__.upper()) + "_"


def _granted(helper: abi.Helper) -> str:
    return f"; needs {helper.capability.name.lower()}" if helper.capability and helper.capability.name else ""

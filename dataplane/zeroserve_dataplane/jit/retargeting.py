"""LLVM bitcode that another front end made for its own machine, as an eBPF object.

In: bitcode of a whole program (rustc's, after link-time optimisation), on standard input. Out: the object, on
standard output. Called by `zeroserve plugin build` as `python -m`, on the machine of a plugin's author: LLVM
ends the process where it meets what eBPF does not have. The rule: nothing here makes a program safe; what
comes out is loaded and verified as any other file.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import llvmlite.binding as llvm

from zeroserve_dataplane.jit.tuning import tune

TRIPLE: Final = "bpfel"
CPU: Final = "v4"
VERSION: Final = tuple(llvm.llvm_version_info)
"""Bitcode of a later LLVM is not readable."""
_MACHINE: Final = re.compile(
    r'"(?:target-cpu|target-features|tune-cpu|probe-stack|frame-pointer|uwtable)"(?:="[^"]*")?'
)
_RESTRICTED: Final = re.compile(r"^(attributes #\d+ = \{.*?)\buwtable\b(?:\(\w+\))?", re.MULTILINE)
_BLOCK: Final = re.compile(r"@llvm\.(memcpy|memmove|memset)\.[\w.]+(\(.* )(\S+)(, i1 (?:true|false)\))")
_FUNCTION: Final = re.compile(r"^define [^@\n]*?(\w+) @.*?^\}$", re.MULTILINE | re.DOTALL)
_UNREACHABLE: Final = re.compile(r"^  unreachable$|^  unreachable(?=,)", re.MULTILINE)
_COMPARE: Final = re.compile(r"(call .*)@(?:memcmp|bcmp)\(")
_PRODUCTS: Final = """
define internal { i64, i1 } @zs.umul.with.overflow.i64(i64 %a, i64 %b) alwaysinline nounwind {
  %product = mul i64 %a, %b
  %hidden = call i64 asm "", "=r,0"(i64 %product)
  %zero = icmp eq i64 %a, 0
  %divisor = select i1 %zero, i64 1, i64 %a
  %quotient = udiv i64 %hidden, %divisor
  %differs = icmp ne i64 %quotient, %b
  %over = select i1 %zero, i1 false, i1 %differs
  %half = insertvalue { i64, i1 } poison, i64 %product, 0
  %both = insertvalue { i64, i1 } %half, i1 %over, 1
  ret { i64, i1 } %both
}
define internal { i64, i1 } @zs.smul.with.overflow.i64(i64 %a, i64 %b) alwaysinline nounwind {
  %product = mul i64 %a, %b
  %hidden = call i64 asm "", "=r,0"(i64 %product)
  %zero = icmp eq i64 %a, 0
  %minus = icmp eq i64 %a, -1
  %special = or i1 %zero, %minus
  %divisor = select i1 %special, i64 1, i64 %a
  %quotient = sdiv i64 %hidden, %divisor
  %differs = icmp ne i64 %quotient, %b
  %least = icmp eq i64 %b, -9223372036854775808
  %negated = select i1 %minus, i1 %least, i1 %differs
  %over = select i1 %zero, i1 false, i1 %negated
  %half = insertvalue { i64, i1 } poison, i64 %product, 0
  %both = insertvalue { i64, i1 } %half, i1 %over, 1
  ret { i64, i1 } %both
}
"""
"""Overflow of 64-bit products without 128-bit numbers; the empty asm hides what LLVM would make them of."""
_PRODUCT: Final = re.compile(r"(call .*)@llvm\.([us]mul\.with\.overflow\.i64)\(")
_INLINE_BYTES_MAX: Final = 64
"""Blocks of a known size up to this are loads and stores."""
_DEFINE: Final = re.compile(r"^define .*$", re.MULTILINE)
_GROUP: Final = re.compile(r"(?<=\)) (?:unnamed_addr |local_unnamed_addr )*#\d+(?=[^()]*\{$)")
ARGUMENTS_MAX: Final = 5
_LIBRARY: Final = """
define internal void @zs.memcpy(ptr %to, ptr %from, i64 %bytes, i1 %volatile) #9999999 {
  br label %test
test:
  %at = phi i64 [ 0, %0 ], [ %next, %loop ]
  %more = icmp ult i64 %at, %bytes
  br i1 %more, label %loop, label %done
loop:
  %source = getelementptr i8, ptr %from, i64 %at
  %place = getelementptr i8, ptr %to, i64 %at
  %byte = load i8, ptr %source
  store i8 %byte, ptr %place
  %next = add i64 %at, 1
  br label %test
done:
  ret void
}
define internal void @zs.memmove(ptr %to, ptr %from, i64 %bytes, i1 %volatile) #9999999 {
  %forwards = icmp ule ptr %to, %from
  br i1 %forwards, label %copy, label %test
copy:
  call void @zs.memcpy(ptr %to, ptr %from, i64 %bytes, i1 false)
  ret void
test:
  %left = phi i64 [ %bytes, %0 ], [ %at, %loop ]
  %more = icmp ne i64 %left, 0
  br i1 %more, label %loop, label %done
loop:
  %at = sub i64 %left, 1
  %source = getelementptr i8, ptr %from, i64 %at
  %place = getelementptr i8, ptr %to, i64 %at
  %byte = load i8, ptr %source
  store i8 %byte, ptr %place
  br label %test
done:
  ret void
}
define internal void @zs.memset(ptr %to, i8 %byte, i64 %bytes, i1 %volatile) #9999999 {
  br label %test
test:
  %at = phi i64 [ 0, %0 ], [ %next, %loop ]
  %more = icmp ult i64 %at, %bytes
  br i1 %more, label %loop, label %done
loop:
  %place = getelementptr i8, ptr %to, i64 %at
  store i8 %byte, ptr %place
  %next = add i64 %at, 1
  br label %test
done:
  ret void
}
define internal i32 @zs.memcmp(ptr %left, ptr %right, i64 %bytes) #9999999 {
  br label %test
test:
  %at = phi i64 [ 0, %0 ], [ %next, %equal ]
  %more = icmp ult i64 %at, %bytes
  br i1 %more, label %loop, label %done
loop:
  %l = getelementptr i8, ptr %left, i64 %at
  %r = getelementptr i8, ptr %right, i64 %at
  %a = load i8, ptr %l
  %b = load i8, ptr %r
  %same = icmp eq i8 %a, %b
  br i1 %same, label %equal, label %differ
equal:
  %next = add i64 %at, 1
  br label %test
differ:
  %x = zext i8 %a to i32
  %y = zext i8 %b to i32
  %difference = sub i32 %x, %y
  ret i32 %difference
done:
  ret i32 0
}
attributes #9999999 = { noinline nounwind "no-builtins" }
"""
"""What LLVM takes for granted and eBPF does not have; the loader takes along what is called."""


def retarget(bitcode: bytes) -> bytes:
    """Return the object; raises RuntimeError where the bitcode is none that this LLVM reads."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=CPU, opt=2, reloc="static", codemodel="small"
    )
    module = _read(bitcode, str(machine.target_data))
    builder = llvm.create_pass_builder(machine, tune())
    builder.getModulePassManager().run(module, builder)
    text = _BLOCK.sub(_name_block, str(module))
    text = _FUNCTION.sub(lambda found: _return(found[0], found[1]), text)
    text = _COMPARE.sub(r"\1@zs.memcmp(", text)
    return bytes(machine.emit_object(llvm.parse_assembly(text + _LIBRARY)))


def _return(function: str, result: str) -> str:
    """Have a function return after a panic, which never does: code that runs off its end is refused."""
    value = "void" if result == "void" else f"{result} zeroinitializer"
    return _UNREACHABLE.sub(f"  ret {value}", function)


def _name_block(found: re.Match[str]) -> str:
    name, arguments, length, rest = found.groups()
    if length.isdigit() and int(length) <= _INLINE_BYTES_MAX:
        return found[0]
    return f"@zs.{name}{arguments}{length}{rest}"


def _read(bitcode: bytes, layout: str) -> llvm.ModuleRef:
    text = str(llvm.parse_bitcode(bitcode))
    text = re.sub(r"^target datalayout = .*$", f'target datalayout = "{layout}"', text, flags=re.MULTILINE)
    text = re.sub(r"^target triple = .*$", f'target triple = "{TRIPLE}"', text, flags=re.MULTILINE)
    text = _PRODUCT.sub(r"\1@zs.\2(", text)
    text = _DEFINE.sub(lambda found: _inline(found[0]), text)
    return llvm.parse_assembly(_RESTRICTED.sub(r"\1", _MACHINE.sub("", text)) + _PRODUCTS)


def _inline(define: str) -> str:
    """Have a function inlined whose result or arguments do not fit eBPF's registers: one, and five."""
    before, _, after = define.partition("@")
    depth, parameters = 0, 1
    for letter in after[after.index("(") :]:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        parameters += letter == "," and depth == 1
        if not depth:
            break
    if "{" not in before and "i128" not in before and parameters <= ARGUMENTS_MAX:
        return define
    return _GROUP.sub(" alwaysinline", define, count=1)


def main() -> None:
    """Read bitcode, write the object."""
    sys.stdout.buffer.write(retarget(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()

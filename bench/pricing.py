"""What helpers' fuel buys: nanoseconds for a fuel, helper by helper, from small arguments to the largest.

In: `priced_cases`. Out: for each case the time and the fuel of a call, and nanoseconds for a fuel. Called by
the command line. Rule: the engine's own code and account of fuel; a case's loop runs twice, shorter and
longer, so that what lies before it cancels out, and the least of many runs counts. A budget of fuel is one of
time as far as no case's fuel takes longer than is meant.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.inspecting import execute
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_engine import find_binary
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble

from bench.priced_cases import PricedCase, list_cases
from bench.recording import write_json

# What a fuel is meant to buy at most (docs/security-model.md).
NS_PER_FUEL_MAX = 8.0
EVERYTHING = (1 << 64) - 1
FUEL = 1 << 50
PLUGIN = "prices"


@dataclass(frozen=True, slots=True)
class Price:
    """A case measured."""

    name: str
    call_ns: float
    call_fuel: float

    @property
    def ns_per_fuel(self) -> float:
        """What one fuel buys."""
        return self.call_ns / max(self.call_fuel, 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prices`."""
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--only", default="", help="cases whose names begin so")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when no case's fuel took longer than meant."""
    target = find_host_target()
    if target is None:
        raise ValueError("no native code for this machine")
    cases = [case for case in list_cases() if case.name.startswith(options.only)]
    say(f"{len(cases)} cases, the least of {options.batches} runs each")
    prices = [measure(case, target, options.batches) for case in cases]
    print(render(prices))
    write_json(options.json, prices)
    return int(any(price.ns_per_fuel > NS_PER_FUEL_MAX for price in prices))


def measure(case: PricedCase, target: Target, batches: int) -> Price:
    """Run the loop at two lengths and tell what one turn more costs."""
    short = max(case.calls // 4, 1)
    (low, low_fuel), (high, high_fuel) = (
        _run(replace(case, calls=calls), target, batches) for calls in (short, case.calls)
    )
    turns = case.calls - short
    return Price(case.name, max(high - low, 0) / turns, (high_fuel - low_fuel) / turns)


def render(prices: Sequence[Price]) -> str:
    """The table for people: the dearest fuel last."""
    lines = ["| helper | a call, ns | fuel | ns a fuel | |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {one.name} | {one.call_ns:,.0f} | {one.call_fuel:,.0f} | {one.ns_per_fuel:.2f} "
        f"| {'above' if one.ns_per_fuel > NS_PER_FUEL_MAX else ''} |"
        for one in sorted(prices, key=lambda price: price.ns_per_fuel)
    ]
    return "\n".join(lines)


def _run(case: PricedCase, target: Target, batches: int) -> tuple[int, int]:
    """Nanoseconds of the least disturbed run, and the fuel of any."""
    text = (
        f"mov %r6, %r1\nmov %r0, 0\n{case.setup}\nmov %r7, {case.calls}\n"
        f"turn:\n{case.call}\nadd %r7, -1\njne %r7, 0, turn\nmov %r0, 0\nexit"
    )
    code = assemble(text).code
    verified = verify(code, 0)
    if not isinstance(verified, Verified):
        raise ValueError(f"{case.name}: {verified}")
    made = emit(translate(verified), target, Tier.OPTIMISED)
    image = resources_pb2.Image(
        abi=abi.ABI_VERSION, target=target.value, entry=made.entry, code_bytes=len(made.text)
    )
    plugin = resources_pb2.Plugin(
        name=PLUGIN,
        namespace=PLUGIN,
        functions=[resources_pb2.PluginFunction(name="f", entry=1)],
        capabilities=EVERYTHING,
        fuel=FUEL,
        values_max=4096,
        value_bytes_max=1 << 20,
        secrets=[resources_pb2.PluginSecret(name="secret", value=b"s" * 4096)],
    )
    fields = [("Host", b"shop.test"), ("Cookie", b"c=1; " * 200 + b"d=2"), ("x-long", b"v" * 4096)]
    fields += [(f"x-field-{number}", b"value") for number in range(60)]
    execution = execution_pb2.Execution(
        image=image,
        code=made.text,
        memory=case.memory,
        entry=1,
        called=plugin,
        unix_s=1_440_938_160,
        request=execution_pb2.RequestHead(
            method="GET",
            target="/shop/item?" + "&".join(f"k{number}=v" for number in range(400)) + "&last=1",
            scheme="http",
            http_minor=1,
            fields=[execution_pb2.Field(name=name, value=value) for name, value in fields],
        ),
    )
    outcomes = execute([str(find_binary())], [execution] * batches)
    for outcome in outcomes:
        if outcome.trapped:
            raise ValueError(f"{case.name} trapped: {outcome.trap}")
    return min(outcome.nanoseconds for outcome in outcomes), FUEL - outcomes[0].fuel_left

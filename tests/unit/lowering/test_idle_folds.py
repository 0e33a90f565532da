"""Calls of `fold_path` are left out exactly where every way to them has the folded path already."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.program.folding import FOLD, KEEPING, IdleFolds, find_idle_folds


@dataclass(frozen=True)
class Step:
    name: str
    operands: tuple[object, ...] = ()
    target: str = ""
    falls_through: bool = True


@st.composite
def programs(draw: st.DrawFn) -> tuple[Step, ...]:
    """Draw operations that jump anywhere, back as well; the label of a position is its number."""
    count = draw(st.integers(1, 14))
    targets = st.integers(0, count).map(str)
    steps = st.one_of(
        st.sampled_from([FOLD, FOLD, "match_path", "rewrite", "call_plugin"]).map(
            lambda helper: Step("call", (helper,))
        ),
        st.just(Step("mov")),
        targets.map(lambda target: Step("jump_if", target=target)),
        targets.map(lambda target: Step("jump", target=target, falls_through=False)),
        st.just(Step("exit", falls_through=False)),
    )
    return (*draw(st.lists(steps, min_size=count, max_size=count)), Step("exit", falls_through=False))


def walk(program: tuple[Step, ...], is_folded: bool) -> set[tuple[int, bool]]:
    """Return (position, whether the folded path is there) of every way through a program."""
    seen: set[tuple[int, bool]] = set()
    ways = [(0, is_folded)]
    while ways:
        way = ways.pop()
        if way in seen:
            continue
        seen.add(way)
        position, folded = way
        step = program[position]
        if step.name == "call":
            folded = step.operands[0] == FOLD or (folded and step.operands[0] in KEEPING)
        if step.target:
            ways.append((int(step.target), folded))
        if step.falls_through:
            ways.append((position + 1, folded))
    return seen


def find_needless(program: tuple[Step, ...], is_folded: bool) -> set[int]:
    ways = walk(program, is_folded)
    calls = {at for at, step in enumerate(program) if step.operands == (FOLD,)}
    return {at for at in calls if (at, True) in ways and (at, False) not in ways}


def find(program: tuple[Step, ...]) -> IdleFolds:
    return find_idle_folds(program, {str(at): at for at in range(len(program))})


@settings(max_examples=500)
@given(programs())
def test_a_call_is_left_out_where_every_way_to_it_has_the_folded_path(program: tuple[Step, ...]) -> None:
    assert find(program).positions == find_needless(program, is_folded=True)


@settings(max_examples=500)
@given(programs())
def test_the_entry_is_counted_on_only_where_a_call_is_left_out_for_it(program: tuple[Step, ...]) -> None:
    found = find(program)
    assert found.at_entry == (found.positions != find_needless(program, is_folded=False))

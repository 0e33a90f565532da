"""The nightly command: `python -m fuzzing programs --count 1000000`, `attacks --count 100000`, or `files`.

Exit code 0 when everything agreed and the canary, a wrong translation, was noticed; else 1. A difference is
printed with its seed, and `--first SEED --count 1` repeats it; `--first` of the last "to seed" that was said
goes on with a run that was ended.
"""

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter

from zeroserve_dataplane.jit import writing
from zeroserve_ir.program.isa import Operator

from fuzzing import differential, judging, judging_files

SAY_EVERY_S = 30
ATTACKS_BATCH = 100
BATCHES_OF_PROCESS = 64
"""Then another begins: LLVM keeps each number that it has seen."""
RARE = 5
"""Instructions that are named as the least often tried."""


def main(arguments=None):
    """Run one of the two; the exit code."""
    options = _parse(arguments)
    if not notices_wrong_translation():
        print("fuzzing: the canary was not noticed: what follows would prove nothing")
        return 1
    context = multiprocessing.get_context("fork")
    with context.Pool(options.jobs, _prepare_process, maxtasksperchild=BATCHES_OF_PROCESS) as pool:
        found = _COMMANDS[options.command](pool, options)
    for name, difference in list(found.items())[:20]:
        print(f"DIFFERENCE {name}: {difference}")
    return 1 if found else 0


def _prepare_process():
    """Collect between batches only: what programs are made of holds hardly any circles."""
    gc.freeze()
    gc.disable()


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    return parser.parse_args(arguments)


def notices_wrong_translation():
    """Whether native code that computes `or` where the program says `xor` is found out."""
    right = writing._NAMES[Operator.XOR]
    writing._NAMES[Operator.XOR] = "or"
    try:
        return bool(differential.run_batch(1_000_000_000).differences)
    finally:
        writing._NAMES[Operator.XOR] = right


def compare_programs(pool, options):
    """Random and mutated programs; returns the differences."""
    report = differential.Report()
    for seed, batch in _batches(pool, compare_batch, differential.BATCH, options):
        report.add(batch)
        _say(seed, batch.differences, lambda: f"{report.compared} compared, {report.refused} refused")
    print(
        f"{report.compared} programs agree on all executions but for {len(report.differences)}; "
        f"{report.refused} mutated ones were refused; endings: {dict(report.endings)}"
    )
    print(describe_coverage(report.coverage))
    return report.differences


def compare_batch(first):
    """The programs of one batch."""
    gc.collect()
    return differential.run_batch(first)


def describe_coverage(coverage):
    """Return how many instructions were compared, of how many kinds, and which were rare."""
    opcodes = {one: count for one, count in coverage.items() if isinstance(one, int)}
    numbered = {one: count for one, count in coverage.items() if isinstance(one, tuple)}
    rare = sorted(coverage.items(), key=lambda item: item[1])[:RARE]
    names = ", ".join(f"{_name(one)} {count}" for one, count in rare)
    return (
        f"{sum(opcodes.values())} instructions: {len(opcodes)} opcodes, {len(numbered)} helpers and atomics; "
        f"least often: {names}"
    )


def _name(one):
    return f"{one:#04x}" if isinstance(one, int) else f"{one[0]:#04x}:{one[1]}"


def judge_batch(first):
    """The attacks of one batch."""
    gc.collect()
    return judging.judge_attacks(range(first, first + ATTACKS_BATCH))


def judge_files_batch(first):
    """The plugins' files of one batch."""
    gc.collect()
    return judging_files.judge_files(range(first, first + ATTACKS_BATCH))


def run_attacks(pool, options):
    """Attacks by programs; returns what harmed."""
    return _run_attacks(pool, judge_batch, options)


def run_files(pool, options):
    """Attacks by plugins' files; returns what harmed."""
    return _run_attacks(pool, judge_files_batch, options)


def _run_attacks(pool, judge, options):
    endings, harms = {}, {}
    for seed, verdicts in _batches(pool, judge, ATTACKS_BATCH, options):
        for kind, counted in verdicts.endings.items():
            endings.setdefault(kind, Counter()).update(counted)
        harms |= verdicts.harms
        _say(seed, verdicts.harms, lambda: f"{sum(sum(one.values()) for one in endings.values())} attacks")
    for kind, counted in sorted(endings.items()):
        print(f"{kind:20} {dict(counted)}")
    return harms


def _batches(pool, run, size, options):
    """Yield the seed after a batch and what became of it, in order, so that a run that was ended goes on."""
    deadline = time.monotonic() + options.seconds
    firsts = range(options.first, options.first + options.count, size)
    for first, result in zip(firsts, pool.imap(run, firsts), strict=True):
        yield first + size, result
        if time.monotonic() > deadline:
            pool.terminate()
            return


_COMMANDS = {"programs": compare_programs, "attacks": run_attacks, "files": run_files}
_said = [time.monotonic()]


def _say(seed, found, text):
    if found or time.monotonic() - _said[0] > SAY_EVERY_S:
        _said[0] = time.monotonic()
        print(f"fuzzing: to seed {seed}: {text()} {found or ''}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""The compiler keeps its promises when workers die, hang and age, and when its cache is damaged."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from zeroserve_dataplane.jit import compiling
from zeroserve_dataplane.jit.caching import LOOK_AGAIN, Cache, make_key
from zeroserve_dataplane.jit.compiling import Compiled, Compiler, Defective
from zeroserve_dataplane.jit.messages import Failed, Job, Made, ProtocolError, decode_length, decode_reply
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.workers import Workers
from zeroserve_dataplane.verifier import Exposure, Refused, Rule
from zeroserve_ir.program.assembly import assemble


def code_of(number):
    return assemble(f"mov %r0, {number}\nexit").code


def run(work, cache_dir=None, **settings):
    """Run an async function with a compiler of its own."""

    async def main():
        compiler = Compiler(cache_dir, **settings)
        try:
            return await work(compiler)
        finally:
            await compiler.close()

    return asyncio.run(main())


def test_program_becomes_code_for_each_target_and_tier():
    async def work(compiler):
        return [await compiler.compile(code_of(3), 0, target, tier) for target in Target for tier in Tier]

    for outcome in run(work):
        assert isinstance(outcome, Compiled)
        assert outcome.text
        assert not outcome.from_cache


def test_bad_program_is_refused_with_rule_and_instruction():
    async def work(compiler):
        return await compiler.compile(assemble("mov %r10, 1\nexit").code, 0, Target.X86_64)

    outcome = run(work)
    assert isinstance(outcome, Refused)
    assert [(each.rule, each.slot) for each in outcome.refusals] == [(Rule.FRAME_POINTER, 0)]


def test_second_compilation_comes_from_the_cache(tmp_path):
    async def work(compiler):
        return [await compiler.compile(code_of(5), 0, Target.X86_64) for _ in range(2)]

    first, second = run(work, tmp_path)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert (first.text, first.entry, first.digest) == (second.text, second.entry, second.digest)


def test_cache_outlives_the_compiler_and_tells_programs_apart(tmp_path):
    async def work(compiler):
        outcomes = [
            await compiler.compile(code_of(5), 0, Target.X86_64, Tier.FAST),
            await compiler.compile(code_of(6), 0, Target.X86_64, Tier.FAST),
            await compiler.compile(code_of(5), 8, Target.X86_64, Tier.FAST),
            await compiler.compile(code_of(5), 0, Target.AARCH64, Tier.FAST),
            await compiler.compile(code_of(5), 0, Target.X86_64, Tier.OPTIMISED),
        ]
        return [outcome.from_cache for outcome in outcomes]

    assert run(work, tmp_path) == [False] * 5
    assert run(work, tmp_path) == [True] * 5


@pytest.mark.parametrize(
    ("text", "exposure"),
    [
        ("ldxdw %r0, [%r1+256]\nexit", Exposure.DETACHED),
        ("lddw %r1, constants+0\nldxdw %r0, [%r1]\nexit", Exposure.DETACHED),
        ("mov %r0, 0\njeq %r2, 0, done\nmov %r0, 1\ndone:\nexit", Exposure.DETACHED),
        ("mov %r1, 0\ncall match_path\nexit", Exposure.FAULTLESS),
        ("mov %r0, 9\nagain:\nsub %r0, 1\njne %r0, 0, again\nexit", Exposure.FAULTLESS),
        ("mov %r0, 9\nagain:\nja again\nexit", Exposure.FAULTLESS),
        ("call local one\nexit\none:\nmov %r0, 1\nexit", Exposure.FAULTLESS),
        ("ldxdw %r2, [%r1+256]\nldxdw %r0, [%r2]\nexit", Exposure.CAGED),
        ("mov %r0, 0\nstxdw [%r10-8], %r0\nexit", Exposure.CAGED),
        ("mov %r0, 0\nstxdw [%r1+256], %r0\nexit", Exposure.CAGED),
        ("mov %r1, 0\ncall match_path\nstxdw [%r10-8], %r0\nexit", Exposure.CAGED),
    ],
    ids=[
        *("context", "constants", "forwards", "helper", "loop", "jump-back", "subprogram"),
        *("caged", "stack", "write", "helper-and-write"),
    ],
)
def test_an_image_tells_what_its_program_can_touch(tmp_path, text, exposure):
    async def work(compiler):
        made = await compiler.compile(assemble(text).code, 8, Target.X86_64)
        cached = await compiler.compile(assemble(text).code, 8, Target.X86_64)
        return made.exposure, cached.exposure, cached.from_cache

    assert run(work, tmp_path) == (exposure, exposure, True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: b"x" + content[1:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:8] + b"\xff\xff\xff\xff" + content[12:],
        lambda content: content[:12] + bytes([content[12] ^ 1]) + content[13:],
    ],
    ids=["cut", "cut-in-head", "empty", "other-magic", "flipped-bit", "entry-beyond-end", "other-exposure"],
)
def test_damaged_image_is_ignored_removed_and_made_again(tmp_path, damage):
    async def work(compiler):
        return await compiler.compile(code_of(7), 0, Target.X86_64)

    whole = run(work, tmp_path)
    (path,) = tmp_path.glob("*.image")
    path.write_bytes(damage(path.read_bytes()))
    again = run(work, tmp_path)
    assert not again.from_cache
    assert again.text == whole.text
    assert run(work, tmp_path).from_cache


def let_others_write(path):
    path.chmod(0o622)


def put_a_link(path):
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def put_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [let_others_write, put_a_link, put_a_pipe])
def test_image_that_others_may_have_written_is_not_run(tmp_path, plant):
    cache, job = Cache(tmp_path), Job(code_of(1), 0, Target.X86_64, Tier.FAST)
    cache.store(job, Made(b"code", 0, Exposure.CAGED))
    (path,) = tmp_path.iterdir()
    plant(path)
    assert cache.load(job) is None
    assert not os.path.lexists(path)


def test_image_of_another_user_is_not_run(tmp_path, monkeypatch):
    cache, job = Cache(tmp_path), Job(code_of(1), 0, Target.X86_64, Tier.FAST)
    cache.store(job, Made(b"code", 0, Exposure.CAGED))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache.load(job) is None


def test_image_under_the_name_of_another_program_is_not_run(tmp_path):
    cache = Cache(tmp_path)
    mine, other = (Job(code_of(number), 0, Target.X86_64, Tier.FAST) for number in (1, 2))
    cache.store(mine, Made(b"code", 0, Exposure.CAGED))
    (tmp_path / f"{make_key(mine)}.image").rename(tmp_path / f"{make_key(other)}.image")
    assert cache.load(other) is None


def test_cache_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path):
    cache = Cache(tmp_path, bytes_max=10_000)
    jobs = [Job(code_of(number), 0, Target.X86_64, Tier.FAST) for number in range(12)]
    for number, job in enumerate(jobs):
        cache.store(job, Made(bytes([number]) * 1000, 0, Exposure.CAGED))
        os.utime(tmp_path / f"{make_key(job)}.image", (number, number))
        cache.load(jobs[0])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    assert cache.load(jobs[0]) is not None
    assert cache.load(jobs[1]) is None
    assert cache.load(jobs[-1]) is not None


def test_caches_that_share_a_directory_stay_within_their_bound(tmp_path):
    caches = [Cache(tmp_path, bytes_max=100_000) for _ in range(2)]
    for number in range(400):
        job = Job(number.to_bytes(8), 0, Target.X86_64, Tier.FAST)
        caches[number % 2].store(job, Made(bytes(1000), 0, Exposure.CAGED))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000 * (1 + LOOK_AGAIN)


def test_storing_an_image_does_not_look_at_all_others(tmp_path, monkeypatch):
    looks = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: looks.append(path) or iterdir(path))
    cache = Cache(tmp_path, bytes_max=1_000_000)
    for number in range(200):
        cache.store(
            Job(number.to_bytes(8), 0, Target.X86_64, Tier.FAST), Made(bytes(1000), 0, Exposure.CAGED)
        )
    assert len(looks) < 10


def test_cache_that_cannot_be_written_is_no_failure(tmp_path):
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    job = Job(code_of(1), 0, Target.X86_64, Tier.FAST)
    cache.store(job, Made(b"x", 0, Exposure.CAGED))
    assert cache.load(job) is None


def test_killed_worker_costs_no_job():
    async def work(compiler):
        await compiler.start()
        (process,) = compiler.worker_process_ids
        os.kill(process, signal.SIGKILL)
        outcome = await compiler.compile(code_of(8), 0, Target.X86_64)
        return outcome, process, compiler.worker_process_ids

    outcome, killed, processes = run(work)
    assert isinstance(outcome, Compiled)
    assert killed not in processes


def test_worker_killed_in_the_middle_fails_its_job_alone():
    async def work(compiler):
        await compiler.start()
        processes = compiler.worker_process_ids
        os.kill(processes[-1], signal.SIGSTOP)
        hung = asyncio.create_task(compiler.compile(code_of(9), 0, Target.X86_64))
        await asyncio.sleep(0.05)
        other = await compiler.compile(code_of(10), 0, Target.X86_64)
        os.kill(processes[-1], signal.SIGKILL)
        return await hung, other

    for outcome in run(work, workers=2):
        assert isinstance(outcome, Compiled)


def test_hung_worker_is_replaced_and_the_job_tried_again():
    async def work(compiler):
        await compiler.start()
        (process,) = compiler.worker_process_ids
        os.kill(process, signal.SIGSTOP)
        return await compiler.compile(code_of(11), 0, Target.X86_64)

    assert isinstance(run(work, job_timeout_s=1.0), Compiled)


def test_job_that_fails_twice_is_a_defect_to_be_interpreted(monkeypatch):
    attempts = []

    async def fail(self, job):
        attempts.append(job)
        raise compiling.WorkerError("worker died")

    monkeypatch.setattr(compiling.Workers, "run", fail)

    async def work(compiler):
        return [
            await compiler.compile(code_of(12), 0, Target.X86_64),
            await compiler.compile(assemble("exit").code, 0, Target.X86_64),
        ]

    defect, refused = run(work)
    assert isinstance(defect, Defective)
    assert defect.verified
    assert "worker died" in defect.reason
    assert isinstance(refused, Refused), "what was not verified must not be interpreted"
    assert len(attempts) == 4


def test_failed_emission_is_a_defect_to_be_interpreted(monkeypatch):
    async def fail(self, job):
        return Failed("1 relocations in .text")

    monkeypatch.setattr(compiling.Workers, "run", fail)

    async def work(compiler):
        return await compiler.compile(code_of(13), 0, Target.X86_64)

    assert run(work) == Defective("1 relocations in .text", verified=True)


def test_old_worker_serves_until_its_successor_is_warm():
    async def work(compiler):
        await compiler.start()
        (old,) = compiler.worker_process_ids
        outcomes = [await compiler.compile(code_of(number), 0, Target.X86_64) for number in range(3)]
        while old in compiler.worker_process_ids:
            outcomes.append(await compiler.compile(code_of(len(outcomes)), 0, Target.X86_64))
            await asyncio.sleep(0.01)
        outcomes.append(await compiler.compile(code_of(100), 0, Target.X86_64))
        return outcomes

    assert all(isinstance(outcome, Compiled) for outcome in run(work, jobs_max=2))


def test_equal_jobs_at_one_time_are_one_job():
    async def work(compiler):
        outcomes = await asyncio.gather(*(compiler.compile(code_of(14), 0, Target.X86_64) for _ in range(5)))
        return outcomes, compiler.native_compilations

    outcomes, count = run(work)
    assert len({outcome.text for outcome in outcomes}) == 1
    assert count == 1


def test_caller_that_gives_up_harms_no_other():
    async def work(compiler):
        first = asyncio.create_task(compiler.compile(code_of(15), 0, Target.X86_64))
        second = asyncio.create_task(compiler.compile(code_of(15), 0, Target.X86_64))
        await asyncio.sleep(0)
        first.cancel()
        outcome = await second
        return outcome, await compiler.compile(code_of(16), 0, Target.X86_64)

    for outcome in run(work):
        assert isinstance(outcome, Compiled)


def test_urgent_job_does_not_wait_for_an_optimiser_that_comes_to_no_end():
    async def work(compiler):
        await compiler.start()
        (process,) = compiler.worker_process_ids
        os.kill(process, signal.SIGSTOP)
        endless = asyncio.create_task(compiler.compile(code_of(1), 0, Target.X86_64, Tier.OPTIMISED))
        await asyncio.sleep(0)
        urgent = [await compiler.compile(code_of(number), 0, Target.X86_64) for number in (2, 3)]
        return urgent, endless.done()

    urgent, ended = run(work, job_timeout_s=3600.0)
    assert [type(each) for each in urgent] == [Compiled, Compiled]
    assert not ended


def test_optimiser_that_takes_too_long_is_not_tried_again():
    async def work(compiler):
        await compiler.start()
        (process,) = compiler.worker_process_ids
        os.kill(process, signal.SIGSTOP)
        return await compiler.compile(code_of(1), 0, Target.X86_64, Tier.OPTIMISED)

    outcome = run(work, job_timeout_s=1.0)
    assert isinstance(outcome, Defective)
    assert "1 attempts" in outcome.reason


def test_background_jobs_wait_for_urgent_ones():
    async def work(compiler):
        order = []

        async def compile_noting(number, tier):
            await compiler.compile(code_of(number), 0, Target.X86_64, tier)
            order.append(tier)

        await asyncio.gather(
            compile_noting(20, Tier.OPTIMISED),
            compile_noting(21, Tier.OPTIMISED),
            compile_noting(22, Tier.OPTIMISED),
            compile_noting(23, Tier.FAST),
        )
        return order

    assert run(work).index(Tier.FAST) <= 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"{}",
        b'{"text": "!", "entry": 0}',
        b'{"text": "AA==", "entry": 1}',
        b'{"text": "AA==", "entry": -1}',
        b'{"refusals": [["NO_RULE", 0, ""]]}',
        b'{"refusals": [["FALL_OFF", 99999, ""]]}',
        b'{"refusals": [[]]}',
    ],
)
def test_nonsense_of_a_worker_is_a_protocol_error(content):
    with pytest.raises(ProtocolError):
        decode_reply(content)


def test_frame_without_bound_is_a_protocol_error():
    with pytest.raises(ProtocolError):
        decode_length(b"\xff\xff\xff\xff")


def test_a_worker_without_a_job_ends_and_the_next_job_starts_another():
    async def work():
        workers = Workers(1, idle_s=0.01)
        try:
            made = [await workers.run(Job(code_of(1), 0, Target.X86_64, Tier.FAST))]
            async with asyncio.timeout(30):
                while workers.process_ids:
                    await asyncio.sleep(0.01)
            made.append(await workers.run(Job(code_of(2), 0, Target.X86_64, Tier.FAST)))
            return made
        finally:
            await workers.stop()

    assert all(isinstance(outcome, Made) for outcome in asyncio.run(work()))

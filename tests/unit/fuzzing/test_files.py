"""A thousand hostile plugins harm nobody: not loaded, refused, or ended within budget beside a neighbour."""

import multiprocessing
from collections import Counter

import pytest
from fuzzing import judging_files, plugin_files
from fuzzing.__main__ import ATTACKS_BATCH, judge_files_batch
from fuzzing.plugin_files import FILES, KINDS, generate_file
from zeroserve_dataplane.jit.targets import find_host_target
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.reading import read_confined

COUNT = 1000
pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


@pytest.fixture(scope="module")
def verdicts():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(judge_files_batch, range(0, COUNT, ATTACKS_BATCH))


@pytest.mark.timeout(900)
def test_no_file_harms(verdicts):
    assert {name: harm for one in verdicts for name, harm in one.harms.items()} == {}


def test_every_kind_is_tried_and_files_end_in_every_way(verdicts):
    endings = {kind: sum((one.endings.get(kind, Counter()) for one in verdicts), Counter()) for kind in KINDS}
    assert all(counted.total() >= COUNT // len(KINDS) for counted in endings.values())
    assert endings["sound"] == {"ended": endings["sound"].total()}
    assert sum(any(ending != "not loaded" for ending in counted) for counted in endings.values()) >= 18
    assert set(sum(endings.values(), Counter())) == {
        "not loaded",
        "refused",
        "fuel",
        "memory",
        "helper",
        "ended",
    }


def test_calls_of_itself_reach_the_bound_and_come_back(verdicts):
    endings = sum((one.endings.get("calls of itself", Counter()) for one in verdicts), Counter())
    assert endings["ended"] > 0


def test_canary_a_neighbour_that_finds_other_bytes_is_noticed(monkeypatch):
    case, wanted = judging_files.make_neighbour()
    monkeypatch.setattr(judging_files, "make_neighbour", lambda: (case, wanted + 1))
    sound = next(seed for seed in range(len(KINDS)) if KINDS[seed] == "sound")
    assert f"file {sound} beside a neighbour" in judging_files.judge_files([sound]).harms


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_process_without_rights_reads_the_same(kind):
    content = generate_file(KINDS.index(kind) + len(KINDS))[1]
    assert find_verdict(read_confined, content) == find_verdict(load, content)


def find_verdict(read, content):
    try:
        return read(content)
    except PluginError as error:
        return error.fault


def test_equal_seeds_give_equal_files():
    assert all(generate_file(seed) == generate_file(seed) for seed in range(2 * len(KINDS)))


def test_the_writer_writes_what_a_compiler_would():
    module = load(plugin_files.File(plugin_files.EXIT).write())
    assert [each.name for each in module.functions] == ["f"]

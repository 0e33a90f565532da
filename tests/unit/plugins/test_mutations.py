"""Whatever the bytes are: loading gives a program or PluginError, and verifying that never raises."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.verifier import Refused, Verified, verify
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.modules import HEAP_BYTES_MAX, PluginModule
from zeroserve_ir.program import abi

TEXT = """
typedef unsigned long long u64;
static const char *const names[] = {"one", "two"};
static u64 calls;
static __attribute__((noinline)) u64 length(const char *text) { u64 n = 0; while (text[n]) n++; return n; }
__attribute__((section("function"), used)) u64 f(u64 *context) {
  calls++;
  return length(names[*context & 1]);
}
__attribute__((section("request"), used)) u64 g(void *context) { return calls + length("three"); }
"""
CHECKED = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def sound(compile_text):
    return compile_text(TEXT)


def judge(content):
    try:
        module = load(content)
    except PluginError as error:
        cure = error.fault.value[1]
        assert cure and error.found is not None
        return error
    assert isinstance(module, PluginModule)
    assert module.functions
    assert len(module.data) + module.bss_bytes <= HEAP_BYTES_MAX
    assert len(module.code) // 8 <= abi.INSTRUCTIONS_MAX
    assert isinstance(verify(module.code, 0), Verified | Refused)
    return module


def find_sections(content):
    start = int.from_bytes(content[40:48], "little")
    return start, int.from_bytes(content[60:62], "little")


@CHECKED
@given(data=st.data())
def test_changed_bytes(sound, data):
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    judge(bytes(content))


@CHECKED
@given(data=st.data())
def test_changed_section_headers(sound, data):
    content = bytearray(sound)
    start, count = find_sections(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = start + 64 * data.draw(st.integers(0, count - 1)) + 4 * data.draw(st.integers(0, 15))
        value = data.draw(st.one_of(st.integers(0, 64), st.integers(0, 2**32 - 1), st.just(2**32 - 1)))
        content[place : place + 4] = value.to_bytes(4, "little")
    judge(bytes(content))


@CHECKED
@given(data=st.data())
def test_changed_symbols_and_relocations(sound, data):
    content = bytearray(sound)
    start, count = find_sections(content)
    tables = []
    for number in range(count):
        header = content[start + 64 * number : start + 64 * number + 64]
        kind, offset, size = (
            int.from_bytes(header[at : at + length], "little") for at, length in ((4, 4), (24, 8), (32, 8))
        )
        if kind in (2, 9) and size:
            tables.append((offset, size))
    for _ in range(data.draw(st.integers(1, 4))):
        offset, size = data.draw(st.sampled_from(tables))
        content[offset + data.draw(st.integers(0, size - 1))] = data.draw(st.integers(0, 255))
    judge(bytes(content))


@CHECKED
@given(length=st.floats(0, 1, exclude_max=True))
def test_cut_short(sound, length):
    assert isinstance(judge(sound[: int(len(sound) * length)]), PluginError)


@CHECKED
@given(content=st.binary(max_size=512))
def test_noise_behind_a_header(sound, content):
    judge(sound[:64] + content)


def test_the_sound_file_loads(sound):
    assert isinstance(judge(sound), PluginModule)
    assert isinstance(verify(load(sound).code, 0), Verified)

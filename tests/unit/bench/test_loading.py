import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loading import (
    LoadError,
    Target,
    parse_echo_result,
    parse_event,
    parse_load_result,
    parse_sweep_result,
    read_event,
)

RESULT = (
    b'{"event":"result","seconds":1.5,"sent":11,"answered":9,"failed":2,"failures":{"cut":2},"opened":1,'
    b'"closed":2,"backlog_max":3,"p50_us":100,"p90_us":150,"p99_us":null,"p999_us":1,"max_us":9}'
)


def test_load_result_is_read():
    result = parse_load_result(parse_event(RESULT))
    assert (result.seconds, result.sent, result.answered, result.failed) == (1.5, 11, 9, 2)
    assert result.failures == {"cut": 2}
    assert result.p99_us is None


@pytest.mark.parametrize("parse", [parse_load_result, parse_sweep_result, parse_echo_result])
def test_a_missing_field_is_an_error_that_names_it(parse):
    with pytest.raises(LoadError, match="lacks"):
        parse({"event": "result"})


@given(st.binary())
def test_any_line_is_an_event_or_a_load_error(line):
    with contextlib.suppress(LoadError):
        assert isinstance(parse_event(line)["event"], str)


@pytest.mark.parametrize("line", [b"panic", b"[1]", b"{}", b'{"event": 1}', b"\xff"])
def test_what_is_no_event_is_refused(line):
    with pytest.raises(LoadError):
        parse_event(line)


def test_the_end_of_output_is_an_error():
    with pytest.raises(LoadError, match="ended before"):
        read_event(io.BytesIO(b""))


def test_plain_target_names_no_certificate(tmp_path):
    plain = Target(8080, None, 3, (("/a", 1), ("/", 2)))
    assert plain.arguments() == [
        *("--address", "127.0.0.1:8080", "--hosts", "3", "--host", "h{}.bench.test"),
        *("--path", "/a=1", "--path", "/=2"),
    ]
    assert "--certificate" in Target(8443, tmp_path, 1, ()).arguments()

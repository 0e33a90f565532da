"""`log` of a Caddyfile as the messages that a node gets."""

from pathlib import Path

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_logs import add_loggers, build_encoder

LISTENERS = {":80": "http-80", ":8080": "http-8080"}


def draft(text, tmp_path):
    path = Path(tmp_path) / "Caddyfile"
    path.write_text(text)
    configuration, diagnostics = read_configuration(path)
    assert not diagnostics
    settings = pb.Settings()
    add_loggers(settings, configuration, LISTENERS)
    return settings


def test_without_log_the_default_logger_tells_of_errors_and_no_server_of_requests(tmp_path):
    found = draft("http://a.test {\n\trespond a\n}\n", tmp_path)
    assert [(one.name, one.output) for one in found.loggers] == [("default", pb.LOG_STDERR)]
    assert not found.server_logs


def test_a_bare_log_goes_to_the_default_logger(tmp_path):
    settings = draft("http://a.test {\n\tlog\n}\nhttp://b.test {\n\trespond b\n}\n", tmp_path)
    (logger,) = settings.loggers
    assert (logger.name, logger.output, list(logger.exclude)) == ("default", pb.LOG_STDERR, [])
    (server,) = settings.server_logs
    assert list(server.listeners) == ["http-80"]
    assert [(one.host, list(one.names)) for one in server.hosts] == [("a.test", [""])]
    assert list(server.skipped_hosts) == ["b.test"]


def test_a_log_of_its_own_is_kept_from_the_default_logger(tmp_path):
    text = "http://a.test {\n\tlog mine {\n\t\toutput file x.log\n\t\tlevel ERROR\n\t}\n}\n"
    settings = draft(text, tmp_path)
    default, mine = settings.loggers
    assert list(default.exclude) == list(mine.include) == ["http.log.access.mine"]
    assert (mine.output, mine.sink, mine.level_min) == (pb.LOG_AGENT, "file:x.log", 2)
    assert mine.writer == '{"filename": "x.log", "output": "file"}'


def test_credentials_are_logged_where_a_server_says_so(tmp_path):
    text = "{\n\tservers :8080 {\n\t\tlog_credentials\n\t}\n}\n"
    text += "http://a.test {\n\tlog\n}\nhttp://a.test:8080 {\n\tlog\n}\n"
    servers = draft(text, tmp_path).server_logs
    told = {server.listeners[0]: server.with_credentials for server in servers}
    assert told == {"http-80": False, "http-8080": True}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"filter": "delete"}, pb.LogFilter(kind=pb.LOG_DELETE)),
        ({"filter": "replace", "value": "x"}, pb.LogFilter(kind=pb.LOG_REPLACE, value="x")),
        ({"filter": "rename", "name": "x"}, pb.LogFilter(kind=pb.LOG_RENAME, value="x")),
        ({"filter": "ip_mask", "ipv4_cidr": 16}, pb.LogFilter(kind=pb.LOG_IP_MASK, ipv4_bits=16)),
        (
            {"filter": "query", "actions": [{"type": "replace", "parameter": "a", "value": "b"}]},
            pb.LogFilter(kind=pb.LOG_QUERY, actions=[pb.LogAction(kind=pb.LOG_REPLACE, name="a", value="b")]),
        ),
        (
            {"filter": "regexp", "regexp": "a", "value": "b"},
            pb.LogFilter(kind=pb.LOG_REGEXP, replacements=[pb.LogReplacement(pattern="a", value="b")]),
        ),
        (
            {"filter": "multi_regexp", "operations": [{"regexp": "a"}, {"regexp": "b", "value": "c"}]},
            pb.LogFilter(
                kind=pb.LOG_REGEXP,
                replacements=[pb.LogReplacement(pattern="a"), pb.LogReplacement(pattern="b", value="c")],
            ),
        ),
    ],
)
def test_each_filter_is_told(filters, expected):
    expected.field = "f"
    assert list(build_encoder({"format": "filter", "fields": {"f": filters}}).filters) == [expected]


def test_journald_leaves_out_the_time_of_console_lines():
    encoder = build_encoder(
        {"format": "journald", "wrap": {"format": "filter", "wrap": {"format": "console"}}}
    )
    assert encoder.wrapped.wrapped.HasField("time_key")
    assert not build_encoder({"format": "journald"}).HasField("time_key")

import json

from bench.beginning import FirstAnswer, StartReport, find_caddyfiles, plain_port, render


def adapted(**servers):
    return json.dumps({"apps": {"http": {"servers": servers}}})


def test_the_port_is_the_first_of_plain_http_on_loopback():
    tls = {"listen": ["127.0.0.1:8443"], "tls_connection_policies": [{}]}
    text = adapted(srv0=tls, srv1={"listen": [":80", "127.0.0.1:8080"]}, srv2={"listen": ["127.0.0.1:9"]})
    assert plain_port(text) == 8080


def test_there_may_be_no_such_port():
    assert plain_port(adapted(srv0={"listen": [":443"]})) is None
    assert plain_port("{}") is None


def test_directories_are_searched_and_files_are_taken_as_they_are(tmp_path):
    for name in ("b/Caddyfile", "a/Caddyfile", "a/other", "own.caddyfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_caddyfiles([tmp_path, tmp_path / "own.caddyfile"], tmp_path / "moved", 8080)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/Caddyfile",
        "b/Caddyfile",
        "own.caddyfile",
    ]


def test_the_table_has_median_and_most():
    reports = [
        StartReport(name, FirstAnswer(wall, cpu), FirstAnswer(wall / 2, cpu / 2))
        for name, wall, cpu in (("one", 0.6, 0.5), ("two", 1.0, 0.9), ("three", 0.8, 0.7))
    ]
    text = render(reports)
    assert "| cold | 0.80 | 1.00 | 0.70 | 0.90 |" in text
    assert "| warm | 0.40 | 0.50 | 0.35 | 0.45 |" in text
    assert text.index("two: 0.90 s") < text.index("three: 0.70 s")

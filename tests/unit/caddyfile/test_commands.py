"""adapt, validate and fmt."""

import json

from zeroserve_ir.caddyfile.commands import adapt, fmt, validate
from zeroserve_ir.codes import Code


def write(folder, text):
    path = folder / "Caddyfile"
    path.write_text(text)
    return path


def test_adapt_prints_json(tmp_path):
    result = adapt(write(tmp_path, ":80\n\nrespond ok\n"), {})
    assert not result.failed
    assert json.loads(result.output)["apps"]["http"]["servers"]["srv0"]["listen"] == [":80"]


def test_adapt_of_a_bad_file_prints_nothing_and_quotes_the_line(tmp_path):
    path = write(tmp_path, ":80 {\n\tfrob x\n}\n")
    result = adapt(path, {})
    assert result.failed and result.output == ""
    assert "2 | \tfrob x\n   | \t^^^^" in result.diagnostics[0].render(result.texts)


def test_validate(tmp_path):
    assert validate(write(tmp_path, ":80\n"), {}).output == "Valid configuration\n"
    assert validate(write(tmp_path, ":80 {\n"), {}).failed
    assert validate(tmp_path / "missing", {}).diagnostics[0].code is Code.ZS0111


def test_fmt_prints_marks_or_overwrites(tmp_path):
    path = write(tmp_path, "a {\nrespond x\n}\n")
    assert fmt(path).output == "a {\n\trespond x\n}\n"
    assert fmt(path, diff=True).output == "  a {\n- respond x\n+ \trespond x\n  }\n"
    assert fmt(path, overwrite=True).changed
    assert path.read_text() == "a {\n\trespond x\n}\n"
    assert not fmt(path).changed

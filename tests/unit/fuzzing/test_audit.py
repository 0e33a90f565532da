"""The audit surface names every file that keeps programs in, and the security model says what it counted."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_SPEC = importlib.util.spec_from_file_location("count", ROOT / "tools" / "audit" / "count.py")
count = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(count)


def test_no_file_of_the_sandbox_is_left_out():
    assert count.find_unlisted() == []


def test_every_part_has_files():
    assert all(count.find_files(patterns) for _, patterns in count.PARTS.values())


def test_blank_lines_comments_docstrings_and_tests_do_not_count(tmp_path):
    python, rust = tmp_path / "a.py", tmp_path / "a.rs"
    python.write_text('"""Doc\nstring."""\n\nX = 1  # said\n# nothing\n')
    rust.write_text("//! Doc\n\nfn one() {}\n\n#[cfg(test)]\nmod tests {\n    fn two() {}\n}\n")
    assert (count.count_lines(python), count.count_lines(rust)) == (1, 1)


def test_the_security_model_has_a_row_for_each_part():
    text = (ROOT / "docs" / "security-model.md").read_text()
    assert all(f"| {name} | {meaning} |" in text for name, (meaning, _) in count.PARTS.items())

"""Plugins compiled once a session, with the compiler that the development requirements bring."""

import pytest
from zeroserve_cli.plugins.building import compile_c, find_compiler


@pytest.fixture(scope="session")
def compile_text(tmp_path_factory):
    made = {}

    def compile_(text):
        if text not in made:
            path = tmp_path_factory.mktemp("plugin") / "plugin.c"
            path.write_text(text)
            made[text] = compile_c([path], find_compiler())
        return made[text]

    return compile_

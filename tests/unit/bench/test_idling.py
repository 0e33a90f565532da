"""What an idle connection takes: the difference of two readings by the number of connections between them."""

import pytest

from bench.idling import IdleReport, read_anonymous_mib, render

ROLLUP = "5581-7fff ---p 00000000 00:00 0    [rollup]\nRss:   9000 kB\nPss:   8000 kB\nPss_Anon:   6144 kB\n"


def test_the_anonymous_share_is_read():
    assert read_anonymous_mib(ROLLUP) == 6
    with pytest.raises(ValueError, match="Pss_Anon"):
        read_anonymous_mib("Pss: 8000 kB\n")


def test_the_difference_is_divided_and_told():
    report = IdleReport("h2", 2048, before_mib=10, after_mib=20, kernel_kib_each=3.25)
    assert report.kib_each() == 5
    assert render([report]).splitlines()[-1] == "| h2 | 2,048 | 10.0 | 20.0 | 5.00 | 3.2 |"

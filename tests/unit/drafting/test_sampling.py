"""Samplers by OpenTelemetry's names: what nodes are told."""

import re

import pytest
from zeroserve_ir.sampling import read_sampling


@pytest.mark.parametrize(
    ("sampler", "argument", "share", "ignores_parent"),
    [
        ("always_on", "", 1_000_000, True),
        ("always_off", "0.5", 0, True),
        ("traceidratio", "0.25", 250_000, True),
        ("traceidratio", "", 1_000_000, True),
        ("parentbased_always_on", "", 1_000_000, False),
        ("parentbased_always_off", "", 0, False),
        ("parentbased_traceidratio", " 1e-3 ", 1000, False),
        (" ParentBased_TraceIdRatio", "1", 1_000_000, False),
    ],
)
def test_a_sampler_has_a_share_and_asks_the_parent_or_not(sampler, argument, share, ignores_parent):
    found = read_sampling(sampler, argument)
    assert (found.share_in_million, found.ignores_parent) == (share, ignores_parent)


def test_without_a_sampler_nothing_is_told():
    assert read_sampling("", "0.1") is None


@pytest.mark.parametrize(
    ("sampler", "argument", "said"),
    [
        ("jaeger_remote", "", "no sampler `jaeger_remote`: write one of always_on,"),
        ("traceidratio", "5%", "`5%` is no share of all traces"),
        ("traceidratio", "1.5", "from 0 to 1"),
        ("parentbased_traceidratio", "-0.1", "such as 0.05"),
        ("traceidratio", "nan", "`nan`"),
    ],
)
def test_what_is_no_sampler_is_refused_with_a_cure(sampler, argument, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_sampling(sampler, argument)

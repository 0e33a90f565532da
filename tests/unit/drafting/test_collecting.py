"""The cycle collector rests while a pause lasts, and goes on afterwards whatever happened."""

import gc

import pytest
from zeroserve_ir.collecting import collection_paused


def test_it_rests_within_and_goes_on_afterwards():
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_an_error():
    with pytest.raises(ValueError, match="bad"), collection_paused(for_life=True):
        raise ValueError("bad")
    assert gc.isenabled()


def test_a_pause_in_a_pause_ends_with_the_outer_one():
    with collection_paused():
        with collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_there_for_life_is_not_looked_through_again():
    with collection_paused(for_life=True):
        made = [[]]
    try:
        assert not any(one is made for one in gc.get_objects())
    finally:
        gc.unfreeze()

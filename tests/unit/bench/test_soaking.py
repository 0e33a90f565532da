"""Growth is judged in one process' life, after its first quarter."""

from bench.slopes import HOUR_S
from bench.soaking import Sample, find_growth


def sample(at_s, pid, name, mib, descriptors=10):
    return Sample(at_s, pid, name, mib, mib, descriptors, threads=4)


def test_the_longest_life_counts_and_not_its_start():
    start = [sample(at, 1, "engine", 100 - at) for at in range(10)]
    steady = [sample(at, 1, "engine", 50) for at in range(10, 40)]
    next_one = [sample(at, 2, "engine", 20) for at in range(40, 50)]
    (growth,) = find_growth([*start, *steady, *next_one])
    assert (growth.name, growth.samples, growth.rss_mib) == ("engine", 30, 50)
    assert growth.rss is not None and growth.rss.per_hour == 0
    assert growth.is_clean()


def test_memory_or_descriptors_that_grow_for_sure_are_not_clean():
    def grow(mib_per_hour, descriptors_per_hour):
        return find_growth(
            sample(at, 1, "agent", 50 + mib_per_hour * at / HOUR_S, 10 + descriptors_per_hour * at / HOUR_S)
            for at in range(0, 3600, 10)
        )[0].is_clean()

    assert grow(0.5, 1)
    assert not grow(2, 0)
    assert not grow(0, 5)

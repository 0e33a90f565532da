"""Programs that nobody wrote, run on every execution: random ones, mutated real ones, and attacks.

`python -m fuzzing` (with `tests` on the path; `make fuzz`) is the nightly command; the tests of
`tests/unit/fuzzing` run the same with smaller numbers.
"""

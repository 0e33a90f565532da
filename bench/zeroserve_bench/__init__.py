"""The proxy comparison: `python -m zeroserve_bench` with `bench/` on the path. See bench/README.md."""

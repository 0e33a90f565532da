"""The proxy comparison and its companions: `python -m bench` from the repository's root. See README.md."""

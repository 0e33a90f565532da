"""`python -m zeroserve_bench`."""

import sys

from zeroserve_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())

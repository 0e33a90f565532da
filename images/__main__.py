"""The command line: `python -m images` writes OCI archives of all images to dist/images."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import recipes, wheels
from .archives import Architecture
from .debian import ImageError

IMAGES = ("operator", "agent", "engine")
EPILOG = """examples:
  python -m images                               # all three, for this machine's architecture
  python -m images engine --architecture arm64   # needs gcc-aarch64-linux-gnu and Rust's target
  ctr -n k8s.io images import dist/images/zeroserve-engine-0.1.0-amd64.oci.tar
  podman load -i dist/images/zeroserve-engine-0.1.0-amd64.oci.tar"""


def main() -> int:
    """Build what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(
        "images", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)}; all if none is named"
    )
    parser.add_argument(
        "--architecture", type=Architecture, default=Architecture.AMD64, help="amd64 (default) or arm64"
    )
    parser.add_argument(
        "--out", type=Path, default=wheels.REPOSITORY / "dist" / "images", help="folder of the archives"
    )
    parser.add_argument("--tag", default=wheels.version(), help="the images' tag (default: the version)")
    parser.add_argument(
        "--registry", default="localhost", help="first part of the images' names (default: localhost)"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.images) - set(IMAGES)
    if unknown:
        parser.error(f"no such image: {', '.join(sorted(unknown))}")
    cache = Path(os.environ.get("ZEROSERVE_CACHE") or Path.home() / ".cache" / "zeroserve")
    order = recipes.Order(arguments.architecture, cache, arguments.registry, arguments.tag)
    try:
        for image in arguments.images or IMAGES:
            start = time.monotonic()
            print(
                f"building the image of {image} for {order.architecture.value} ...",
                file=sys.stderr,
                flush=True,
            )
            target = archive_path(arguments.out, image, order)
            digest = build(image, order, target)
            size = target.stat().st_size / 1e6
            print(f"{target}  {digest}  {size:.0f} MB, {time.monotonic() - start:.1f} s")
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def build(image: str, order: recipes.Order, target: Path) -> str:
    """Build one image into an archive and return its digest."""
    return (
        recipes.build_engine(order, target)
        if image == "engine"
        else recipes.build_python(order, image, target)
    )


def archive_path(folder: Path, image: str, order: recipes.Order) -> Path:
    """Return the archive's file name in a folder."""
    return folder / f"zeroserve-{image}-{order.tag}-{order.architecture.value}.oci.tar"


if __name__ == "__main__":
    sys.exit(main())

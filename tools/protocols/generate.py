"""Generates the committed protobuf code of both languages from proto/ (`make gen`).

In: proto/zeroserve/v1/*.proto. Out: ir/zeroserve_ir/_pb (Python with stubs) and the engine's
src/protocol/messages.rs, written below the directory given as the only argument (default: the
repository), so that the drift test can compare a fresh run with what is committed.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "zeroserve/v1"


def main(out: Path) -> None:
    """Generate everything below `out`."""
    sources = sorted(str(path) for path in (ROOT / "proto" / PACKAGE).glob("*.proto"))
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    include = ["-I", str(ROOT / "proto"), "-I", str(Path(grpc_tools.__file__).parent / "_proto")]
    with tempfile.TemporaryDirectory() as scratch:
        run_protoc(*include, f"--python_out={scratch}", f"--mypy_out=quiet:{scratch}", *sources)
        service = str(ROOT / "proto" / PACKAGE / "discovery.proto")
        run_protoc(*include, f"--grpc_python_out={scratch}", f"--mypy_grpc_out=quiet:{scratch}", service)
        write_python(Path(scratch) / PACKAGE, out / "ir/zeroserve_ir/_pb")
        descriptors = Path(scratch) / "descriptors.bin"
        run_protoc(*include, f"--descriptor_set_out={descriptors}", "--include_imports", *sources)
        write_rust(descriptors, out / "dataplane/engine/src/protocol/messages.rs")


def run_protoc(*arguments: str) -> None:
    """Run protoc with the arguments, or stop with its exit code."""
    if code := protoc.main(["protoc", *arguments]):
        raise SystemExit(code)


def write_python(generated: Path, target: Path) -> None:
    """Copy generated modules, with imports bent to their place in `zeroserve_ir`."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "__init__.py").write_text('"""Generated from proto/ by `make gen`; not edited."""\n')
    for path in sorted(generated.iterdir()):
        text = re.sub(r"\bfrom zeroserve\.v1 import", "from zeroserve_ir._pb import", path.read_text())
        text = text.replace("import zeroserve.v1.", "import zeroserve_ir._pb.")
        text = re.sub(r"(?<![\w.])zeroserve\.v1\.(\w+_pb2)", r"zeroserve_ir._pb.\1", text)
        (target / path.name).write_text(text)


def write_rust(descriptors: Path, target: Path) -> None:
    """Generate prost types from a descriptor set."""
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = ROOT / "tools/protocols/Cargo.toml"
    command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", str(manifest)]
    subprocess.run([*command, "--", str(descriptors), str(target)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)

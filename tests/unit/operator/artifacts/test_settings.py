"""`zeroserve operator` takes registries, a folder of keys and authorities; what is wrong ends it, by name."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from zeroserve_cli.operating import read_registries
from zeroserve_operator.artifacts.references import AllowedRegistry

from .signing import make_key


def test_nothing_is_allowed_by_default():
    policy = read_registries([], None, None)
    assert (policy.registries, policy.keys, policy.authorities) == ((), (), "")


def test_keys_are_the_files_of_a_folder_as_kubernetes_mounts_one(tmp_path):
    data = tmp_path / "..2026_11_21"
    data.mkdir()
    (data / "release.pub").write_text(make_key()[1])
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "release.pub").symlink_to("..data/release.pub")
    policy = read_registries(["registry.example/team", "http://localhost:5000"], tmp_path, None)
    assert policy.registries == (
        AllowedRegistry("registry.example", "team"),
        AllowedRegistry("localhost:5000", scheme="http"),
    )
    assert len(policy.keys) == 1


def make_authority():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_authorities_are_pem(tmp_path):
    (tmp_path / "ca.pem").write_bytes(make_authority())
    assert "BEGIN CERTIFICATE" in read_registries([], None, tmp_path / "ca.pem").authorities
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(SystemExit):
        read_registries([], None, tmp_path / "ca.pem")


def test_what_is_no_registry_or_key_ends_the_operator(tmp_path):
    with pytest.raises(SystemExit, match="of a registry"):
        read_registries(["hello"], None, None)
    (tmp_path / "a.pub").write_text("nonsense")
    with pytest.raises(SystemExit, match=r"a\.pub is no public key in PEM"):
        read_registries([], tmp_path, None)
    with pytest.raises(SystemExit, match="missing"):
        read_registries([], tmp_path / "missing", None)

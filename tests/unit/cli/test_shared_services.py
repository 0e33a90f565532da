"""`--shared-auth-service`: Services that every namespace may ask."""

import argparse

import pytest
from zeroserve_cli import operating
from zeroserve_operator.settings import SharedService


def read(*words):
    parser = argparse.ArgumentParser()
    operating.add_arguments(parser)
    return operating.make_settings(parser.parse_args(words)).build


def test_no_service_is_shared_by_default():
    assert read().shared_auth_services == ()


def test_each_use_shares_a_service_or_one_port_of_it():
    found = read("--shared-auth-service=auth/gate", "--shared-auth-service", "auth/oauth2-proxy:4180")
    assert found.shared_auth_services == (
        SharedService("auth", "gate"),
        SharedService("auth", "oauth2-proxy", "4180"),
    )


def test_what_names_no_service_ends_the_operator():
    with pytest.raises(SystemExit, match=r"--shared-auth-service: 'gate' is not NAMESPACE/NAME"):
        read("--shared-auth-service", "gate")

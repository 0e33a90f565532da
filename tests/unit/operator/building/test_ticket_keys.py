"""Keys of session tickets: equal on all replicas, new every day, and understood across midnight."""

import base64
import datetime
import json
from dataclasses import replace

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.default_certificates import make_default_certificate
from zeroserve_operator.pipeline import DEV_SETTINGS
from zeroserve_operator.ticket_keys import KEY_BYTES, derive_ticket_keys

DAY = datetime.date(2026, 3, 1)
NEXT = DAY + datetime.timedelta(days=1)


def test_replicas_derive_the_same_keys():
    keys = derive_ticket_keys(b"secret", DAY)
    assert keys == derive_ticket_keys(b"secret", DAY) != derive_ticket_keys(b"other", DAY)
    assert {len(key) for key in keys} == {KEY_BYTES} and len(set(keys)) == 3


def test_each_day_seals_with_a_key_of_its_own_that_its_neighbours_open():
    today, tomorrow = derive_ticket_keys(b"secret", DAY), derive_ticket_keys(b"secret", NEXT)
    assert today[0] != tomorrow[0]
    assert today[0] in tomorrow and tomorrow[0] in today
    assert today[0] not in derive_ticket_keys(b"secret", NEXT + datetime.timedelta(days=1))


def test_nodes_get_keys_where_the_default_certificate_is_a_secret(build, ingress):
    pair = make_default_certificate(datetime.datetime.now(datetime.UTC))
    encoded = {
        "tls.crt": base64.b64encode(pair.certificate).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": encoded}
    secret["metadata"] = {"name": "fallback", "namespace": "default"}
    text = f"{ingress()}---\n{json.dumps(secret)}\n"
    for name, count in (("default/fallback", 3), ("", 0)):
        loaded = build(text, replace(DEV_SETTINGS, default_certificate=name))
        (payload,) = (one.payload for one in loaded.draft.resources.values() if one.type == pb.SETTINGS)
        keys = pb.Settings.FromString(payload).ticket_keys
        assert [len(key) for key in keys] == [KEY_BYTES] * count

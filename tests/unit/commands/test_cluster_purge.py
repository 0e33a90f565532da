"""`zeroserve cache purge --namespace`: an object for the operator, and the wait for all nodes."""

import pytest
from zeroserve_cli.purging import purge_cluster

COLLECTION = "/apis/zeroserve.dev/v1alpha1/namespaces/shop/zeroservecachepurges"


class Api:
    """Nodes do it one after the other, each time they are asked about."""

    def __init__(self, nodes):
        self.nodes, self.done, self.created = nodes, 0, []

    def request(self, method, path, body=None):
        if method == "POST":
            self.created.append((path, body["spec"]))
            return {"metadata": {"name": "purge-1"}}
        assert path == f"{COLLECTION}/purge-1"
        done, self.done = self.done, min(self.done + 1, self.nodes)
        programmed = {"type": "Programmed", "status": "True" if done == self.nodes else "False"}
        return {"status": {"conditions": [programmed], "nodes": {"acked": done, "total": self.nodes}}}


def test_it_ends_well_once_all_nodes_have_done_it(capsys):
    api = Api(1)
    assert purge_cluster(api, "shop", "https://shop.example/*", 60) == 0
    assert api.created == [(COLLECTION, {"targets": ["https://shop.example/*"]})]
    assert capsys.readouterr().out == "purge-1: done by 1 of 1 nodes\n"


@pytest.mark.parametrize("wait_s", [0.0])
def test_it_fails_where_nodes_are_too_late(capsys, wait_s):
    assert purge_cluster(Api(2), "shop", "*", wait_s) == 1
    assert "kubectl get zscp -n shop" in capsys.readouterr().err

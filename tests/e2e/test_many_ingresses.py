"""A thousand Ingresses in the cluster: a change of one is served, and none is lost."""

import changing
import manifests
from cluster.clients import Client
from releases import Release

INGRESSES = 1000
CHANGES = 200


def test_each_of_200_changes_among_1000_ingresses_is_served(namespace: Client, release: Release) -> None:
    namespace.apply(manifests.backend("many"))
    namespace.rolled_out("deployment/many")
    changing.make_ingresses(namespace, release, "many", INGRESSES)
    found = changing.change_all(namespace, release, INGRESSES, CHANGES)
    assert found.lost == []
    assert len(found.times_ms) == CHANGES
    probed = range(0, INGRESSES, 50)
    statuses = {changing.ask(namespace, release, changing.host(number))[0] for number in probed}
    assert statuses == {200}

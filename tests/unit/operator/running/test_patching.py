"""Statuses and Events: what is written, and how often."""

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_operator.building.model import ObjectOutcome
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.patching import EVENT_AGAIN_S, ObjectReport, Patcher
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.statuses import MESSAGE_LENGTH_MAX, NodeCount, list_notices, make_route_status

INGRESS = ObjectKey(Kind.INGRESS, "web", "shop")
ROUTE = ObjectKey(Kind.ZEROSERVE_ROUTE, "web", "blog")
GOOD = ObjectOutcome((), ("shop.example",), 3)
NO_NODES = NodeCount(0, 0)


def finding(code=Code.ZS0302, message="Service x is not there", severity=Severity.ERROR):
    return Diagnostic(code, message, origin=INGRESS.origin.at("spec"), severity=severity)


class Api:
    def __init__(self, refuse=0, current=None):
        self.calls, self.refuse, self.current = [], refuse, current or {}

    def request(self, method, path, body=None, *, content_type="application/json"):
        self.calls.append((method, path, body))
        if self.refuse and method != "GET":
            raise ClusterError(self.refuse, "refused")
        return self.current

    def writes(self):
        return [call for call in self.calls if call[0] != "GET"]


def report(key=INGRESS, outcome=GOOD, nodes=NO_NODES, addresses=()):
    return ObjectReport(key, "uid", outcome, nodes, addresses)


def test_addresses_are_written_where_they_differ():
    api = Api()
    patcher = Patcher(api)
    patcher.write([report()], ["192.0.2.1", "lb.example"])
    patcher.write([report(addresses=("192.0.2.1", "lb.example"))], ["lb.example", "192.0.2.1"])
    ((method, path, body),) = api.writes()
    assert (method, path) == ("PATCH", "/apis/networking.k8s.io/v1/namespaces/web/ingresses/shop/status")
    assert body["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]


def test_an_ingress_that_serves_nothing_gets_no_address():
    api = Api()
    Patcher(api).write([report(outcome=ObjectOutcome((), (), 1))], ["192.0.2.1"])
    assert not api.writes()


def test_an_event_is_written_once_and_again_before_it_is_gone():
    now = [0.0]
    api = Api()
    patcher = Patcher(api, steady=lambda: now[0])
    bad = report(outcome=ObjectOutcome((finding(),), (), 1))
    for _ in range(5):
        patcher.write([bad], [])
    assert len(api.writes()) == 1
    now[0] += EVENT_AGAIN_S
    patcher.write([bad], [])
    assert len(api.writes()) == 2
    event = api.writes()[0][2]
    assert (event["type"], event["reason"], event["involvedObject"]["name"]) == ("Warning", "ZS0302", "shop")


def test_findings_of_one_code_are_one_event_of_bounded_length():
    items = tuple(finding(message=f"Service {index:04} is not there " + "x" * 100) for index in range(50))
    (notice,) = list_notices({INGRESS: ObjectOutcome(items, (), 1)}, {})
    assert len(notice.message) <= MESSAGE_LENGTH_MAX and "0000" in notice.message


def test_a_refused_write_is_tried_again():
    api = Api(refuse=500)
    patcher = Patcher(api)
    patcher.write([report()], ["192.0.2.1"])
    api.refuse = 0
    patcher.write([report()], ["192.0.2.1"])
    assert len(api.writes()) == 2


def test_an_event_that_is_there_is_counted_on():
    api = Api(current={"count": 4})
    patcher = Patcher(api)
    request = api.request

    def once(method, path, body=None, **options):
        if method == "POST":
            api.calls.append((method, path, body))
            raise ClusterError(409, "exists")
        return request(method, path, body, **options)

    api.request = once
    patcher.write([report(outcome=ObjectOutcome((finding(),), (), 1))], [])
    assert api.writes()[-1][0] == "PATCH" and api.writes()[-1][2]["count"] == 5


def conditions(outcome, nodes, before=None, now="2026-11-21T00:00:00Z"):
    status = make_route_status(outcome, nodes, before or {}, now)
    return {item["type"]: item for item in status["conditions"]}, status


def test_a_route_is_programmed_when_all_nodes_serve_it():
    found, status = conditions(GOOD, NodeCount(2, 2))
    assert (found["Accepted"]["status"], found["Programmed"]["status"]) == ("True", "True")
    assert found["Programmed"]["observedGeneration"] == 3
    assert status["nodes"] == {"acked": 2, "total": 2}


def test_a_route_waits_for_nodes_and_tells_refusals():
    found, _ = conditions(GOOD, NodeCount(1, 2))
    assert (found["Programmed"]["status"], found["Programmed"]["reason"]) == ("False", "Pending")
    found, _ = conditions(GOOD, NodeCount(1, 2, ("ZS0601",)))
    assert found["Programmed"]["reason"] == "ZS0601"


def test_a_route_with_an_error_is_not_accepted_and_says_why():
    found, _ = conditions(ObjectOutcome((finding(),), (), 4), NodeCount(1, 1))
    assert (found["Accepted"]["status"], found["Accepted"]["reason"]) == ("False", "ZS0302")
    assert "Service x is not there" in found["Accepted"]["message"]


def test_the_time_of_a_transition_stays_while_the_status_does():
    _, before = conditions(GOOD, NodeCount(1, 2))
    found, _ = conditions(GOOD, NodeCount(2, 2), before, now="2027-01-01T00:00:00Z")
    assert found["Accepted"]["lastTransitionTime"] == "2026-11-21T00:00:00Z"
    assert found["Programmed"]["lastTransitionTime"] == "2027-01-01T00:00:00Z"


def test_a_newer_generation_is_not_answered_by_an_older_build():
    api = Api(current={"metadata": {"generation": 9}})
    Patcher(api).write([report(ROUTE)], [])
    assert not api.writes()

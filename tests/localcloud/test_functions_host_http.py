"""The host's HTTP side: the webhook, the app's routes, the operators' endpoints. One host for the whole file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.azurites import Azurite
from tests.localcloud.functions_hosts import APPS, Answer, RunningHost, eventually

EVENT = {"id": "1", "eventType": "T", "subject": "s", "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1"}


@pytest.fixture(scope="module")
def host(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    values = {
        "AzureWebJobsStorage": azurite.connection_string(),
        "AzureWebJobs.off.Disabled": "true",
        "AzureWebJobs.asleep.Disabled": "1",
        "PREFIX": "http",
        "TICK": "0 0 0 1 1 *",
        "HUB": "unused",
    }
    running = RunningHost(tmp_path_factory.mktemp("host"), APPS / "everything", values).up()
    yield running
    running.kill()


def deliver(host: RunningHost, body: object, function: str = "raw", kind: str | None = "Notification") -> Answer:
    key = host.admin("/admin/host/systemkeys/eventgrid_extension")["value"]
    headers = {"aeg-event-type": kind} if kind else {}
    return host.call("POST", f"/runtime/webhooks/EventGrid?functionName={function}&code={quote(key)}", body, headers)


def event(**changes: Any) -> dict[str, Any]:
    return EVENT | changes


def test_every_event_of_a_delivery_is_one_invocation(host: RunningHost) -> None:
    answer = deliver(host, [event(id="a"), event(id="b")])

    assert (answer.status, answer.body) == (202, "")
    assert {"a", "b"} <= {seen["id"] for seen in host.seen("raw")}


def test_a_single_event_and_a_cloud_event_are_taken_without_an_array(host: RunningHost) -> None:
    assert deliver(host, event(id="alone")).status == 202
    assert deliver(host, {"specversion": "1.0", "id": "cloud", "source": "s", "type": "t"}).status == 202
    assert {"alone", "cloud"} <= {seen["id"] for seen in host.seen("raw")}


def test_one_failed_event_fails_the_delivery_and_the_others_have_run(host: RunningHost) -> None:
    answer = deliver(host, [event(id="good"), event(id="bad", subject="fail")])

    assert answer.status == 500
    assert "this event is bad" in answer.body
    assert "good" in {seen["id"] for seen in host.seen("raw")}


def test_events_of_a_delivery_run_at_the_same_time(host: RunningHost) -> None:
    started = time.monotonic()

    assert deliver(host, [event(id=f"slow{number}", subject="slow") for number in range(10)]).status == 202
    assert time.monotonic() - started < 10 * 0.4


def test_typed_events_are_decoded_and_a_time_that_is_not_utc_fails_before_the_code(host: RunningHost) -> None:
    assert deliver(host, [event(id="typed", data={"a": 1})], "typed").status == 202
    assert {"id": "typed", "data": {"a": 1}} in host.seen("typed")
    assert deliver(host, [event(eventTime="2026-01-01T00:00:00+02:00")], "typed").status == 500


def test_cardinality_many_gets_the_whole_array(host: RunningHost) -> None:
    assert deliver(host, [event(id="x"), event(id="y")], "whole").status == 202
    assert [one["id"] for one in host.seen("whole")[-1]] == ["x", "y"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_subscription_handshake_is_answered(host: RunningHost, wrapped: bool) -> None:
    data = {"validationCode": "c0de"}
    body = [event(data=data)] if wrapped else event(data=json.dumps(data))

    answer = deliver(host, body, kind="SubscriptionValidation")

    assert (answer.status, json.loads(answer.body)) == (200, {"validationResponse": "c0de"})


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("eventgrid.azure.cn", "eventgrid.azure.cn"),
        ("evil.example", "eventgrid.azure.net"),
        ("", "eventgrid.azure.net"),
    ],
)
def test_the_cloudevents_handshake_is_answered(host: RunningHost, origin: str, allowed: str) -> None:
    path = f"/runtime/webhooks/eventgrid?functionName=raw&code={quote(host.master)}"

    answer = host.call("OPTIONS", path, headers={"WebHook-Request-Origin": origin})

    assert (answer.status, answer.headers["Webhook-Allowed-Origin"]) == (200, allowed)


def test_the_webhooks_status_codes(host: RunningHost) -> None:
    assert host.call("POST", "/runtime/webhooks/eventgrid?functionName=raw", []).status == 401
    assert host.call("POST", "/runtime/webhooks/eventgrid?functionName=raw&code=wrong", []).status == 401
    assert deliver(host, [], "Raw") == deliver(host, [], "Raw")._replace(status=404, body="cannot find function: 'Raw'")
    assert deliver(host, [], "asleep").status == 404
    assert deliver(host, [], kind="Unsubscribe").status == 202
    assert deliver(host, [], kind=None).status == 400
    assert deliver(host, [], kind="notification").status == 202
    assert deliver(host, b"\xff{", kind="Notification").status == 500


def test_a_header_key_wins_over_the_query(host: RunningHost) -> None:
    path = f"/runtime/webhooks/eventgrid?functionName=raw&code={quote(host.master)}"

    assert host.call("POST", path, [], {"x-functions-key": "wrong", "aeg-event-type": "Notification"}).status == 401


def test_a_request_reaches_the_function_whole_and_its_answer_comes_back_whole(host: RunningHost) -> None:
    answer = host.call("POST", "/api/things/7/x?a=1&a=2&b=", "grüße", {"X-Custom": "v"})

    assert answer.status == 201
    assert (answer.headers["X-Out"], answer.headers["content-type"]) == ("yes", "application/json")
    assert json.loads(answer.body) == {
        "method": "POST",
        "url": f"http://127.0.0.1:{host.port}/api/things/7/x?a=1&a=2&b=",
        "route": {"id": "7", "tail": "x"},
        "query": {"a": "1,2", "b": ""},
        "header": "v",
        "body": "grüße",
    }


def test_the_status_codes_of_http_functions(host: RunningHost) -> None:
    master = {"x-functions-key": host.master}
    own = {"x-functions-key": host.admin("/admin/functions/closed/keys/default")["value"]}
    anyone = {"x-functions-key": host.admin("/admin/host/functionkeys/default")["value"]}

    assert host.call("GET", "/api/things/special").body == "the literal route"
    assert host.call("GET", "/api/things/x").status == 404
    assert host.call("DELETE", "/api/things/7").status == 404
    assert [host.call("GET", "/api/closed", headers=key).status for key in ({}, own, anyone, master)] == [
        401,
        200,
        200,
        200,
    ]
    assert [host.call("GET", "/api/operators", headers=key).status for key in ({}, own, anyone, master)] == [
        401,
        401,
        401,
        200,
    ]
    assert [host.call("GET", "/api/off", headers=key).status for key in ({}, master)] == [404, 200]


@pytest.mark.parametrize("route", ["broken", "nothing"])
def test_a_function_that_fails_is_a_500_without_a_body(host: RunningHost, route: str) -> None:
    answer = host.call("GET", f"/api/{route}")

    assert (answer.status, answer.body) == (500, "")
    assert f"{route} " in host.log


def test_the_operators_endpoints(host: RunningHost) -> None:
    assert host.call("GET", "/admin/host/ping").status == 200
    assert host.call("GET", "/admin/host/status").status == 401
    assert host.admin("/admin/host/status")["state"] == "Running"
    listed = {one["name"]: one for one in host.admin("/admin/functions")}
    assert listed["off"]["isDisabled"]
    assert listed["raw"]["config"]["bindings"][0]["type"] == "eventGridTrigger"
    assert host.admin("/admin/functions/raw/status") == {}
    assert host.invoke("no_such_function", "") == 404


def test_a_timer_is_invoked_by_hand(host: RunningHost) -> None:
    assert host.invoke("tick", "") == 202
    assert eventually(lambda: host.seen("tick"))[0]["past_due"] is False


def test_a_retry_policy_is_followed_and_its_count_is_in_the_context(host: RunningHost) -> None:
    assert host.invoke("stubborn", "") == 202
    eventually(lambda: len(host.seen("stubborn")) == 3)
    assert host.seen("stubborn") == [[0, 0], [1, 2], [2, 2]]


def test_an_event_hub_function_is_invoked_in_batches_by_hand_and_its_output_is_recorded(host: RunningHost) -> None:
    assert host.invoke("hub", json.dumps(["a", "b", "c", {"x": 1}])) == 202

    eventually(lambda: len(host.seen("hub")) == 2)
    bodies = [[body for body, _ in batch] for batch in host.seen("hub")]
    assert bodies == [["a", "b", "c"], ['{"x":1}']]
    recorded = eventually(lambda: (host.folder / "state" / "outputs" / "onward.jsonl").read_text().splitlines())
    assert json.loads(recorded[0]) == {"body": "a"}

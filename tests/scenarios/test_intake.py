"""What arrives: every documented event, the same one twice, and what is no event."""

from __future__ import annotations

from pathlib import Path

from shared.events import SOURCE_TYPES
from tests.scenarios.town import Town, documented, event, eventually

SAMPLES = Path(__file__).resolve().parent.parent / "events"
# The reacting samples are delivered by the scenarios of the reactions, with things behind them that exist.
REACTING = ("blob_created", "blob_renamed", "dataset_drift_detected", "image_pushed")


def test_every_documented_event_type_is_journalled_with_its_outcome(town: Town) -> None:
    sent = {}
    for name, found in documented(SAMPLES):
        quiet = found | ({"subject": "/elsewhere"} if name.startswith(REACTING) or name.startswith("quirk") else {})
        if "dataset_drift" in name or "image_pushed" in name:
            continue
        identity = f"{name}-of-the-scenario"
        quiet = {key: value for key, value in quiet.items() if key.lower() != "id"} | {"id": identity}
        assert town.deliver(quiet, cloud_events=name.endswith("cloud_events")) == 202
        sent[identity] = name
    known = {row["id"]: row for row in town.deliveries()}
    assert set(sent) <= set(known)
    assert {known[identity]["outcome"] for identity in sent} <= {"routed", "ignored", "duplicate"}
    assert all(known[identity]["reason"] for identity in sent)
    told = {row["type"] for row in known.values()}
    quiet_types = {type_ for type_ in SOURCE_TYPES if not type_.endswith(("DatasetDriftDetected", "ImagePushed"))}
    assert quiet_types <= told


def test_an_event_that_nobody_wants_is_ignored_with_the_reason(town: Town) -> None:
    nobodys = event("Storage.BlobDeleted", "/blobServices/default/containers/bronze/blobs/x", {})
    assert town.deliver(nobodys) == 202
    [row] = town.deliveries(nobodys["id"])
    assert (row["outcome"], row["reason"]) == ("ignored", "no route listens to Microsoft.Storage.BlobDeleted")


def test_an_event_that_comes_twice_starts_one_run_and_the_second_names_the_first(town: Town) -> None:
    model = event(
        "MachineLearningServices.ModelRegistered", "models/twice:1", {"modelName": "twice", "modelVersion": "1"}
    )
    assert [town.deliver(model), town.deliver(model)] == [202, 202]
    second, first = town.deliveries(model["id"])
    assert (first["outcome"], second["outcome"]) == ("routed", "duplicate")
    assert first["reference"] in second["reason"]
    town.ended("registered", "twice:1")
    assert len(town.runs("registered", "twice:1")) == 1


def test_what_cannot_be_read_is_quarantined_with_the_reason_and_not_sent_again(town: Town) -> None:
    bad = {"subject": "quarantined", "data": {}, "id": "without-a-type"}
    untimed = event("Storage.BlobDeleted", "timeless", {}, eventTime="yesterday")
    assert town.deliver(bad) == 202
    assert town.deliver(untimed) == 202
    reasons = {row["id"]: row["reason"] for row in town.deliveries(outcome="rejected")}
    assert "neither eventType" in reasons["without-a-type"]
    assert "time cannot be read" in reasons[untimed["id"]]


def test_one_bad_event_of_a_batch_costs_its_neighbours_nothing(town: Town) -> None:
    good = [
        event("MachineLearningServices.ModelRegistered", f"models/batch:{n}", {"modelName": "batch", "modelVersion": n})
        for n in (1, 2)
    ]
    assert town.deliver(good[0], {"no": "event"}, good[1]) == 202
    assert [town.deliveries(one["id"])[0]["outcome"] for one in good] == ["routed", "routed"]


def test_a_body_that_is_not_json_is_refused_by_the_host_and_harms_nothing(town: Town) -> None:
    status, _ = town.post_raw(b"{not json")
    assert status == 500
    assert town.api("health")[0] == 200


def test_an_event_of_one_megabyte_is_kept_whole(town: Town) -> None:
    large = event("Storage.BlobDeleted", "large", {"filling": "x" * 1_000_000})
    assert town.deliver(large) == 202
    assert eventually(lambda: town.deliveries(large["id"]))[0]["outcome"] == "ignored"


def test_requests_without_the_key_are_refused(town: Town) -> None:
    assert town.api("runs", key="wrong")[0] == 401
    assert town.api("explain/never-seen")[0] == 404
    assert town.api("events?outcome=lost")[0] == 400

"""The host killed, the storage restarted, an operator's replay: nothing is lost, nothing happens twice."""

from __future__ import annotations

import os
import signal
import time

from tests.scenarios.town import Town, event, eventually


def test_a_host_that_is_killed_in_the_middle_loses_nothing_and_doubles_nothing(town: Town) -> None:
    host = town.process("functions")
    landed = {town.land("killed", version, data_change=False) for version in range(1, 4)}
    os.kill(host, signal.SIGKILL)
    landed |= {town.land("killed", version, data_change=False) for version in range(4, 9)}
    eventually(lambda: town.process("functions") != host, 30)
    eventually(lambda: town.api("health")[0] == 200)
    eventually(lambda: landed <= {row["id"] for row in town.deliveries(outcome="routed")}, 40)

    def told() -> set[str]:
        """How it stands with all that came of what landed."""
        return {
            effect["phase"] for one in landed for effect in town.api(f"explain/{one}")[1]["led_to"] or [{"phase": ""}]
        }

    # The sweep looks twice a minute at what is a minute late.
    eventually(lambda: told() == {"skipped"}, 150)
    assert all(len(town.api(f"explain/{one}")[1]["led_to"]) == 1 for one in landed)


def test_storage_that_is_stopped_and_started_again_is_waited_for(town: Town) -> None:
    before = event("MachineLearningServices.ModelRegistered", "m", {"modelName": "before", "modelVersion": 1})
    assert town.deliver(before) == 202
    town.ended("registered", "before:1")
    town.manage("restart", "azurite")
    after = event("MachineLearningServices.ModelRegistered", "m", {"modelName": "after", "modelVersion": 1})
    eventually(lambda: town.deliver(after) == 202)
    assert town.ended("registered", "after:1")[0]["phase"] == "succeeded"
    assert town.deliveries(before["id"])[0]["outcome"] == "routed"


def test_a_replay_joins_what_the_event_has_started(town: Town) -> None:
    model = event("MachineLearningServices.ModelRegistered", "m", {"modelName": "replayed", "modelVersion": 1})
    assert town.deliver(model) == 202
    [run] = town.ended("registered", "replayed:1")
    status, answer = town.api(f"replay/{model['id']}", method="POST")
    assert (status, answer["receipts"][0]["outcome"]) == (200, "duplicate")
    assert [effect["run"] for effect in answer["led_to"]] == [run["run"]]
    time.sleep(1)
    assert len(town.runs("registered", "replayed:1")) == 1

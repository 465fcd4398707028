"""What a pipeline job means."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.azure_ml_pipeline import Invalid, Literal, Output, Step, Stored, command, steps

TRAIN = {
    "type": "command",
    "command": "train ${{inputs.data}} $[[--limit ${{inputs.limit}}]] ${{outputs.model}}",
    "inputs": {
        "data": {"type": "uri_folder"},
        "limit": {"type": "integer", "optional": True},
        "depth": {"type": "integer", "default": 3},
    },
    "outputs": {"model": {"type": "mlflow_model"}},
}
USE = {"type": "command", "command": "use ${{inputs.model}}", "inputs": {"model": {"type": "mlflow_model"}}}
INNER = {
    "type": "pipeline",
    "inputs": {"source": {"type": "uri_folder"}},
    "outputs": {"best": {"type": "mlflow_model"}},
    "jobs": {
        "train": {
            "componentId": "train",
            "inputs": {"data": "${{parent.inputs.source}}"},
            "outputs": {"model": {"type": "literal", "value": "${{parent.outputs.best}}"}},
        }
    },
}
COMPONENTS: dict[str, Any] = {"train": TRAIN, "use": USE, "inner": INNER}


def job(**nodes: Any) -> dict[str, Any]:
    return {"jobs": nodes, "inputs": {"data": {"jobInputType": "uri_folder", "uri": "abfss://x@y/z"}}}


def test_a_step_comes_after_those_whose_outputs_it_reads() -> None:
    use = {"componentId": "use", "inputs": {"model": {"value": "${{parent.jobs.train.outputs.model}}"}}}
    train = {"componentId": "train", "inputs": {"data": {"value": "${{parent.inputs.data}}"}}}
    found = steps(job(use=use, train=train), COMPONENTS.get)
    assert [step.name for step in found] == ["train", "use"]
    assert found[0].inputs == {"data": Stored("abfss://x@y/z"), "depth": Literal("3")}
    assert found[1].inputs == {"model": Output("train", "model")}


def test_the_output_of_a_pipeline_component_is_that_of_the_step_which_writes_it() -> None:
    use = {"componentId": "use", "inputs": {"model": {"value": "${{parent.jobs.both.outputs.best}}"}}}
    both = {"type": "pipeline", "componentId": "inner", "inputs": {"source": {"value": "${{parent.inputs.data}}"}}}
    found = steps(job(use=use, both=both), COMPONENTS.get)
    assert [step.name for step in found] == ["both.train", "use"]
    assert found[1].inputs == {"model": Output("both.train", "model")}


def test_a_job_can_be_one_pipeline_component() -> None:
    whole = {"componentId": "inner", "inputs": {"source": {"jobInputType": "uri_folder", "uri": "u"}}}
    assert [step.name for step in steps(whole, COMPONENTS.get)] == ["train"]


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ({"a": {"componentId": "nothing"}}, "step a: the component nothing does not exist"),
        ({"a": {"componentId": "train"}}, "step a: the input data is not given"),
        ({"a": {"type": "sweep", "componentId": "train"}}, "steps of type sweep are not supported"),
        (
            {"a": {"componentId": "use", "inputs": {"model": "${{parent.jobs.b.outputs.model}}"}}},
            "step a reads an output of b, which is not a step",
        ),
        (
            {"a": {"componentId": "use", "inputs": {"model": "${{parent.jobs.a.outputs.model}}"}}},
            "depend on each other in a circle",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_name(nodes: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        steps(job(**nodes), COMPONENTS.get)


def test_optional_parts_of_a_command_need_their_inputs() -> None:
    step = Step("train", TRAIN, {}, {})
    assert command(step, {"data": "d"}, {"model": "m"}) == "train d  m"
    assert command(step, {"data": "d", "limit": "4"}, {"model": "m"}) == "train d --limit 4 m"
    with pytest.raises(Invalid, match=r"names \$\{\{inputs.data\}\}, which has no value"):
        command(step, {}, {"model": "m"})

"""Event hub functions: one that fails while a file is there, and one that gives up at once."""

import json
import os
import typing
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()


def saw(function: str, what: object) -> None:
    with Path(os.environ["SEEN"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"function": function, "saw": what}) + "\n")


@app.function_name("batches")
@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%BATCHES%",
    connection="HUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:01")
def batches(events: typing.List[func.EventHubEvent], context: func.Context) -> None:
    metadata = events[0].metadata
    retry = context.retry_context.retry_count if context.retry_context else 0
    bodies = [event.get_body().decode() for event in events]
    sequences = [event.sequence_number for event in events]
    place = metadata["PartitionContext"] if isinstance(metadata, dict) else {}
    saw("batches", {"bodies": bodies, "sequences": sequences, "retry": retry, "partition": place["PartitionId"]})
    if Path(os.environ["BROKEN"]).exists():
        raise OSError("the store is away")


@app.function_name("singles")
@app.event_hub_message_trigger(
    arg_name="event", event_hub_name="one", connection="HUB", cardinality=func.Cardinality.ONE
)
def singles(event: func.EventHubEvent) -> None:
    body = event.get_body().decode()
    saw("singles", body)
    if body == "bad":
        raise ValueError("bad")

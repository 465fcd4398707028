"""Event Hubs batches: the road for storms, since Event Grid can deliver into a hub.

Bodies are binary: with text the host would parse them itself and lose a whole batch for one that is not JSON.  The host
checkpoints a batch whatever its outcome, so a commit that failed is retried without end instead.
"""

import typing

import azure.functions as func

from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("event_hub")
@blueprint.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%SLUICE_HUB%",
    connection="SluiceHub",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@blueprint.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:10")
async def event_hub(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 (the worker refuses list[...])
    """Each message is a delivery: an event, or an array of events."""
    control_plane = await process.ready()
    await control_plane.receive("event_hub", [event.get_body() for event in events])

"""The scoring log: what the deployments send of every call.

Bodies are binary, and a commit that failed is retried without end: see `event_hubs`.
"""

import logging
import typing

import azure.functions as func

from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("scoring_log")
@blueprint.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%SLUICE_SCORING_HUB%",
    connection="SluiceHub",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@blueprint.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:10")
def scoring_log(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 (the worker refuses list[...])
    """A batch of one partition is kept and counted; an error makes the host bring it again."""
    taken = process.scoring_intake().take([process.entry(event) for event in events])
    for sequence, reason in taken.rejected.items():
        logging.warning("message %s of %s is no call: %s", sequence, taken.name, reason)

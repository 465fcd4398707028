"""Event Grid deliveries, in Event Grid schema or as CloudEvents.

A delivery is taken whole, as raw text: it is answered as one, and the typed binding would refuse times that are not UTC
before our code sees them, so that Event Grid would send the event again for a day.
"""

import azure.functions as func

from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("event_grid")
@blueprint.event_grid_trigger(arg_name="event", cardinality="many")
async def event_grid(event: str) -> None:
    """Acknowledged when the journal and every matched lane have the event; an error makes Event Grid send it again."""
    control_plane = await process.ready()
    await control_plane.receive("event_grid", [event])

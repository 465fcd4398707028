"""The two wake-up queues, and what the host gave up on."""

import logging

import azure.functions as func

from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("lane")
@blueprint.queue_trigger(arg_name="message", queue_name="sluice-lane", connection="SluiceStorage")
def lane(message: func.QueueMessage) -> None:
    """Decide what becomes of a lane's open generation."""
    ring = process.ring(message.get_body())
    said = process.control_plane().wake(ring, redelivered=(message.dequeue_count or 1) > 1)
    logging.info("lane %s/%s: %s", ring.lane.route, ring.lane.key, said)


@blueprint.function_name("run")
@blueprint.queue_trigger(arg_name="message", queue_name="sluice-run", connection="SluiceStorage")
def run(message: func.QueueMessage) -> None:
    """Move a run on."""
    ring = process.ring(message.get_body())
    said = process.control_plane().advance(ring, redelivered=(message.dequeue_count or 1) > 1)
    logging.info("run %s/%s generation %s: %s", ring.lane.route, ring.lane.key, ring.generation, said)


@blueprint.function_name("lane_poison")
@blueprint.queue_trigger(arg_name="message", queue_name="sluice-lane-poison", connection="SluiceStorage")
def lane_poison(message: func.QueueMessage) -> None:
    """Journal a wake-up of a lane that failed five times; the sweep rings the lane again."""
    process.operations().note_poison("sluice-lane", message.get_body())


@blueprint.function_name("run_poison")
@blueprint.queue_trigger(arg_name="message", queue_name="sluice-run-poison", connection="SluiceStorage")
def run_poison(message: func.QueueMessage) -> None:
    """Journal a wake-up of a run that failed five times; the sweep rings the run again."""
    process.operations().note_poison("sluice-run", message.get_body())

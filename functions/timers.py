"""The timers: what has stalled is rung again; the id index is built and what is old leaves the lanes."""

import logging

import azure.functions as func

from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("sweep")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", use_monitor=False)
def sweep(timer: func.TimerRequest) -> None:
    """Twice a minute."""
    rung = process.control_plane().sweep()
    if rung:
        logging.warning("the sweep rang %s that had stalled%s", rung, " (past due)" if timer.past_due else "")


@blueprint.function_name("upkeep")
@blueprint.timer_trigger(arg_name="timer", schedule="15 */5 * * * *", use_monitor=False)
def upkeep(timer: func.TimerRequest) -> None:
    """Every five minutes."""
    kept = process.upkeep().tick()
    if kept:
        said = "%s deliveries indexed, %s segments merged, %s dedupe rows retired%s"
        logging.info(said, kept.indexed, kept.merged, kept.retired, " (past due)" if timer.past_due else "")

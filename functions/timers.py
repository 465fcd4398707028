"""The sweep: whatever should have moved and has not is rung again."""

import logging

import azure.functions as func

from shared import wiring

blueprint = func.Blueprint()


@blueprint.function_name("sweep")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", use_monitor=False)
def sweep(timer: func.TimerRequest) -> None:
    """Twice a minute."""
    rung = wiring.control_plane().sweep()
    if rung:
        logging.warning("the sweep rang %s that had stalled%s", rung, " (past due)" if timer.past_due else "")

"""What operators and programs can command over HTTP; every answer is JSON."""

import azure.functions as func

from functions.http import answer
from shared import process

blueprint = func.Blueprint()


@blueprint.function_name("replay")
@blueprint.route(route="replay/{id}", methods=["POST"], trigger_arg_name="request")
def replay(request: func.HttpRequest) -> func.HttpResponse:
    """Put a journalled event through again under today's routes; what it has already started is joined."""
    return answer(lambda: process.operations().replay(request.route_params["id"]))


@blueprint.function_name("command")
@blueprint.route(route="runs/{id}/{command}", methods=["POST"], trigger_arg_name="request")
def command(request: func.HttpRequest) -> func.HttpResponse:
    """Cancel, abandon, retry, force_new, approve or reject a run; `?by=` and `?note=` say who and why."""
    what, run = request.route_params["command"], request.route_params["id"]
    by = request.headers.get("x-ms-client-principal-name") or request.params.get("by", "")
    note = request.params.get("note", "")
    return answer(lambda: process.operations().command(process.control_plane().commands, what, run, by, note))

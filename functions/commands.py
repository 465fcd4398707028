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


@blueprint.function_name("train")
@blueprint.route(route="train/{table}", methods=["POST"], trigger_arg_name="request")
def train(request: func.HttpRequest) -> func.HttpResponse:
    """Ask for a training on a table; `?by=` and `?note=` say who and why.  A schedule posts here."""
    by, note = _asker(request)
    return answer(lambda: process.operations().train(request.route_params["table"], by, note))


@blueprint.function_name("command")
@blueprint.route(route="runs/{id}/{command}", methods=["POST"], trigger_arg_name="request")
def command(request: func.HttpRequest) -> func.HttpResponse:
    """Cancel, abandon, retry, force_new, approve or reject a run; `?by=` and `?note=` say who and why."""
    what, run = request.route_params["command"], request.route_params["id"]
    by, note = _asker(request)
    return answer(lambda: process.operations().command(process.control_plane().commands, what, run, by, note))


def _asker(request: func.HttpRequest) -> tuple[str, str]:
    by = request.headers.get("x-ms-client-principal-name") or request.params.get("by", "")
    return by, request.params.get("note", "")

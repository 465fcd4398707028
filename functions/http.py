"""What operators and programs can ask over HTTP; every answer is JSON."""

import json

import azure.functions as func

from shared import process
from shared.errors import Conflict, NotFound, SluiceError

blueprint = func.Blueprint()


@blueprint.function_name("health")
@blueprint.route(route="health", methods=["GET"], trigger_arg_name="request")
def health(request: func.HttpRequest) -> func.HttpResponse:
    """Whether settings, routes and store are in order; 503 with every fault when they are not."""
    return answer(lambda: process.operations().health())


@blueprint.function_name("events")
@blueprint.route(route="events", methods=["GET"], trigger_arg_name="request")
def events(request: func.HttpRequest) -> func.HttpResponse:
    """The newest deliveries with their outcomes; `?outcome=` and `?limit=` narrow them."""
    return answer(lambda: process.operations().events(request.params.get("outcome"), request.params.get("limit", 50)))


@blueprint.function_name("runs")
@blueprint.route(route="runs", methods=["GET"], trigger_arg_name="request")
def runs(request: func.HttpRequest) -> func.HttpResponse:
    """Every run, the newest first."""
    return answer(lambda: process.operations().runs())


@blueprint.function_name("lanes")
@blueprint.route(route="lanes", methods=["GET"], trigger_arg_name="request")
def lanes(request: func.HttpRequest) -> func.HttpResponse:
    """Every lane."""
    return answer(lambda: process.operations().lanes())


@blueprint.function_name("explain")
@blueprint.route(route="explain/{id}", methods=["GET"], trigger_arg_name="request")
def explain(request: func.HttpRequest) -> func.HttpResponse:
    """From an event to all that came of it, and back."""
    return answer(lambda: process.operations().explain(request.route_params["id"]))


def answer(ask) -> func.HttpResponse:
    """What was asked as JSON, or what is wrong with a status that says whose turn it is."""
    try:
        status, body = 200, ask()
    except (SluiceError, ValueError) as error:
        status, body = (
            {NotFound: 404, ValueError: 400, Conflict: 409}.get(type(error), 503),
            {"error": str(error).splitlines()},
        )
    return func.HttpResponse(json.dumps(body, default=str), status_code=status, mimetype="application/json")

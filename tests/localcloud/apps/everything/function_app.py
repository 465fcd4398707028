"""Every trigger once; each function appends what it saw to the file that the setting SEEN names."""

import asyncio
import json
import logging
import os
import time
import typing

import azure.functions as func

app = func.FunctionApp()
other = func.Blueprint()


def saw(name: str, what: object) -> None:
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps({"function": name, "saw": what, "pid": os.getpid()}) + "\n")


@app.event_grid_trigger(arg_name="event")
async def raw(event: str) -> None:
    document = json.loads(event)
    if document.get("subject") == "fail":
        raise ValueError("this event is bad")
    if document.get("subject") == "slow":
        await asyncio.sleep(0.4)
    saw("raw", document)


@app.event_grid_trigger(arg_name="event")
def typed(event: func.EventGridEvent) -> None:
    saw("typed", {"id": event.id, "data": event.get_json()})


@app.event_grid_trigger(arg_name="events", cardinality="many")
def whole(events: str) -> None:
    saw("whole", json.loads(events))


@app.event_grid_trigger(arg_name="event")
def asleep(event: str) -> None:
    saw("asleep", event)


@app.queue_trigger(arg_name="message", queue_name="%PREFIX%-work", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="done", queue_name="%PREFIX%-done", connection="AzureWebJobsStorage")
def work(message: func.QueueMessage, done: func.Out[typing.List[str]]) -> None:
    text = message.get_body().decode()
    saw("work", {"id": message.id, "text": text, "try": message.dequeue_count})
    done.set([f"{text} first", f"{text} second"])
    if text == "fail":
        raise RuntimeError("work failed")
    if text == "long":
        time.sleep(3)
    if text == "very long":
        time.sleep(30)


@app.queue_trigger(arg_name="message", queue_name="%PREFIX%-work-poison", connection="AzureWebJobsStorage")
def work_poison(message: str) -> None:
    saw("work_poison", message)


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    logging.info("ticking")
    saw("tick", {"past_due": timer.past_due, "status": timer.schedule_status})


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
def stubborn(timer: func.TimerRequest, context: func.Context) -> None:
    saw("stubborn", [context.retry_context.retry_count, context.retry_context.max_retry_count])
    raise OSError("never works")


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="hub",
    connection="HUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.event_hub_output(arg_name="out", event_hub_name="onward", connection="HUB")
async def hub(events: typing.List[func.EventHubEvent], out: func.Out[typing.List[str]]) -> None:
    saw("hub", [[event.get_body().decode(), event.sequence_number] for event in events])
    out.set([event.get_body().decode() for event in events])


@other.route(route="things/{id:int}/{tail?}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def thing(req: func.HttpRequest) -> func.HttpResponse:
    answer = {
        "method": req.method,
        "url": req.url,
        "route": dict(req.route_params),
        "query": dict(req.params),
        "header": req.headers.get("X-Custom"),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json", headers={"X-Out": "yes"})


@other.route(route="things/special/{tail?}", auth_level=func.AuthLevel.ANONYMOUS)
async def special(req: func.HttpRequest) -> str:
    return "the literal route"


@other.route(route="closed")
def closed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")


@other.route(route="operators", auth_level=func.AuthLevel.ADMIN)
def operators(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("master")


@other.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("broken on purpose")


@other.route(route="nothing", auth_level=func.AuthLevel.ANONYMOUS)
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None


@other.route(route="off", auth_level=func.AuthLevel.ANONYMOUS)
def off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("off")


app.register_functions(other)

"""DBOS: a workflow for each event; a lane is a workflow that receives its events until it is quiet."""

import json
import os

import uvicorn
from calling import SETTLE, call, table_of
from dbos import DBOS, SetWorkflowID
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

DBOS(config={"name": "bench", "system_database_url": os.environ["BENCH_DATABASE"], "log_level": "WARNING"})


@DBOS.step()
async def work(ids):
    """The call, as a step."""
    await call(ids)


@DBOS.workflow()
async def single(event):
    """One call for one event."""
    await work([event["id"]])


@DBOS.workflow()
async def lake(event):
    """Commits go to their lane; what matches nothing ends here."""
    table = table_of(event)
    if table is not None:
        await to_lane(table, event["id"])


@DBOS.workflow()
async def lane():
    """Collect until nothing has come for a while, then work on the set."""
    ids = []
    while (told := await DBOS.recv_async(timeout_seconds=SETTLE if ids else 60.0)) is not None:
        ids.append(told)
    await work(ids)


async def to_lane(table, event_id):
    """Start the lane's workflow unless it is there, and send it the event."""
    with SetWorkflowID(table):
        await DBOS.start_workflow_async(lane)
    await DBOS.send_async(table, event_id, idempotency_key=event_id)


def starting(workflow):
    """Take an event by starting a workflow under its id."""

    async def take(request):
        event = json.loads(await request.body())
        with SetWorkflowID(event["id"]):
            await DBOS.start_workflow_async(workflow, event)
        return Response(status_code=202)

    return take


async def collect(request):
    """Take an event by sending it to its lane."""
    event = json.loads(await request.body())
    await to_lane(table_of(event), event["id"])
    return Response(status_code=202)


DBOS.launch()
routes = [Route("/single", starting(single), methods=["POST"]), Route("/lake", starting(lake), methods=["POST"])]
app = Starlette(routes=[*routes, Route("/lanes", collect, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)

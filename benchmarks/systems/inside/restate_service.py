"""Restate: a service for a run per event, a virtual object for lanes; served by hypercorn, as its guide does it."""

import asyncio
import datetime as dt
import os

import restate
from calling import SETTLE, call, table_of
from hypercorn.asyncio import serve
from hypercorn.config import Config

single = restate.Service("single")
lane = restate.VirtualObject("lane")
lake = restate.Service("lake")
_AFTER = dt.timedelta(seconds=SETTLE)


@single.handler("take")
async def take_single(context: restate.Context, event: dict) -> None:
    """One call for one event."""
    await context.run_typed("call", call, ids=[event["id"]])


@lake.handler("take")
async def take_lake(context: restate.Context, event: dict) -> None:
    """Commits go to their lane; what matches nothing ends here."""
    table = table_of(event)
    if table is not None:
        context.object_send(add, table, event)


@lane.handler("add")
async def add(context: restate.ObjectContext, event: dict) -> None:
    """Collect an event; the first one of a set has the lane looked at once it is quiet."""
    ids = await context.get("ids", type_hint=list) or []
    context.set("ids", [*ids, event["id"]])
    if not ids:
        context.object_send(close, context.key(), 1, send_delay=_AFTER)


@lane.handler("close")
async def close(context: restate.ObjectContext, seen: int) -> None:
    """Work on the set when nothing was added since it was last looked at."""
    ids = await context.get("ids", type_hint=list) or []
    if len(ids) > seen:
        context.object_send(close, context.key(), len(ids), send_delay=_AFTER)
        return
    context.clear("ids")
    await context.run_typed("call", call, ids=ids)


config = Config()
config.bind = [f"127.0.0.1:{os.environ['BENCH_PORT']}"]
asyncio.run(serve(restate.app([single, lane, lake]), config))

"""What operators' questions cost as the journal grows: `python -m benchmarks.growth [--events 10000,100000,1000000]`.

On an Azurite of its own, without the Functions host.  The journal is filled through its own adapter with deliveries
that match nothing, then the index is built.  Events spread over the whole journal are explained, each by a history
that has read nothing yet.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.load import commits
from shared.adapters.azure_store import AzureStore, open_store
from shared.event_index import EventIndex
from shared.event_loop import EventLoop
from shared.explanation import Explanation
from shared.history import History
from shared.indexing import Indexing
from shared.retirement import Keeping, Retirement
from shared.settings import Storage
from tests.azurites import Azurite, azurite_program

A_BLOCK, ASKED = 500, 15


class Now:
    """The machine's own time."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class Growth:
    """One store whose journal grows."""

    def __init__(self, connection: str) -> None:
        self.loop = EventLoop()
        self.store: AzureStore = open_store(
            Storage("sluicestore", connection), Now(), self.loop, lambda: None, lambda: None
        )
        self.index, self.keeping = EventIndex(self.store.index), Keeping()
        retirement = Retirement(self.store.lanes, self.store.sets, self.index, self.store.index, self.keeping)
        self.indexing = Indexing(self.store.journal, self.store.lanes, self.index, retirement, self.keeping)
        self.ids: list[str] = []

    def fill(self, events: int) -> float:
        """Until the journal has so many deliveries; answers the seconds that it took."""
        began = time.perf_counter()
        while len(self.ids) < events:
            records = [self._record(event) for event in commits(A_BLOCK, 20, "bronze", uuid.uuid4().hex[:8])]
            self.loop.wait(self.store.journal.append(records), 60)
            self.ids += [record["id"] for record in records]
        return time.perf_counter() - began

    def _record(self, event: dict[str, Any]) -> dict[str, Any]:
        received = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
        return {
            "kind": "delivery", "origin": "event_grid", "received": received.isoformat(), "raw": json.dumps(event),
            "id": event["id"], "source": event["topic"], "type": event["eventType"], "subject": event["subject"],
            "identity": uuid.uuid4().hex, "matches": [], "reason": "no subject pattern fits", "routes": "0" * 12,
        }  # fmt: skip

    def build(self) -> float:
        """Bring the index up to the journal; answers the seconds that it took."""
        began = time.perf_counter()
        self.indexing.build(dt.datetime.now(dt.UTC), lambda: True)
        self.index.merge()
        return time.perf_counter() - began

    def history(self) -> History:
        store = self.store
        return History(
            journal=store.journal, lanes=store.lanes, due=store.due, sets=store.sets, index=self.index,
            keeping=self.keeping, now=dt.datetime.now(dt.UTC),
        )  # fmt: skip

    def explain(self) -> float:
        """Milliseconds to explain an event, the median over events of all ages."""
        taken = []
        for event_id in self.ids[:: max(1, len(self.ids) // ASKED)][:ASKED]:
            began = time.perf_counter()
            history = self.history()
            assert len(history.deliveries(event_id)) == 1
            explanation = Explanation(history, self.store.lanes)
            explanation.causes(event_id), explanation.effects(event_id)
            taken.append((time.perf_counter() - began) * 1000)
        return statistics.median(taken)

    def newest(self) -> float:
        """Milliseconds to list the newest 50."""
        began = time.perf_counter()
        newest = self.history().newest()
        assert len([next(newest) for _ in range(50)]) == 50
        return (time.perf_counter() - began) * 1000


def run(sizes: list[int]) -> None:
    """The table."""
    program = azurite_program()
    assert program is not None, "Azurite is not installed: run make setup"
    with tempfile.TemporaryDirectory() as folder:
        azurite = Azurite(program, Path(folder))
        azurite.start()
        try:
            growth = Growth(azurite.connection_string())
            say(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M UTC}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
                f"Python {platform.python_version()}, Azurite 3.35.0")  # fmt: skip
            say("| deliveries | filled s | indexed s | segments | explain ms, indexed | newest 50 ms | counts ms |")
            say("|---|---|---|---|---|---|---|")
            for size in sizes:
                filled, built = growth.fill(size), growth.build()
                held = growth.index.catalog().of("journal")
                began = time.perf_counter()
                assert growth.history().counts()["deliveries"] == size
                counted = (time.perf_counter() - began) * 1000
                say(f"| {size:,} | {filled:.0f} | {built:.0f} | {len(held)} | {growth.explain():.0f} "
                    f"| {growth.newest():.0f} | {counted:.0f} |")  # fmt: skip
        finally:
            azurite.stop()


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--events", default="10000,100000,1000000", help="sizes of the journal, in order")
    run([int(size) for size in parser.parse_args().events.split(",")])

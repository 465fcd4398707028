"""Everything that the parts measure on: one store with Functions hosts, the stub, and the systems beside us."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Sequence

from benchmarks.connection import Refusal
from benchmarks.counting import Relay
from benchmarks.ground import Ground, loud_lines
from benchmarks.load import deliver, lake_mix
from benchmarks.report import FOLDER
from benchmarks.stub import Stub
from benchmarks.systems.dbos import DBOS, DBOSPostgres
from benchmarks.systems.prefect import Prefect
from benchmarks.systems.restate import Restate
from benchmarks.systems.sluice import Sluice
from benchmarks.systems.system import System, Work
from chaos.hosts import Host

PEERS: tuple[type[System], ...] = (Restate, DBOS, DBOSPostgres, Prefect)


@dataclasses.dataclass
class Stage:
    """One run of the harness: how much is measured, and on what."""

    rounds: int
    in_flight: Sequence[int]
    quick: bool
    stub: Stub
    ground: Ground
    sluice: Sluice
    relay: Relay
    peers: list[System] = dataclasses.field(default_factory=list)
    told: dict[str, str] = dataclasses.field(default_factory=dict)
    """By peer: its versions, or the one line that says why it is not here."""

    @classmethod
    async def build(cls, rounds: int, in_flight: Sequence[int], *, quick: bool) -> Stage:
        """Start what is ours."""
        stub = Stub()
        ground = Ground("bench-cloud", stub)
        await asyncio.to_thread(ground.start)
        sluice = Sluice(FOLDER / "sluice", stub, ground)
        try:
            await _begin(sluice)
        except BaseException:
            ground.end()
            raise
        return cls(rounds, in_flight, quick, stub, ground, sluice, Relay(ground.cloud))

    async def renew(self) -> None:
        """Go on with an empty store: what one part leaves makes Azurite slower for the next."""
        await asyncio.to_thread(self.ground.end)
        await asyncio.to_thread(self.ground.start)
        await _begin(self.sluice)

    async def bring_peers(self) -> None:
        """Install and start the others; one that cannot be had is told of and left out."""
        for kind in PEERS:
            peer = kind(FOLDER / "peers" / kind.__name__.lower(), self.stub)
            try:
                await peer.start()
            except Exception as problem:
                peer.end()
                self.told[peer.name] = f"not measured: {problem}"
            else:
                self.peers.append(peer)
                self.told[peer.name] = peer.versions
            say(f"  {peer.name}: {self.told[peer.name]}")

    @contextlib.asynccontextmanager
    async def hosts(self, count: int = 1, *, counted: bool = False) -> AsyncIterator[Sequence[Host]]:
        """Hosts in place of the usual one, on the same store; `counted` puts the relay between."""
        await asyncio.to_thread(self.sluice.pause)
        hosts = await asyncio.to_thread(self.ground.hosts, count, self.relay if counted else None)
        try:
            yield hosts.all
        finally:
            await asyncio.to_thread(hosts.end)
            await self.sluice.start()

    def drop(self, peer: System, problem: Exception) -> None:
        """A peer that failed while it was measured is not asked any more."""
        self.told[peer.name] = f"{peer.versions}; failed while it was measured: {problem!r}"
        say(f"  {peer.name}: {self.told[peer.name]}")
        self.peers = [one for one in self.peers if one is not peer]
        peer.end()

    def dismiss_peers(self) -> None:
        """End the peers: what is measured from here on is ours alone."""
        for peer in self.peers:
            peer.end()
        self.peers = []

    def keep(self, what: str, refused: Sequence[Refusal]) -> None:
        """Keep what was refused, with the host's own words about it."""
        if not refused:
            return
        lines = [f"# {what}: {len(refused)} refused"]
        lines += [f"{one.at.isoformat()} {one.status} {one.body[:2000].decode(errors='replace')}" for one in refused]
        lines += ["the host's log:", *loud_lines(self.sluice.host), ""]
        with (FOLDER / "refused.txt").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def end(self) -> None:
        """End everything."""
        self.dismiss_peers()
        self.ground.end()


async def _begin(sluice: Sluice) -> None:
    """Start the host; the store is made at first use."""
    await sluice.start()
    await deliver(sluice.address(), sluice.requests(Work.LAKE, lake_mix(1)), 1)


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

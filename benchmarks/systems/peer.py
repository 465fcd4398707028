"""What the peers share: how a program of `inside` is started in a peer's environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.systems.system import SETTLE, System
from localcloud import ports

INSIDE = Path(__file__).with_name("inside")
_PORTS = range(31_000, 32_000)
_taken: set[int] = set()


class Peer(System):
    """A system that is not ours."""

    def serve(self, python: Path, program: str, port: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a program of `inside`; it serves on `port` and calls the stub."""
        told = {"BENCH_PORT": str(port), "BENCH_STUB": self.stub.address, "BENCH_SETTLE": str(SETTLE)}
        self.spawn(program, [python, INSIDE / f"{program}.py"], told | dict(environment or {}))


def free_port() -> int:
    """A port that nothing uses and that was not handed out before."""
    port = next(number for number in _PORTS if number not in _taken and ports.is_free(number))
    _taken.add(port)
    return port

"""Choosing and checking the ports of a local cloud."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from localcloud.cloud import SERVICES

# Below what operating systems hand out for outgoing connections, so that none of those takes a port between two starts.
_CHOICE = range(21_000, 31_000)


class BusyPort(Exception):
    """A port that the cloud needs is taken."""


def choose(wanted: Mapping[str, int]) -> dict[str, int]:
    """A free port for every service; `wanted` fixes some of them."""
    chosen = dict(wanted)
    for service in SERVICES:
        if service not in chosen:
            chosen[service] = _free(chosen.values())
    return chosen


def check(ports: Mapping[str, int]) -> None:
    """Raise `BusyPort` when one of `ports` is taken."""
    for service, port in ports.items():
        if not is_free(port):
            raise BusyPort(
                f"port {port} of the service {service!r} is busy: end the program that uses it, or choose another "
                f"with --port {service}=NUMBER (addresses stored in this cloud keep the old one), or use --fresh"
            )


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something listens on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free(taken: Iterable[int]) -> int:
    used = set(taken)
    for port in random.sample(_CHOICE, k=200):
        if port not in used and is_free(port):
            return port
    raise BusyPort(f"found no free port from {_CHOICE.start} to {_CHOICE.stop - 1}")

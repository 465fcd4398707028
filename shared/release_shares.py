"""Traffic maps of an endpoint: whose share a release may take, and the map of each weight.  Pure.

A deployment that a release has made is known by its tag.  The *champions* are those of them that get requests, or, when
there is none, the one that gets most; whatever else gets requests was put there by hand, and its share is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.release_facts import RUN_TAG, Deployment

Shares = Mapping[str, int]


def positive(shares: Shares) -> dict[str, int]:
    """The entries of a map that get requests, by name."""
    return {name: int(share) for name, share in sorted(shares.items()) if share}


def champions(shares: Shares, deployments: Mapping[str, Deployment], new: str) -> dict[str, int]:
    """The shares that a release of `new` may take."""
    others = {name: share for name, share in positive(shares).items() if name != new}
    made = {name: share for name, share in others.items() if name in deployments and RUN_TAG in deployments[name].tags}
    if made or not others:
        return made
    largest = max(sorted(others), key=lambda name: others[name])
    return {largest: others[largest]}


def at_weight(shares: Shares, taking: Shares, new: str, weight: int) -> dict[str, int]:
    """The map in which `new` gets `weight` percent of what the deployments `taking` had, and they share the rest.

    Entries of others are kept as they are.  `new` gets at least 1 %, and all when there is nobody to share with.
    """
    kept = {name: share for name, share in positive(shares).items() if name not in taking and name != new}
    room = 100 - sum(kept.values())
    own = room if not taking or weight >= 100 else min(room, max(1, round(room * weight / 100)))
    return {**kept, **_split(room - own, taking), new: own}


def told(shares: Shares) -> str:
    """A map in words."""
    return ", ".join(f"{name} {share} %" for name, share in sorted(shares.items()) if share) or "nobody's"


def _split(room: int, among: Shares) -> dict[str, int]:
    """`room` percent in the proportions of `among`, whole numbers by the largest remainder."""
    whole = sum(among.values())
    exact = {name: room * share / whole for name, share in sorted(among.items())}
    found = {name: int(share) for name, share in exact.items()}
    left = sorted(exact, key=lambda name: (found[name] - exact[name], name))[: room - sum(found.values())]
    return {name: share + (name in left) for name, share in found.items()}

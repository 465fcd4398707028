"""Traffic maps of every weight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.release_facts import RUN_TAG, Deployment
from shared.release_shares import at_weight, champions, positive, told

MADE, HAND = Deployment("Succeeded", {RUN_TAG: "r"}), Deployment("Succeeded", {})


def test_a_release_takes_from_what_releases_have_made() -> None:
    shares = {"old": 70, "hand": 30, "gone": 0}
    taking = champions(shares, {"old": MADE, "hand": HAND}, "new")
    assert taking == {"old": 70}
    assert at_weight(shares, taking, "new", 10) == {"hand": 30, "old": 63, "new": 7}
    assert at_weight(shares, taking, "new", 100) == {"hand": 30, "old": 0, "new": 70}


def test_a_champion_that_was_made_by_hand_is_the_largest() -> None:
    assert champions({"a": 40, "b": 60}, {"a": HAND, "b": HAND}, "new") == {"b": 60}


def test_a_first_release_gets_everything_at_any_weight() -> None:
    assert champions({}, {}, "new") == {}
    assert at_weight({}, {}, "new", 10) == {"new": 100}


def test_a_map_is_told_in_words() -> None:
    assert told({"b": 10, "a": 90, "c": 0}) == "a 90 %, b 10 %"
    assert told({}) == "nobody's"


SHARES = st.dictionaries(st.sampled_from(["a", "b", "c", "hand"]), st.integers(0, 100), max_size=4)


@given(SHARES, st.integers(1, 100))
def test_every_map_sums_to_100_and_keeps_what_is_not_the_releases(drawn: dict[str, int], weight: int) -> None:
    whole = sum(drawn.values())
    shares = {name: share * 100 // whole for name, share in drawn.items()} if whole else {}
    if whole:
        largest = max(shares, key=lambda name: shares[name])
        shares[largest] += 100 - sum(shares.values())
    deployments = {name: HAND if name == "hand" else MADE for name in shares}
    taking = champions(shares, deployments, "new")
    made = at_weight(shares, taking, "new", weight)
    assert sum(made.values()) == 100
    assert all(share >= 0 for share in made.values())
    assert made["new"] > 0
    kept = {name: share for name, share in positive(shares).items() if name not in taking}
    assert {name: made[name] for name in kept} == kept
    if taking and weight < 100:
        room = sum(taking.values())
        assert abs(made["new"] - room * weight / 100) <= 1

"""A run goes through its attempts by the moves of one table, each with its reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared import leases, runs
from shared.observations import Failure, Observation, Remote, Status
from shared.phases import MOVES, Phase, Step
from shared.runs import Retry, Run

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
MANIFEST = {"url": "memory://sets/1", "sha256": "0" * 64, "count": 2}
RETRY = Retry(attempts=3, delay=dt.timedelta(seconds=30), failures=frozenset({Failure.TRANSIENT, Failure.TIMEOUT}))
ACTIVE = Observation(Status.ACTIVE, "it works")
SUCCEEDED = Observation(Status.SUCCEEDED, "it is done", result={"version": 7})
CANCELLED = Observation(Status.CANCELLED, "somebody cancelled it")


def failed(failure: Failure | None) -> Observation:
    return Observation(Status.FAILED, "it broke", failure)


STOP = runs.Ending(runs.EndingKind.CANCELLED, "an operator cancelled it")


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def opened() -> Run:
    return runs.opened("curate", "demand", 4, "quiet", NOON)


def starting() -> Run:
    return runs.prepared(opened(), MANIFEST, {"token": "t1"}, "chain", at(1))


def running() -> Run:
    return runs.started(starting(), Remote("17", "https://there"), at(2))


def waiting() -> Run:
    return runs.observed(running(), failed(Failure.TRANSIENT), at(3), RETRY)


APPROVED, REJECTED = (runs.Decision(verdict, "ada", NOON, "looked at it") for verdict in ("approve", "reject"))


def asking() -> Run:
    return runs.prepared(opened(), MANIFEST, {"token": "t1"}, "chain", at(1), HOUR)


def in_phase(phase: Phase) -> Run:
    """A run that has come to this phase by legal moves."""
    made: dict[Phase, Callable[[], Run]] = {
        Phase.PREPARING: opened,
        Phase.APPROVAL: asking,
        Phase.QUEUED: lambda: runs.approved(asking(), APPROVED, at(2)),
        Phase.STARTING: starting,
        Phase.RUNNING: running,
        Phase.WAITING: waiting,
        Phase.SUCCEEDED: lambda: runs.observed(running(), SUCCEEDED, at(3), RETRY),
        Phase.FAILED: lambda: runs.refused(starting(), "no", at(3)),
        Phase.SKIPPED: lambda: runs.skipped(opened(), MANIFEST, "guard", at(3)),
        Phase.CANCELLED: lambda: runs.observed(running(), CANCELLED, at(3), RETRY),
    }
    return made[phase]()


# Every move with arguments that fit, by its name in the table.
DO: dict[str, Callable[[Run], Run]] = {
    "prepared": lambda run: runs.prepared(run, MANIFEST, {"token": "t"}, "chain", at(9)),
    "approved": lambda run: runs.approved(run, APPROVED, at(9)),
    "rejected": lambda run: runs.rejected(run, REJECTED, at(9)),
    "expired": lambda run: runs.expired(run, at(9)),
    "admitted": lambda run: runs.admitted(run, "a slot is free", at(9)),
    "decided": lambda run: runs.decided(run, APPROVED, at(9)),
    "reopened": lambda run: runs.reopened(run, {"token": "t2"}, "ada asked for it", at(9), None),
    "skipped": lambda run: runs.skipped(run, MANIFEST, "only compaction", at(9)),
    "started": lambda run: runs.started(run, Remote("18"), at(9)),
    "unstarted": lambda run: runs.unstarted(run, "no answer", at(9), None, HOUR),
    "refused": lambda run: runs.refused(run, "bad input", at(9)),
    "observed": lambda run: runs.observed(run, ACTIVE, at(9), RETRY),
    "unobserved": lambda run: runs.unobserved(run, "no answer", at(9)),
    "hastened": lambda run: runs.hastened(run, at(9)),
    "cancelling": lambda run: runs.cancelling(run, HOUR, at(9)),
    "abandoned": lambda run: runs.abandoned(dataclasses.replace(run, ending=STOP), "ada", at(9)),
    "retried": lambda run: runs.retried(run, {"token": "t2"}, at(9)),
    "told": runs.told,
    "ended early": lambda run: runs.ended_early(run, STOP, at(9)),
    "passed over": lambda run: runs.passed_over(run, "busy", at(9)),
}
LEADS_TO = {
    "approved": Phase.QUEUED, "rejected": Phase.CANCELLED, "expired": Phase.CANCELLED, "admitted": Phase.STARTING,
    "decided": None, "reopened": Phase.QUEUED,
    "prepared": Phase.STARTING, "skipped": Phase.SKIPPED, "started": Phase.RUNNING, "unstarted": Phase.STARTING,
    "refused": Phase.FAILED, "observed": Phase.RUNNING, "unobserved": Phase.RUNNING, "cancelling": Phase.RUNNING,
    "hastened": Phase.RUNNING, "retried": Phase.STARTING, "told": None, "ended early": None,
    "passed over": Phase.SKIPPED, "abandoned": Phase.FAILED,
}  # fmt: skip


# -- the table -----------------------------------------------------------------------------------------------------


def test_the_table_names_every_move() -> None:
    assert set(MOVES) == set(DO)


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_can_be_reached(phase: Phase) -> None:
    assert in_phase(phase).phase is phase


@pytest.mark.parametrize(("move", "phase"), [(move, phase) for move in MOVES for phase in sorted(MOVES[move])])
def test_a_legal_move_leads_where_the_table_says(move: str, phase: Phase) -> None:
    before = in_phase(phase)
    after = DO[move](before)
    wanted = LEADS_TO[move] or phase
    if move == "ended early" and phase not in (Phase.STARTING, Phase.RUNNING):
        wanted = Phase.CANCELLED
    assert after.phase is wanted
    assert after.reason


@pytest.mark.parametrize(
    ("move", "phase"), [(move, phase) for move in MOVES for phase in Phase if phase not in MOVES[move]]
)
def test_an_illegal_move_raises_names_the_parties_and_changes_nothing(move: str, phase: Phase) -> None:
    run = in_phase(phase)
    before = dataclasses.replace(run)
    with pytest.raises(ValueError, match=f"{run.id} is {phase}: it cannot be {move}"):
        DO[move](run)
    assert run == before


@pytest.mark.parametrize("phase", Phase)
def test_four_phases_are_final(phase: Phase) -> None:
    assert phase.final is (phase in {Phase.SUCCEEDED, Phase.FAILED, Phase.SKIPPED, Phase.CANCELLED})


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.final])
def test_a_run_that_has_ended_owes_its_event_until_it_is_told(phase: Phase) -> None:
    ended = in_phase(phase)
    assert ended.event_due
    assert ended.alive
    assert ended.ended_at == at(3)
    told = runs.told(ended)
    assert not told.event_due
    assert not told.alive
    assert runs.told(told) == told, "telling twice is telling once"


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.final])
def test_a_run_that_has_not_ended_is_alive_and_owes_no_event(phase: Phase) -> None:
    run = in_phase(phase)
    assert run.alive
    assert not run.event_due
    assert run.ended_at is None


def test_every_change_of_phase_leaves_a_line_with_its_time_and_reason() -> None:
    run = runs.observed(running(), SUCCEEDED, at(3), RETRY)
    assert run.history == (
        "2026-03-02T12:00:01.000+00:00 starting: 2 event(s) in the set; the request is frozen",
        "2026-03-02T12:00:02.000+00:00 running: started as 17",
        "2026-03-02T12:00:03.000+00:00 succeeded: it is done",
    )


def test_the_history_keeps_the_last_fifty_lines() -> None:
    run = starting()
    retry = Retry(1000, dt.timedelta(0), frozenset({Failure.TRANSIENT}))
    for _ in range(30):
        run = runs.started(run, Remote("x"), NOON)
        run = runs.retried(runs.observed(run, failed(Failure.TRANSIENT), NOON, retry), {}, NOON)
    assert len(run.history) == 50
    assert run.history[-1].endswith("attempt 31")


# -- starting ------------------------------------------------------------------------------------------------------


def test_the_request_and_the_chain_are_kept_before_the_first_call() -> None:
    run = starting()
    assert (run.request, run.manifest, run.correlation, run.attempt) == ({"token": "t1"}, MANIFEST, "chain", 1)


def test_a_start_without_an_answer_is_repeated_under_the_same_request() -> None:
    run = runs.unstarted(starting(), "timed out", at(5), None, HOUR)
    assert (run.phase, run.attempt, run.request) == (Phase.STARTING, 1, {"token": "t1"})
    assert run.reason == "not started yet: timed out"
    assert run.next_at > at(5)
    assert runs.step(run, run.next_at, HOUR) is Step.START


def test_the_backends_own_wish_decides_when_to_repeat() -> None:
    assert runs.unstarted(starting(), "busy", at(5), 120.0, HOUR).next_at == at(125)


def test_what_the_backend_wishes_does_not_outlast_the_time_to_start() -> None:
    assert runs.unstarted(starting(), "busy", at(5), 86_400.0, HOUR).next_at == at(1) + HOUR
    assert runs.unobserved(running(), "busy", at(5), 90).next_at == at(95)


def test_a_start_that_never_answers_holds_its_slot_after_the_timeout_because_its_work_may_exist() -> None:
    run = runs.unstarted(starting(), "timed out", at(1) + HOUR, None, HOUR)
    assert (run.phase, runs.step(run, run.next_at, HOUR)) == (Phase.STARTING, Step.START)
    assert "whether it exists is unknown" in run.reason
    assert runs.unstarted(starting(), "timed out", at(0.9) + HOUR, None, HOUR).ending is None


def test_what_a_late_answer_shows_after_the_time_to_start_is_cancelled() -> None:
    late = runs.unstarted(starting(), "timed out", at(1) + HOUR, None, HOUR)
    found = runs.started(late, Remote("17"), at(9) + HOUR)
    assert runs.step(found, found.next_at, HOUR) is Step.OBSERVE
    ended = runs.observed(found, CANCELLED, at(10) + HOUR, Retry(1))
    assert (ended.phase, "could not be started within 1:00:00" in ended.reason) == (Phase.FAILED, True)


def test_a_run_is_abandoned_only_after_somebody_wanted_its_end() -> None:
    with pytest.raises(ValueError, match="cancel it first"):
        runs.abandoned(running(), "ada", at(5))
    ending = runs.unobserved(runs.ended_early(running(), STOP, at(5)), "no route to host", at(6))
    run = runs.abandoned(ending, "ada", at(7))
    assert (run.phase, run.event_due) == (Phase.FAILED, True)
    assert "ada abandoned it: what may be left as 17 is nobody's any more" in run.reason
    assert "no route to host" in run.reason


def test_what_was_abandoned_is_tried_again_under_the_same_token() -> None:
    run = runs.abandoned(runs.ended_early(running(), STOP, at(5)), "ada", at(7))
    assert (run.remote is not None, runs.next_attempt(run)) == (True, run.attempt)


def test_the_pause_before_the_next_attempt_grows_to_an_hour() -> None:
    often = dataclasses.replace(running(), attempt=40)
    patient = runs.Retry(99, dt.timedelta(seconds=30), frozenset(Failure))
    assert runs.observed(often, failed(Failure.TRANSIENT), at(5), patient).next_at == at(5) + HOUR
    slow = runs.Retry(99, 3 * HOUR, frozenset(Failure))
    assert runs.observed(often, failed(Failure.TRANSIENT), at(5), slow).next_at == at(5) + 3 * HOUR


def test_what_started_is_known_by_its_remote() -> None:
    run = running()
    assert (run.remote, run.started_at) == (Remote("17", "https://there"), at(2))


# -- observing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed", "pause"), [(0, 1), (5, 1), (10, 1), (100, 10), (299, 29.9), (300, 30), (100_000, 30)]
)
def test_an_active_run_is_asked_again_after_a_tenth_of_the_time_waited(elapsed: float, pause: float) -> None:
    now = at(2 + elapsed)
    assert runs.observed(running(), ACTIVE, now, RETRY).next_at == now + dt.timedelta(seconds=pause)
    assert runs.unobserved(running(), "no answer", now).next_at == now + dt.timedelta(seconds=pause)


def test_what_the_action_knows_of_the_next_look_goes_before_what_is_usual() -> None:
    for progress in (None, {"step": 2}):
        seen = dataclasses.replace(ACTIVE, retry_after=7.0, progress=progress)
        assert runs.observed(running(), seen, at(3), RETRY).next_at == at(10)


def test_where_a_person_can_look_is_told_by_the_start_or_by_what_is_seen_later() -> None:
    seen = dataclasses.replace(ACTIVE, url="https://seen")
    unknown = runs.started(starting(), Remote("17"), at(2))
    told = [runs.observed(run, seen, at(3), RETRY).remote for run in (unknown, running())]
    assert told == [Remote("17", "https://seen"), Remote("17", "https://there")]


def test_progress_is_followed_at_once_and_replaces_the_last() -> None:
    first = runs.observed(running(), dataclasses.replace(ACTIVE, progress={"step": 1}), at(9), RETRY)
    assert (first.next_at, first.progress) == (at(9), {"step": 1})
    same = runs.observed(first, dataclasses.replace(ACTIVE, progress={"step": 1}), at(9), RETRY)
    assert same.next_at > at(9)
    assert runs.observed(first, ACTIVE, at(9), RETRY).progress == {"step": 1}


def test_results_are_gathered_over_observations() -> None:
    run = runs.observed(running(), dataclasses.replace(ACTIVE, result={"a": 1, "b": 1}), at(9), RETRY)
    assert runs.observed(run, SUCCEEDED, at(10), RETRY).result == {"a": 1, "b": 1, "version": 7}


def test_a_chain_that_the_backend_knows_is_taken_over() -> None:
    run = runs.observed(running(), dataclasses.replace(ACTIVE, correlation="older"), at(9), RETRY)
    assert run.correlation == "older"
    assert runs.observed(run, ACTIVE, at(10), RETRY).correlation == "older"


def test_a_backend_that_cannot_be_asked_is_not_a_failure() -> None:
    run = runs.unobserved(running(), "503", at(9))
    assert (run.phase, run.attempt, run.reason) == (Phase.RUNNING, 1, "state unknown: 503")


def test_a_cancel_from_outside_ends_the_run_and_is_not_retried() -> None:
    everything = dataclasses.replace(RETRY, failures=frozenset(Failure))
    assert runs.observed(running(), CANCELLED, at(9), everything).phase is Phase.CANCELLED


# -- retry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [*Failure, None])
@pytest.mark.parametrize("failures", [frozenset(), frozenset({Failure.TRANSIENT}), frozenset(Failure)])
def test_only_the_failures_that_the_route_names_get_another_attempt(
    failure: Failure | None, failures: frozenset[Failure]
) -> None:
    run = runs.observed(running(), failed(failure), at(9), Retry(3, dt.timedelta(seconds=30), failures))
    taken = (failure or Failure.PERMANENT) in failures
    assert run.phase is (Phase.WAITING if taken else Phase.FAILED)
    assert ("are not retried" in run.reason) is not taken


def test_a_failure_without_a_class_is_the_works_own_fault() -> None:
    run = runs.observed(running(), failed(None), at(9), RETRY)
    assert run.reason == "attempt 1 failed (permanent): it broke; permanent failures are not retried"


def test_the_pause_before_an_attempt_doubles_and_the_last_attempt_says_so() -> None:
    run, pauses = running(), []
    while True:
        run = runs.observed(run, failed(Failure.TRANSIENT), at(100), RETRY)
        if run.phase is Phase.FAILED:
            break
        pauses.append((run.next_at - at(100)).total_seconds())
        run = runs.started(runs.retried(run, {}, at(100)), Remote("x"), at(100))
    assert pauses == [30, 60]
    assert run.attempt == 3
    assert run.reason.endswith("that was the last of 3")


def test_the_next_attempt_starts_afresh_under_its_own_request_and_keeps_the_chain() -> None:
    run = runs.retried(waiting(), {"token": "t2"}, at(40))
    assert (run.phase, run.attempt, run.request) == (Phase.STARTING, 2, {"token": "t2"})
    assert (run.remote, run.progress, run.started_at, run.ending) == (None, {}, None, None)
    assert (run.manifest, run.correlation) == (MANIFEST, "chain")


# -- timeout -------------------------------------------------------------------------------------------------------


def test_a_run_over_its_timeout_is_cancelled_once_and_then_observed_until_it_has_ended() -> None:
    late = at(2) + HOUR
    assert runs.step(running(), at(1) + HOUR, HOUR) is not Step.CANCEL
    assert runs.step(running(), late, HOUR) is Step.CANCEL
    ending = runs.cancelling(running(), HOUR, late)
    assert ending.phase is Phase.RUNNING, "the slot is held while the remote lives"
    assert runs.step(ending, late, HOUR) is Step.OBSERVE
    still = runs.observed(ending, ACTIVE, late, RETRY)
    assert runs.step(still, still.next_at, HOUR) is Step.OBSERVE


@pytest.mark.parametrize("end", [CANCELLED, failed(Failure.PERMANENT), failed(None)])
def test_what_ends_after_a_timeout_has_failed_by_timeout(end: Observation) -> None:
    ending = runs.cancelling(running(), HOUR, at(3602))
    run = runs.observed(ending, end, at(3603), RETRY)
    assert run.phase is Phase.WAITING
    assert run.reason.startswith("attempt 1 failed (timeout): it took longer than 1:00:00 and was cancelled")
    never = dataclasses.replace(RETRY, failures=frozenset({Failure.TRANSIENT}))
    assert runs.observed(ending, end, at(3603), never).phase is Phase.FAILED


def test_what_succeeds_in_spite_of_its_timeout_has_succeeded() -> None:
    late = runs.cancelling(running(), HOUR, at(3602))
    assert runs.observed(late, SUCCEEDED, at(3603), RETRY).phase is Phase.SUCCEEDED


def test_the_next_attempt_has_its_own_time() -> None:
    again = runs.started(runs.retried(waiting(), {}, at(7200)), Remote("x"), at(7201))
    assert runs.step(again, at(7202), HOUR) is not Step.CANCEL


# -- what comes next -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        (Phase.PREPARING, Step.PREPARE), (Phase.STARTING, Step.START), (Phase.RUNNING, Step.OBSERVE),
        (Phase.WAITING, Step.RETRY), (Phase.SUCCEEDED, Step.EMIT), (Phase.FAILED, Step.EMIT),
        (Phase.SKIPPED, Step.EMIT), (Phase.CANCELLED, Step.EMIT),
    ],
)  # fmt: skip
def test_each_phase_has_its_next_step_when_its_time_has_come(phase: Phase, step: Step) -> None:
    run = in_phase(phase)
    assert runs.step(run, run.next_at, HOUR) is step


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING, Phase.WAITING])
def test_before_its_time_a_run_sleeps(phase: Phase) -> None:
    run = dataclasses.replace(in_phase(phase), next_at=at(50))
    assert runs.step(run, at(49.999), HOUR) is Step.SLEEP


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.final])
def test_a_run_that_was_told_rests(phase: Phase) -> None:
    assert runs.step(runs.told(in_phase(phase)), at(10), HOUR) is Step.REST


def test_each_ring_has_the_next_number_and_gives_the_lease_back() -> None:
    run = runs.rung(leases.leased(running(), "me", NOON))
    assert (run.ring_no, run.leased_by, run.leased_until) == (1, "", None)


# -- the lease -----------------------------------------------------------------------------------------------------


def test_a_lease_keeps_others_out_until_it_runs_out() -> None:
    run = leases.leased(running(), "me", NOON)
    ends = NOON + leases.LEASE
    assert leases.of_another(run, "me", at(1)) is None
    assert leases.of_another(run, "you", at(1)) == ends
    assert leases.of_another(run, "you", ends) is None
    assert leases.of_another(running(), "you", NOON) is None


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_run_is_named_for_its_route_lane_and_generation() -> None:
    run = opened()
    assert run.id == runs.run_id("curate", "demand", 4)
    assert run.id.startswith("curate-")
    assert run.id.endswith("-4")
    others = [("train", "demand", 4), ("curate", "other", 4), ("curate", "demand", 5)]
    assert run.id not in {runs.run_id(*other) for other in others}


def test_a_token_depends_on_store_route_key_generation_and_attempt() -> None:
    base: tuple[Any, ...] = ("store", "curate", "demand", 4, 1)
    changed = [(*base[:at], other, *base[at + 1 :]) for at, other in enumerate(("other", "train", "x", 5, 2))]
    tokens = {runs.token(*parts) for parts in [base, *changed]}
    assert len(tokens) == 6
    assert all(len(token) == 64 for token in tokens), "Databricks takes at most 64 characters"


# -- whatever happens in whatever order ----------------------------------------------------------------------------

OBSERVATIONS = st.builds(
    Observation,
    st.sampled_from(Status),
    st.just("seen"),
    st.none() | st.sampled_from(Failure),
    progress=st.none() | st.dictionaries(st.just("step"), st.integers(0, 3)),
    result=st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)),
    correlation=st.none() | st.just("chain"),
)


class AnyMoves(RuleBasedStateMachine):
    """Every move is tried in every phase; the model knows only what a backend would know."""

    @initialize(attempts=st.integers(1, 4), failures=st.frozensets(st.sampled_from(Failure)))
    def begin(self, attempts: int, failures: frozenset[Failure]) -> None:
        self.retry = Retry(attempts, dt.timedelta(seconds=30), failures)
        self.now = NOON
        self.run = opened()
        self.ended_attempts: set[int] = set()
        self.started_attempts: set[int] = set()
        self.told = False
        self.at_the_end: Run | None = None

    def apply(self, move: str, make: Callable[[], Run]) -> None:
        before = self.run
        if before.phase not in MOVES[move]:
            with pytest.raises(ValueError, match="cannot be"):
                make()
            return
        self.run = make()
        if self.run.attempt != before.attempt:
            assert move == "retried"
            assert self.run.attempt == before.attempt + 1
            assert before.attempt in self.ended_attempts, "an attempt follows only one that is known to have ended"
        if self.run.phase.final and self.at_the_end is None:
            self.at_the_end = self.run

    @rule(seconds=st.floats(0, 5000))
    def time_passes(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    @rule()
    def prepare(self) -> None:
        self.apply("prepared", lambda: runs.prepared(self.run, MANIFEST, {"attempt": 1}, "chain", self.now))

    @rule()
    def skip(self) -> None:
        self.apply("skipped", lambda: runs.skipped(self.run, MANIFEST, "guard", self.now))

    @rule()
    def start(self) -> None:
        if self.run.phase in MOVES["started"]:
            self.started_attempts.add(self.run.attempt)
        self.apply("started", lambda: runs.started(self.run, Remote("x"), self.now))

    @rule(wish=st.none() | st.floats(0, 100))
    def lose_the_answer(self, wish: float | None) -> None:
        self.apply("unstarted", lambda: runs.unstarted(self.run, "lost", self.now, wish, HOUR))

    @rule()
    def refuse(self) -> None:
        self.apply("refused", lambda: runs.refused(self.run, "no", self.now))

    @rule(seen=OBSERVATIONS)
    def observe(self, seen: Observation) -> None:
        if self.run.phase in MOVES["observed"] and seen.status is not Status.ACTIVE:
            self.ended_attempts.add(self.run.attempt)
        self.apply("observed", lambda: runs.observed(self.run, seen, self.now, self.retry))

    @rule()
    def fail_to_ask(self) -> None:
        self.apply("unobserved", lambda: runs.unobserved(self.run, "lost", self.now))

    @rule()
    def cancel(self) -> None:
        self.apply("cancelling", lambda: runs.cancelling(self.run, HOUR, self.now))

    @rule()
    def try_again(self) -> None:
        self.apply("retried", lambda: runs.retried(self.run, {"attempt": self.run.attempt + 1}, self.now))

    @rule()
    def tell(self) -> None:
        self.apply("told", lambda: runs.told(self.run))
        self.told = self.told or self.run.phase.final

    @rule()
    def ring(self) -> None:
        self.run = runs.rung(self.run)

    @invariant()
    def what_is_final_stays_final(self) -> None:
        if self.at_the_end is not None:
            expected = dataclasses.replace(self.at_the_end, ring_no=self.run.ring_no, event_due=not self.told)
            assert self.run == expected

    @invariant()
    def an_end_owes_its_event_until_told(self) -> None:
        assert self.run.event_due is (self.run.phase.final and not self.told)
        assert self.run.alive is (self.run.event_due or not self.run.phase.final)

    @invariant()
    def attempts_are_bounded_and_their_requests_are_their_own(self) -> None:
        assert 1 <= self.run.attempt <= self.retry.attempts
        assert self.run.request is None or self.run.request["attempt"] == self.run.attempt
        assert set(range(1, self.run.attempt)) <= self.started_attempts

    @invariant()
    def there_is_a_reason_and_a_next_step(self) -> None:
        assert self.run.reason
        step = runs.step(self.run, self.now, HOUR)
        assert (step is Step.REST) is (self.run.phase.final and not self.run.event_due)
        assert (self.run.ended_at is not None) is self.run.phase.final

    @precondition(lambda self: self.run.phase is Phase.RUNNING)
    @invariant()
    def what_runs_has_a_remote(self) -> None:
        assert self.run.remote is not None
        assert self.run.started_at is not None


TestAnyMoves = AnyMoves.TestCase
TestAnyMoves.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=200, deadline=None)
@given(st.lists(OBSERVATIONS | st.sampled_from(["lost", "refused"]), max_size=40), st.sets(st.sampled_from(Failure)))
def test_a_run_that_is_driven_by_its_own_steps_makes_only_legal_moves_and_ends(
    answers: list[Any], failures: set[Failure]
) -> None:
    """The loop of the control plane in small: whatever backends answer, no step asks for an illegal move."""
    retry, run, now, pending = Retry(3, dt.timedelta(seconds=1), frozenset(failures)), opened(), NOON, list(answers)
    for _ in range(20_000):
        answer = pending.pop(0) if pending else SUCCEEDED
        step = runs.step(run, now, HOUR)
        if step is Step.REST:
            break
        if step is Step.PREPARE:
            run = runs.prepared(run, MANIFEST, {"attempt": run.attempt}, "chain", now)
        elif step is Step.START and answer == "lost":
            run = runs.unstarted(run, "lost", now, None, HOUR)
        elif step is Step.START:
            run = runs.refused(run, "no", now) if answer == "refused" else runs.started(run, Remote("x"), now)
        elif step is Step.OBSERVE and isinstance(answer, Observation):
            run = runs.observed(run, answer, now, retry)
        elif step is Step.OBSERVE:
            run = runs.unobserved(run, "lost", now)
        elif step is Step.CANCEL:
            run = runs.cancelling(run, HOUR, now)
        elif step is Step.RETRY:
            run = runs.retried(run, {"attempt": run.attempt + 1}, now)
        elif step is Step.EMIT:
            run = runs.told(run)
        else:
            now = run.next_at
    assert run.phase.final
    assert not run.alive


# -- ending early --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [runs.EndingKind.SUPERSEDED, runs.EndingKind.CANCELLED])
def test_a_run_that_is_to_end_is_cancelled_only_when_the_backend_says_that_it_has_ended(kind: runs.EndingKind) -> None:
    ending = runs.ended_early(running(), runs.Ending(kind, "told to"), at(5))
    assert runs.step(ending, at(5), HOUR) is runs.Step.OBSERVE
    still = runs.observed(ending, ACTIVE, at(6), RETRY)
    assert still.phase is Phase.RUNNING
    ended = runs.observed(still, CANCELLED, at(7), RETRY)
    assert ended.phase is Phase.CANCELLED
    assert "told to" in ended.reason


def test_work_that_was_done_before_it_could_be_cancelled_counts_as_done() -> None:
    ending = runs.ended_early(running(), STOP, at(5))
    assert runs.observed(ending, SUCCEEDED, at(6), RETRY).phase is Phase.SUCCEEDED


def test_a_start_in_flight_is_found_again_before_it_is_cancelled_so_that_no_orphan_lives() -> None:
    ending = runs.ended_early(starting(), STOP, at(5))
    assert ending.phase is Phase.STARTING
    assert runs.step(ending, at(5), HOUR) is runs.Step.START
    found = runs.started(ending, Remote("17"), at(6))
    assert runs.observed(found, CANCELLED, at(7), RETRY).phase is Phase.CANCELLED


def test_the_first_reason_to_end_stands() -> None:
    once = runs.ended_early(running(), STOP, at(5))
    again = runs.ended_early(once, runs.Ending(runs.EndingKind.SUPERSEDED, "newer"), at(6))
    assert again.ending == STOP


def test_a_run_that_is_reopened_is_held_by_nobody() -> None:
    leased = leases.leased(running(), "somebody", at(2))
    ended = runs.observed(leased, failed(Failure.PERMANENT), at(3), RETRY)
    again = runs.reopened(runs.told(ended), {"token": "t2"}, "asked for", at(4), None)
    assert leases.of_another(again, "another", at(4)) is None


def test_a_run_that_was_abandoned_and_is_reopened_waits_for_the_lease_of_who_may_still_wait_for_an_answer() -> None:
    ending = runs.ended_early(leases.leased(running(), "somebody", at(2)), STOP, at(3))
    again = runs.reopened(runs.told(runs.abandoned(ending, "ada", at(4))), {"token": "t1"}, "asked for", at(5), None)
    assert leases.of_another(again, "another", at(5)) == at(2) + leases.LEASE

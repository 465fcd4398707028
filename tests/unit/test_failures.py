"""What the backends' words for an error mean."""

from __future__ import annotations

import pytest
from databricks.sdk.service.jobs import TerminationCodeCode, TerminationTypeType

from shared.failures import ARM, AZURE_ML, DATABRICKS, HTTP, of_azure_ml, of_call, of_databricks
from shared.observations import Failure, Status


def test_every_termination_code_of_the_sdk_is_classified_and_no_other() -> None:
    documented = {"CLUSTER_TERMINATED_BY_USER"}  # in the SDK's text, not in its enum
    without_a_code = {"TIMED_OUT"}
    assert set(DATABRICKS) == {code.value for code in TerminationCodeCode} | documented | without_a_code


def test_a_termination_is_a_success_a_cancellation_or_a_failure_of_a_class() -> None:
    assert {code for code, end in DATABRICKS.items() if end is Status.SUCCEEDED} == {"SUCCESS", "SUCCESS_WITH_FAILURES"}
    assert {code for code, end in DATABRICKS.items() if end is Status.CANCELLED} == {"USER_CANCELED"}
    assert {code for code, end in DATABRICKS.items() if end is Failure.TIMEOUT} == {"TIMED_OUT", "CANCELED"}
    rest = {end for end in DATABRICKS.values() if isinstance(end, Failure)}
    assert rest == set(Failure)


@pytest.mark.parametrize("kind", list(TerminationTypeType))
def test_a_code_of_a_later_release_is_judged_by_its_type(kind: TerminationTypeType) -> None:
    expected = {"SUCCESS": Status.SUCCEEDED, "CLIENT_ERROR": Failure.PERMANENT}
    assert of_databricks("OF_A_LATER_RELEASE", kind.value) == expected.get(kind.value, Failure.TRANSIENT)
    assert of_databricks("OF_A_LATER_RELEASE") is Failure.PERMANENT


def test_the_known_code_goes_before_the_type() -> None:
    assert of_databricks("CLOUD_FAILURE", "CLIENT_ERROR") is Failure.TRANSIENT


def test_an_azure_ml_job_is_judged_by_its_innermost_known_code() -> None:
    assert of_azure_ml(("NodePreempted", "UserError")) is Failure.TRANSIENT
    assert of_azure_ml(("NewWord", "SystemError")) is Failure.TRANSIENT
    assert of_azure_ml(("NewWord", "UserError")) is Failure.PERMANENT
    assert of_azure_ml(()) is Failure.PERMANENT
    assert set(AZURE_ML.values()) == set(Failure)


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (409, None, Failure.TRANSIENT),
        (409, "AnotherOperationInProgress", Failure.TRANSIENT),
        (409, "ScopeLocked", Failure.PERMANENT),
        (409, "ReadOnlyDisabledSubscription", Failure.PERMANENT),
        (400, "InaccessibleImage", Failure.PERMANENT),
        (400, "QuotaExceeded", Failure.TRANSIENT),
        (403, None, Failure.PERMANENT),
        (418, None, Failure.PERMANENT),
        (429, "SomethingNew", Failure.TRANSIENT),
        (500, None, Failure.TRANSIENT),
        (501, None, Failure.PERMANENT),
        (503, None, Failure.TRANSIENT),
        (599, None, Failure.TRANSIENT),
        (None, None, Failure.TRANSIENT),
    ],
)
def test_a_call_is_judged_by_its_code_then_by_its_status(
    status: int | None, code: str | None, failure: Failure
) -> None:
    assert of_call(status, code) is failure


def test_a_call_is_repeated_or_refused_never_anything_else() -> None:
    assert {*HTTP.values(), *ARM.values()} == {Failure.TRANSIENT, Failure.PERMANENT}

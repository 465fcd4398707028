"""What a backend's word for an end or an error means: one table a source.  Pure.

Two questions have the same answers.  Of work that has ended badly: does another attempt help (`transient`, `timeout`),
or would the same input fail again (`permanent`)?  Of a call that was not answered as it should: is it repeated
(`transient`), or is it refused for good (`permanent`)?  What no table knows is judged by the class of its status.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.observations import Failure, Status

_TRANSIENT, _TIMEOUT, _PERMANENT = Failure.TRANSIENT, Failure.TIMEOUT, Failure.PERMANENT

DATABRICKS: Mapping[str, Failure | Status] = {
    "BREAKING_CHANGE": _TRANSIENT,  # Databricks repeats it with a mitigation
    "BUDGET_POLICY_LIMIT_EXCEEDED": _PERMANENT,
    "CANCELED": _TIMEOUT,  # by the platform, for example after the job's own time-out; a person's is USER_CANCELED
    "CLOUD_FAILURE": _TRANSIENT,
    "CLUSTER_ERROR": _TRANSIENT,
    "CLUSTER_REQUEST_LIMIT_EXCEEDED": _TRANSIENT,
    "CLUSTER_TERMINATED_BY_USER": _TRANSIENT,
    "DISABLED": _PERMANENT,
    "DRIVER_ERROR": _TRANSIENT,
    "FEATURE_DISABLED": _PERMANENT,
    "INTERNAL_ERROR": _TRANSIENT,
    "INVALID_CLUSTER_REQUEST": _PERMANENT,
    "INVALID_RUN_CONFIGURATION": _PERMANENT,
    "LIBRARY_INSTALLATION_ERROR": _PERMANENT,
    "MAX_CONCURRENT_RUNS_EXCEEDED": _TRANSIENT,
    "MAX_JOB_QUEUE_SIZE_EXCEEDED": _TRANSIENT,
    "MAX_SPARK_CONTEXTS_EXCEEDED": _TRANSIENT,
    "REPOSITORY_CHECKOUT_FAILED": _TRANSIENT,
    "RESOURCE_NOT_FOUND": _PERMANENT,
    "RUN_EXECUTION_ERROR": _PERMANENT,
    "SKIPPED": _TRANSIENT,
    "STORAGE_ACCESS_ERROR": _PERMANENT,
    "SUCCESS": Status.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": Status.SUCCEEDED,  # a task failed, those that the job ends with did not
    "TIMED_OUT": _TIMEOUT,
    "UNAUTHORIZED_ERROR": _PERMANENT,
    "USER_CANCELED": Status.CANCELLED,
    "WORKSPACE_RUN_LIMIT_EXCEEDED": _TRANSIENT,
}
"""How a Databricks run has ended: every `TerminationCode` of the Jobs API 2.2 (databricks-sdk 0.156.0), and TIMED_OUT,
which is a result state without a code."""

_DATABRICKS_TYPES: Mapping[str, Failure | Status] = {
    "SUCCESS": Status.SUCCEEDED,
    "INTERNAL_ERROR": _TRANSIENT,
    "CLOUD_FAILURE": _TRANSIENT,
    "CLIENT_ERROR": _PERMANENT,
}

AZURE_ML: Mapping[str, Failure] = {
    "AllocationFailed": _TRANSIENT,
    "ComputeNodePreempted": _TRANSIENT,
    "InternalServerError": _TRANSIENT,
    "JobPreempted": _TRANSIENT,
    "NodePreempted": _TRANSIENT,
    "RequestThrottled": _TRANSIENT,
    "ServiceError": _TRANSIENT,
    "ServiceUnavailable": _TRANSIENT,
    "SystemError": _TRANSIENT,
    "TooManyRequests": _TRANSIENT,
    "JobExceededTimeLimit": _TIMEOUT,
    "JobTimeout": _TIMEOUT,
    "TimeoutError": _TIMEOUT,
    "Immutable": _PERMANENT,
    "UserError": _PERMANENT,
    "ValidationError": _PERMANENT,
}
"""Why an Azure ML job has failed: `error.code` of the run history, the innermost first.  Microsoft publishes the root
codes (`UserError` blames the work, `ServiceError` and `SystemError` the platform), but no list of those inside."""

HTTP: Mapping[int, Failure] = {
    400: _PERMANENT,
    401: _PERMANENT,
    403: _PERMANENT,
    404: _PERMANENT,
    405: _PERMANENT,
    408: _TRANSIENT,
    409: _TRANSIENT,  # Azure Resource Manager: another operation is under way on this
    410: _PERMANENT,
    412: _TRANSIENT,  # somebody else was faster: read again
    413: _PERMANENT,
    422: _PERMANENT,
    423: _TRANSIENT,  # locked by another operation; a management lock is ScopeLocked
    425: _TRANSIENT,
    429: _TRANSIENT,
}
"""What a status says of the call; every 5xx but 501 and 505 is transient, any other status permanent."""

ARM: Mapping[str, Failure] = {
    "AllocationFailed": _TRANSIENT,
    "AnotherOperationInProgress": _TRANSIENT,
    "ContainerGroupQuotaReached": _TRANSIENT,  # until another group ends
    "ContainerGroupTransitioning": _TRANSIENT,
    "InternalServerError": _TRANSIENT,
    "QuotaExceeded": _TRANSIENT,  # until other work ends; the start's time-out ends the wait
    "RegistryErrorResponse": _TRANSIENT,  # Container Instances: the registry has hiccups
    "RequestThrottled": _TRANSIENT,
    "RetryableError": _TRANSIENT,
    "ServerBusy": _TRANSIENT,
    "ServiceUnavailable": _TRANSIENT,
    "SubscriptionRequestsThrottled": _TRANSIENT,
    "TooManyRequests": _TRANSIENT,
    "ZonalAllocationFailed": _TRANSIENT,
    "AuthorizationFailed": _PERMANENT,
    "DisallowedOperation": _PERMANENT,
    "InaccessibleImage": _PERMANENT,
    "InvalidImage": _PERMANENT,
    "JobPropertyImmutable": _PERMANENT,
    "LinkedAuthorizationFailed": _PERMANENT,
    "MissingSubscriptionRegistration": _PERMANENT,
    "PropertyChangeNotAllowed": _PERMANENT,
    "ReadOnlyDisabledSubscription": _PERMANENT,
    "RequestDisallowedByPolicy": _PERMANENT,
    "ResourceGroupBeingDeleted": _PERMANENT,
    "ScopeLocked": _PERMANENT,
}
"""Codes of Azure Resource Manager and the providers behind it that say more than their status: a 409 is another
operation under way, but a lock, a policy or a subscription that may only be read needs a person."""


def of_databricks(code: str, kind: str = "") -> Failure | Status:
    """How a Databricks run ended; a code of a later release is judged by its type of termination."""
    return DATABRICKS.get(code) or _DATABRICKS_TYPES.get(kind, _PERMANENT)


def of_azure_ml(codes: tuple[str, ...]) -> Failure:
    """Why an Azure ML job has failed, by the first of its codes (the innermost is the first) that is known."""
    return next((AZURE_ML[code] for code in codes if code in AZURE_ML), _PERMANENT)


def of_call(status: int | None, code: str | None = None) -> Failure:
    """What to do about a call that was answered with this status and error code; no status is no answer."""
    if code is not None and code in ARM:
        return ARM[code]
    if status is None:
        return _TRANSIENT
    if status >= 500:
        return _PERMANENT if status in (501, 505) else _TRANSIENT
    return HTTP.get(status, _PERMANENT)

"""The production endpoint as a consumer finds it: its address and key from Azure ML, then plain HTTP."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from demand_forecasting.publish_azureml import connect
from demo.report import StepFailed
from localcloud.cloud import RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from localcloud.subscriptions import Identity

ENDPOINT = "demand-forecast"
DEPLOYMENT_HEADER = "azureml-model-deployment"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback needs no proxy, whatever the environment says."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What production said: which deployment of which model version, and its forecast."""

    scoring_uri: str
    deployment: str
    model_version: str
    milliseconds: float
    predictions: Mapping[str, Sequence[float]]


def address(cloud: Cloud) -> tuple[str, str]:
    """The scoring address and the key of production, as Azure ML tells them."""
    manager = cloud.url("arm")
    workspace = connect(Identity(cloud), SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)
    key = workspace.online_endpoints.get_keys(ENDPOINT).primary_key
    return str(workspace.online_endpoints.get(ENDPOINT).scoring_uri), str(key)


def posted(uri: str, key: str, body: bytes) -> urllib.request.Request:
    """A scoring request."""
    return urllib.request.Request(uri, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})


def ask(cloud: Cloud, request: Mapping[str, Any]) -> Answer:
    """The forecast that production gives for a request.  Raises StepFailed with what it said instead."""
    uri, key = address(cloud)
    began = time.monotonic()
    try:
        with OPENER.open(posted(uri, key, json.dumps(request).encode()), timeout=60) as answer:
            said, deployment = json.load(answer), answer.headers.get(DEPLOYMENT_HEADER, "")
    except urllib.error.HTTPError as error:
        raise StepFailed(f"{uri} answered {error.code}: {error.read()[:500].decode()}") from None
    except OSError as error:
        raise StepFailed(f"{uri} does not answer: {error}") from None
    took = (time.monotonic() - began) * 1000
    return Answer(uri, deployment, str(said["model_version"]), took, said["predictions"])

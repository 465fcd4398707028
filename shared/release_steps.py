"""Where a release stands, and in which order.  The table of what decides each step is in `releases`."""

from __future__ import annotations

import enum


class Step(enum.StrEnum):
    """Where a release stands."""

    IDENTIFY = "identify"
    QA_CREATE = "qa_create"
    QA_WAIT = "qa_wait"
    QA_CHECK = "qa_check"
    QA_DELETE = "qa_delete"
    STAGE = "stage"  # nobody stands here: the next of the route's own stages follows
    APPROVAL = "approval"
    DEPLOY = "deploy"
    DEPLOY_WAIT = "deploy_wait"
    SMOKE = "smoke"
    SHADOW = "shadow"
    TRAFFIC_PLAN = "traffic_plan"
    TRAFFIC = "traffic"
    VERIFY = "verify"
    HOLD = "hold"
    RETIRE = "retire"
    RESTORE = "restore"
    CLEAN_DEPLOYMENT = "clean_deployment"
    CLEAN_QA = "clean_qa"
    RECORD = "record"
    END = "end"

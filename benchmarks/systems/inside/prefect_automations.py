"""Prefect: a webhook block for the stub, and the automation that calls it for every event."""

import os

import httpx
from prefect.blocks.webhook import Webhook

API = os.environ["PREFECT_API_URL"]
block = Webhook(method="POST", url=os.environ["BENCH_STUB"], allow_private_urls=True)
block_id = str(block.save("bench-stub", overwrite=True))


action = {"type": "call-webhook", "block_document_id": block_id, "payload": '{"ids": ["{{ event.id }}"]}'}
trigger = {"type": "event", "posture": "Reactive", "match": {}, "expect": ["bench.single"], "threshold": 1, "within": 0}
wanted = {"name": "single", "trigger": trigger, "actions": [action]}
httpx.post(f"{API}/automations/", json=wanted, timeout=30).raise_for_status()

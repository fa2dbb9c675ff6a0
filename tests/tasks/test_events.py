"""The demo's stream of events, of a task that a real worker runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings

from perfkit.conf import configured
from tests.tasks import counting
from tests.tasks.workers import running_worker


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_it_tells_the_progress_while_the_worker_works(client: Client, tmp_path: Path) -> None:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    arguments = ["--pool=solo", f"--include={counting.__name__}"]
    with running_worker(tmp_path / "worker.log", *arguments):
        task = counting.count.delay(2.5)
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
            response: Any = client.get(f"/api/task-status/{task.id}/events")
            content = b"".join(response.streaming_content).decode()
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in content.split("\n\n") if block
    ]
    statuses = [json.loads(block["data"]) for block in blocks if block.get("event") == "status"]
    steps = [status["progress"]["current"] for status in statuses if status["state"] == "PROGRESS"]
    assert steps == [1, 2, 3]
    assert statuses[-1]["state"] == "SUCCESS"
    assert statuses[-1]["result"] == counting.STEPS
    assert blocks[-1] == {"event": "end", "data": "SUCCESS"}

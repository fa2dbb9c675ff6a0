"""Under gunicorn: what was left to be done is done though the server is told to stop right after the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from project.services.processes import free_port
from project.services.state import BASE_DIR, LOOPBACK

WORKS = 5


@pytest.mark.parametrize("kind", ["sync", "gthread"])
@pytest.mark.parametrize(("sent", "done"), [(signal.SIGTERM, WORKS), (signal.SIGKILL, 0)])
def test_an_orderly_stop_waits_for_the_work(tmp_path: Path, kind: str, sent: int, done: int) -> None:
    port = free_port()
    application = "django.core.wsgi:get_wsgi_application()"
    command = [sys.executable, "-m", "gunicorn", application, "--worker-class", kind]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        [*command, "--bind", f"{LOOPBACK}:{port}", "--threads", "2" if kind == "gthread" else "1"],
        cwd=BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.api.writing.site_settings",
            "PERFKIT_DB": "sqlite",
            "DONE": str(tmp_path / "done"),
        },
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until_it_answers(f"http://{LOOPBACK}:{port}/ready", log=tmp_path / "log")
        answer = requests.post(f"http://{LOOPBACK}:{port}/work", params={"times": WORKS}, timeout=10)
        assert answer.text == f"left {WORKS}"
        if sent == signal.SIGKILL:
            os.killpg(server.pid, signal.SIGKILL)  # the worker too, as when a machine dies
        else:
            server.send_signal(sent)
        server.wait(timeout=30)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=10)
        log.close()
    found = (tmp_path / "done").read_text().split() if (tmp_path / "done").exists() else []
    assert len(found) == done, (tmp_path / "log").read_text()


def wait_until_it_answers(url: str, *, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=1)
        except requests.RequestException:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return

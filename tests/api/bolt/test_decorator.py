"""The decorator, in a process of its own: django-bolt gives the whole of one other threads than asgiref's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from project.services.state import BASE_DIR

WITHOUT = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")


def test_all_of_its_tests_pass() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    tests = str(Path(__file__).with_name("decorator.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests],
        env={**environment, "PERFKIT_DB": "sqlite"},
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_nothing_of_it_is_in_this_process() -> None:
    assert "django_bolt" not in sys.modules

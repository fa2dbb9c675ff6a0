"""Several processes, one real server, and exactly the limit."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest

PROCESSES = 8
REQUESTS = 60

LIMITS = {"/throttled": 100, "/decorated": 100, "/decorated-async": 100, "/large": 300}

CHILD = """
import sys
import django
from django.test import override_settings
django.setup()
from django.test import Client
from perfkit.conf import configured
requests, prefix, *paths = sys.argv[1:]
options = {
    "RATE_LIMIT_ENABLED": True, "RATE_LIMIT_PER_MINUTE": 100, "RATE_LIMIT_OUTAGE": "closed",
    "CACHE_KEY_PREFIX": prefix, "CACHE_TIMEOUT": 10.0,
}
urls = "tests.api.limiting.process_views"
with override_settings(PERFKIT={**configured(), **options}, ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"]):
    client = Client()
    client.get("/free")
    for path in paths:
        print("ready", flush=True)
        sys.stdin.readline()
        statuses = [client.get(path).status_code for _ in range(int(requests))]
        print(statuses.count(200), statuses.count(429), flush=True)
"""


@pytest.mark.redis
def test_eight_processes_get_exactly_the_limit() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", CHILD, str(REQUESTS), f"limits-{uuid.uuid4().hex}", *LIMITS]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(PROCESSES)
    ]
    try:
        for path, limit in LIMITS.items():
            assert [child.stdout.readline() for child in children] == ["ready\n"] * PROCESSES
            for child in children:
                child.stdin.write("\n")
                child.stdin.flush()
            told = [tuple(map(int, child.stdout.readline().split())) for child in children]
            assert sum(admitted for admitted, _ in told) == limit, path
            assert sum(refused for _, refused in told) == PROCESSES * REQUESTS - limit, path
    finally:
        for child in children:
            child.kill()
            child.communicate()

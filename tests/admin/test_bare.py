"""The pages of a project that has the admin and perfkit, and none of the optional packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
import sys

for name in ("celery", "kombu", "ninja", "redis", "django_redis", "psycopg", "prometheus_client"):
    sys.modules[name] = None  # as if it were not installed

SECRET_KEY = "only-for-this-test"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
    "django.contrib.sessions", "django.contrib.staticfiles", "perfkit",
]
MIDDLEWARE = [
    "perfkit.monitoring.metrics",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
STATIC_URL = "static/"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""
ASK = """
import json, re, sys
import django
django.setup()
from html import unescape
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
client = Client()
client.force_login(User.objects.create_superuser("root"))
told = {}
for method, address in json.loads(sys.argv[1]):
    answer = getattr(client, method)(address, {"name": "tag:a"} if method == "post" else None, follow=True)
    text = unescape(re.sub(r"<[^>]+>", " ", answer.content.decode()))
    told[f"{method} {address}"] = [answer.status_code, re.sub(r"\\s+", " ", text)]
print(json.dumps(told))
"""
PAGES = [
    ("get", "/admin/perfkit/monitoring/"),
    ("get", "/admin/perfkit/monitoring/?since=24h&all=1"),
    ("get", "/admin/perfkit/monitoring/view/?method=GET&view=/admin/"),
    ("get", "/admin/perfkit/monitoring/statement/?alias=default&fingerprint=x"),
    ("get", "/admin/perfkit/monitoring/reads/?label=a.B"),
    ("get", "/admin/perfkit/monitoring/task/?name=a&queue=b"),
    ("get", "/admin/perfkit/monitoring/warm/"),
    ("get", "/admin/perfkit/cache/"),
    ("post", "/admin/perfkit/cache/invalidate/"),
    ("get", "/admin/perfkit/job/"),
]
MONITORING, CACHE, JOBS = (
    "get /admin/perfkit/monitoring/",
    "get /admin/perfkit/cache/",
    "get /admin/perfkit/job/",
)


def told_by_pages(project: Path, settings: str = "") -> dict[str, list[Any]]:
    """Ask every page once; return status and text of each."""
    (project / "settings.py").write_text(SETTINGS + settings)
    (project / "urls.py").write_text(
        "from django.contrib import admin\nfrom django.urls import path\n"
        "urlpatterns = [path('admin/', admin.site.urls)]\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
        "DJANGO_SETTINGS_MODULE": "settings",
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ASK, json.dumps(PAGES)],
        capture_output=True,
        text=True,
        cwd=project,
        env=environment,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, list[Any]] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_they_say_what_is_missing(tmp_path: Path) -> None:
    told = told_by_pages(tmp_path)
    assert {status for status, _ in told.values()} == {200}
    overview = told[MONITORING][1]
    assert 'for Celery is not installed: run pip install "django-perfkit[tasks]"' in overview
    assert "django-ninja is not installed, and with it perfkit's API" in overview
    assert "No model is cached" in overview
    assert "No database has one." in overview
    assert "these are the figures of the one that has made this page" in overview
    assert "No warmers are registered" in told["get /admin/perfkit/monitoring/warm/"][1]
    assert "The store is inside each process" in told[CACHE][1]
    assert "for Celery is not installed" in told[JOBS][1]


def test_a_back_end_that_needs_nothing_is_not_complained_of(tmp_path: Path) -> None:
    told = told_by_pages(tmp_path, "PERFKIT = {'JOB_BACKEND': 'immediate', 'N_PLUS_ONE_MODE': 'log'}\n")
    assert "can be sent" not in told[JOBS][1]
    assert "No job has run. Celery is not installed, so there are no tasks." in told[MONITORING][1]
    assert "None were found." in told[MONITORING][1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}}\n",
            "CACHE_ALIAS leads to Django's dummy cache",
        ),
        ("PERFKIT = {'CACHE_ENABLED': False}\n", "Caching is off, by CACHE_ENABLED."),
        (
            "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.db.DatabaseCache', 'LOCATION': 'a'}}\n",
            "DatabaseCache is not supported. Use django_redis.cache.RedisCache",
        ),
    ],
)
def test_they_are_there_without_a_store(tmp_path: Path, settings: str, said: str) -> None:
    told = told_by_pages(tmp_path, settings)
    assert {status for status, _ in told.values()} == {200}
    assert said in told[MONITORING][1]
    assert (said if "not supported" in said else "Caching is off") in told[CACHE][1]
    assert "Traceback" not in told["post /admin/perfkit/cache/invalidate/"][1]

"""Bad values of the environment: one line that names the variable, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from project.environment import choice, flag, number
from project.services.state import BASE_DIR

SERVERS = {
    "DATABASE_URL": "postgres://user:secret@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
SHOWN = """
import json
from django.conf import settings
names = ("ALLOWED_HOSTS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT",
         "SECURE_HSTS_SECONDS", "SECURE_PROXY_SSL_HEADER")
print(json.dumps({name: getattr(settings, name) for name in names}))
"""


def run(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run Python with only these variables of the demo's."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
        "PERFKIT_SERVICES": "test",
        **SERVERS,
        **values,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CACHE_DEFAULT_TTL", "abc"),
        ("QUERY_SLOW_THRESHOLD", "nan"),
        ("CACHE_ENABLED", "ture"),
        ("DATABASE_MODE", "prod"),
        ("DATABASE_POOL_SIZE", "-5"),
        ("DATABASE_POOL_RECYCLE", "0"),
        ("REDIS_MAX_CONNECTIONS", "0"),
        ("PERFKIT_DB", "foo"),
        ("REDIS_URL", "http://foo"),
        ("REDIS_URL", "redis://foo:bar/0"),
        ("DATABASE_URL", "mysql://foo/bar"),
        ("LOG_LEVEL", "loud"),
        ("MODEL_SERVER_URL", "localhost:11434"),
        ("MODEL_SERVER_URL", "http://localhost:port/v1"),
        ("MODEL_DAILY_BUDGET", "-1"),
    ],
)
def test_it_refuses_a_bad_value_in_one_line_that_names_the_variable(name: str, value: str) -> None:
    done = run("manage.py", "check", **{name: value})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(name)
    assert done.stderr.count("\n") == 1


def test_a_server_of_models_needs_a_name_of_one_and_its_address_holds_no_secret() -> None:
    done = run("manage.py", "check", MODEL_SERVER_URL="http://localhost:11434/v1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("MODEL_NAME")
    done = run("manage.py", "check", MODEL_SERVER_URL="http://user:opensesame@localhost/v1", MODEL_NAME="m")
    assert (done.returncode, done.stderr.startswith("MODEL_SERVER_URL")) == (1, True)
    assert "opensesame" not in done.stderr


def settings_with(**values: str) -> dict[str, object]:
    done = run("-c", SHOWN, **values)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_it_always_answers_to_this_machine() -> None:
    loopback = ["localhost", "127.0.0.1", "[::1]"]
    assert settings_with(DJANGO_ALLOWED_HOSTS="")["ALLOWED_HOSTS"] == loopback
    named = settings_with(DJANGO_ALLOWED_HOSTS="example.org")
    assert named["ALLOWED_HOSTS"] == ["example.org", *loopback]


def test_it_is_strict_behind_tls_and_only_there() -> None:
    plain = settings_with(DJANGO_BEHIND_TLS="false")
    assert plain["SECURE_PROXY_SSL_HEADER"] is None
    assert not any(plain[name] for name in plain if name.endswith(("_SECURE", "_REDIRECT", "_SECONDS")))
    strict = settings_with(DJANGO_BEHIND_TLS="true")
    assert strict["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert all(strict[name] for name in strict)


def test_it_reads_values_and_takes_empty_ones_for_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME", " 7 ")
    assert (number("SOME", default=1, least=7), number("SOME", default=0.5)) == (7, 7.0)
    monkeypatch.setenv("SOME", "No")
    assert flag("SOME", default=True) is False
    monkeypatch.setenv("SOME", "")
    assert (number("SOME", default=1), flag("SOME", default=True)) == (1, True)
    assert choice("SOME", default="a", among=("a", "b")) == "a"

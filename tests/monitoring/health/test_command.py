"""`manage.py perfkit_health`: its exit codes and its forms."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from perfkit.monitoring.health import degraded, failed

ROOT = Path(__file__).parents[3]


def code(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        call_command("perfkit_health", *arguments)
    return ended.value.code


@pytest.mark.parametrize(
    ("finding", "usual", "of_containers"), [(None, 0, 0), (degraded("less"), 1, 0), (failed("none"), 2, 1)]
)
def test_it_exits_with_how_things_stand(
    finding: Any, usual: int, of_containers: int, declare: Callable[..., None], configure: Callable[..., None]
) -> None:
    declare("here", lambda: finding)
    configure(HEALTH_READY=["here"])
    assert code() == code("--ready") == usual
    assert code("--container") == of_containers
    assert code("--live") == 0


def test_it_prints_lines_or_json(
    declare: Callable[..., None], configure: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    declare("here", lambda: "two left")
    configure(HEALTH_READY=["here"])
    code()
    first, line = capsys.readouterr().out.splitlines()
    assert first == "ok"
    assert line.startswith("here  ok  ")
    assert line.endswith(" s  two left")
    code("--json")
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "ok"
    assert [(check["name"], check["message"]) for check in told["checks"]] == [("here", "two left")]


@pytest.mark.django_db(transaction=True)
def test_all_runs_all(capsys: pytest.CaptureFixture[str], configure: Callable[..., None]) -> None:
    configure(HEALTH_TIMEOUT=2.0)
    code("--all", "--json")
    names = {check["name"].partition(".")[0] for check in json.loads(capsys.readouterr().out)["checks"]}
    own = {"database", "migrations", "outbox", "cache", "jobs", "schedules", "broker", "workers"}
    assert names >= own, "others may have been registered, by an example of the documentation"


def test_a_wrong_name_in_the_settings_is_a_failure(configure: Callable[..., None]) -> None:
    configure(HEALTH_READY=["databases"])
    with pytest.raises(CommandError, match="Did you mean 'database'") as refused:
        call_command("perfkit_health")
    assert refused.value.returncode == 2


def test_a_container_is_told_by_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(
        'SECRET_KEY = "only-for-this-test"\n'
        'INSTALLED_APPS = ["perfkit"]\n'
        'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}\n'
    )

    def manage(*arguments: str) -> tuple[int, str]:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("DATABASE")},
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            },
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr

    ended, text = manage("perfkit_health", "--container")
    assert ended == 1, text
    assert text.startswith("failed\n")
    assert "wait: perfkit.0001_outbox" in text
    assert manage("migrate")[0] == 0
    ended, text = manage("perfkit_health")
    assert (ended, text.partition("\n")[0]) == (0, "ok"), text

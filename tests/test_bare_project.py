"""A project with nothing but `"perfkit"` in its apps: it starts, migrates and passes `check`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
SECRET_KEY = "only-for-this-test"
INSTALLED_APPS = ["perfkit"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bare_project(tmp_path: Path) -> Path:
    (tmp_path / "settings.py").write_text(SETTINGS)
    return tmp_path


def manage(project: Path, *arguments: str) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
        "DJANGO_SETTINGS_MODULE": "settings",
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", *arguments],
        capture_output=True,
        text=True,
        cwd=project,
        env=environment,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_it_passes_check(bare_project: Path) -> None:
    assert "System check identified no issues (0 silenced)." in manage(
        bare_project, "check", "--fail-level", "WARNING"
    )


@pytest.mark.parametrize("backend", ["redis.RedisCache", "db.DatabaseCache", "filebased.FileBasedCache"])
def test_it_does_not_mind_a_cache_that_it_does_not_use(bare_project: Path, backend: str) -> None:
    cache = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "redis://127.0.0.1:1"}
    with (bare_project / "settings.py").open("a") as settings:
        settings.write(f"CACHES = {{'default': {cache}}}\n")

    assert "no issues" in manage(bare_project, "check", "--tag", "perfkit", "--fail-level", "WARNING")


def test_it_migrates_forth_and_back(bare_project: Path) -> None:
    assert "Applying perfkit.0001" in manage(bare_project, "migrate")
    assert "No migrations to apply." in manage(bare_project, "migrate")
    assert "[X] 0001" in manage(bare_project, "showmigrations", "perfkit")
    assert "Unapplying perfkit.0001" in manage(bare_project, "migrate", "perfkit", "zero")


def test_its_models_and_migrations_agree(bare_project: Path) -> None:
    assert "No changes detected" in manage(bare_project, "makemigrations", "--check", "--dry-run")


def test_its_commands_are_there(bare_project: Path) -> None:
    manage(bare_project, "migrate")
    assert "usage:" in manage(bare_project, "warm_cache", "--help")

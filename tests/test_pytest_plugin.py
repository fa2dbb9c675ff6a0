from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

SUITE = """
import pytest
from django.contrib.auth.models import Group


@pytest.fixture
def groups(db):
    for name in "abc":
        Group.objects.create(name=name)  # a fixture may


def members():
    return [list(group.user_set.all()) for group in Group.objects.all()]


@pytest.mark.no_n_plus_one
def test_fails(groups):
    members()


@pytest.mark.no_n_plus_one(threshold=4)
def test_passes_below_the_threshold(groups):
    members()


@pytest.mark.no_n_plus_one(allow="auth.Group.user_set")
def test_passes_what_is_allowed(groups):
    members()


def test_a_part_fails(groups, no_n_plus_one):
    members()
    with no_n_plus_one():
        members()


def test_is_not_watched(groups):
    members()
"""


def test_the_marker_and_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "settings.py").write_text(
        "SECRET_KEY = 'only-for-tests'\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'perfkit']\n"
    )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = settings\naddopts = --strict-markers\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "perfkit.pytest_plugin",
        "-p",
        "no:randomly",
        "-q",
        "-rA",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("PASSED")] == [
        "PASSED test_suite.py::test_passes_below_the_threshold",
        "PASSED test_suite.py::test_passes_what_is_allowed",
        "PASSED test_suite.py::test_is_not_watched",
    ], done.stdout + done.stderr
    failed = [line for line in lines if line.startswith("FAILED")]
    assert [line.split(" ")[1] for line in failed] == [
        "test_suite.py::test_fails",
        "test_suite.py::test_a_part_fails",
    ]
    assert all("NPlusOneError: N+1: 3 queries for auth.Group.user_set" in line for line in failed)

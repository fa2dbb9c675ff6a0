"""Where there is no browser: its tests are left out and counted, in CI they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from project.services.state import BASE_DIR
from tests.plugins.browser import chromium

PAGES = "tests/project/test_pages.py"


def run_pages(programs: Path, **values: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of one page, with nothing on the path but what is in `programs`."""
    gone = ("PERFKIT_CHROMIUM", "CI", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if name not in gone and "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "fits", PAGES],
        cwd=BASE_DIR,
        env={**kept, "PERFKIT_DB": "sqlite", "PATH": str(programs), **values},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_leaves_the_pages_out_and_says_so(tmp_path: Path) -> None:
    done = run_pages(tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "tests need a browser and were left out" in done.stdout
    assert "deselected" in done.stdout


def test_it_fails_in_ci(tmp_path: Path) -> None:
    done = run_pages(tmp_path, CI="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "There is no browser here" in done.stdout


def test_it_finds_a_browser_by_name_or_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PERFKIT_CHROMIUM", raising=False)
    assert chromium() is None
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).touch(mode=0o755)
        assert chromium() == str(tmp_path / name)
    monkeypatch.setenv("PERFKIT_CHROMIUM", "/opt/chrome")
    assert chromium() == "/opt/chrome"

"""Where there is no Redis beside Valkey: its tests are left out and counted, in CI they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from project.services.state import BASE_DIR
from tests.plugins.redis_server import is_done_without
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.redis


@pytest.fixture
def run(valkey_server: Callable[[], DisposableValkey], tmp_path: Path) -> Callable[..., str]:
    """A function that runs one test of the store, with nothing on the path, and returns what is printed."""
    url = valkey_server().url

    def run(**values: str) -> str:
        gone = ("CI", "DATABASE_URL")
        kept = {
            name: value for name, value in os.environ.items() if name not in gone and "PYTEST" not in name
        }
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    "-k",
                    "knows_nothing_at_first",
                ),
                "tests/caching/store/test_contract.py",
            ],
            cwd=BASE_DIR,
            env={**kept, "PERFKIT_DB": "sqlite", "REDIS_URL": url, "PATH": str(tmp_path), **values},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    return run


def test_it_leaves_them_out_and_says_so(run: Callable[..., str]) -> None:
    told = run()
    assert "tests need redis-server and were left out" in told
    assert "4 passed" in told, "on Valkey, alone, as a cluster and with sentinels, and in the process"


def test_it_fails_in_ci(run: Callable[..., str]) -> None:
    told = run(CI="true")
    assert "There is no redis-server on the path." in told
    assert "4 passed, " in told
    assert "3 errors" in told


def test_it_looks_for_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert is_done_without()
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert not is_done_without()

"""The wheel: everything that runs is in, nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import perfkit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"django_perfkit-{perfkit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_holds_every_file_of_the_package(names: set[str]) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "perfkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("perfkit/")} == expected
    assert "perfkit/py.typed" in names
    assert any(name.startswith("perfkit/migrations/0001") for name in names)


def test_it_holds_nothing_else_but_its_description(names: set[str]) -> None:
    information = f"django_perfkit-{perfkit.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"perfkit", information}
    assert f"{information}/licenses/LICENSE" in names

"""Where a benchmark ran: its own virtual environment with the peers, and what is told of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import venv
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENTS: Final = ROOT / ".venv-bench"


class EnvironmentError(Exception):  # noqa: A001  # the old alias of OSError is not used here
    """The peers could not be installed."""


def is_inside(room: str) -> bool:
    """Tell whether this interpreter is that of the room's own environment."""
    return Path(sys.prefix).resolve() == (ENVIRONMENTS / room).resolve()


def interpreter(room: str) -> Path:
    """Return the Python of the room's environment, made and filled where it is missing or out of date.

    It holds the peers alone, in versions that may differ from the project's;
    what it lacks is found in the environment that runs this.

    Raises:
        EnvironmentError: pip could not install the peers.
    """
    folder = ENVIRONMENTS / room
    python = folder / "bin" / "python"
    wanted = (ROOT / "benchmarks" / f"requirements-{room}.txt").read_text(encoding="utf-8") + sys.version
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(folder, with_pip=True, clear=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    Path(paths["purelib"], "project.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    requirements = str(ROOT / "benchmarks" / f"requirements-{room}.txt")
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise EnvironmentError(f"pip could not install {requirements}.")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def facts(database_version: str, peers: tuple[str, ...]) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "python": platform.python_version(),
        "django": version("django"),
        "psycopg": version("psycopg"),
        "database": database_version,
        "peers": {name: version(name) for name in peers},
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"

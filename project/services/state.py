"""What is remembered of a server between two commands: files under `.local/` for their owner alone."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from django.core.exceptions import ImproperlyConfigured

BASE_DIR: Final = Path(__file__).resolve().parents[2]
LOCAL: Final = BASE_DIR / ".local"

LOOPBACK: Final = "127.0.0.1"


class ServiceError(ImproperlyConfigured):
    """A server cannot be started, found, reached or stopped; the text is one line that says what to do."""


@dataclass(frozen=True)
class State:
    """How to reach a server that was started: `url` carries its password."""

    port: int
    password: str
    url: str


def services_folder(*, is_made: bool = True) -> Path:
    """Return the folder of the servers named by PERFKIT_SERVICES, `.local/demo` without it.

    Raises:
        ServiceError: The name is no folder name, or the folder cannot be made or written.
    """
    name = os.environ.get("PERFKIT_SERVICES") or "demo"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ServiceError(f"PERFKIT_SERVICES={name!r} must consist of letters, digits, '-' and '_'.")
    folder = LOCAL / name
    if is_made:
        make_folder(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Make `folder` where it is missing, and see that it can be written.

    Raises:
        ServiceError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ServiceError(
            f"The folder {folder} cannot be written by this user: run `make clean` as the user who made it, "
            "or change its owner."
        )


def read_state(file: Path) -> State | None:
    """Return what `file` remembers of servers in its folder.

    None where it is missing, damaged, or was copied from another folder; a start then mends it.
    """
    try:
        values = json.loads(file.read_text())
        return State(**values["state"]) if values["folder"] == str(file.parent.resolve()) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    except OSError as error:
        raise ServiceError(
            f"{file} cannot be read: {error.strerror}. Another user started these servers."
        ) from error


def write_state(file: Path, state: State) -> None:
    """Replace `file` in one step, so that no reader sees half of it.

    Raises:
        ServiceError: The disk is full or the folder cannot be written.
    """
    draft = file.with_suffix(".new")
    try:
        draft.unlink(missing_ok=True)
        with open_private(draft) as stream:
            stream.write(json.dumps({"folder": str(file.parent.resolve()), "state": asdict(state)}))
        draft.replace(file)
    except OSError as error:
        raise ServiceError(f"{file} cannot be written: {error.strerror}.") from error


def write_new(file: Path, make: Callable[[], str]) -> str:
    """Return the text of `file`; the first caller, of all processes, writes what `make` returns.

    Raises:
        ServiceError: The file cannot be read or written.
    """
    try:
        with suppress(FileNotFoundError):
            return file.read_text()
        make_folder(file.parent)
        draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        with open_private(draft) as stream:
            stream.write(make())
        with suppress(FileExistsError):
            os.link(draft, file)  # unlike a rename, this keeps what another process wrote meanwhile
        draft.unlink()
        return file.read_text()
    except OSError as error:
        raise ServiceError(f"{file} cannot be read or written: {error.strerror}.") from error


def open_private(file: Path) -> IO[str]:
    """Open a new file that only its owner may read."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")


def answers(port: int) -> bool:
    """Say whether anything listens on this loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=2).close()
    except OSError:
        return False
    return True


def one_line(text: str) -> str:
    """Return the line of a server's or client's output that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|PANIC|error:|could not|failed:|Failed", line)]
    line = (telling or lines or ["no reason was given"])[-1]
    line = re.sub(r"^.*(FATAL|PANIC|error|failed):\s*", "", line)
    return line if line.endswith((".", "!", "?")) else f"{line}."

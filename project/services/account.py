"""The system user that PostgreSQL runs as where we are root: `initdb` refuses root itself."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from project.services.state import BASE_DIR, ServiceError

# Where files lie that PostgreSQL's user must reach, when the clone is in a folder that only root may enter.
REACHABLE: Final = Path("/var/lib/perfkit")

READ_AND_RUN: Final = 0o005

PREFERRED: Final = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A system user without rights of its own."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Say whether this user may enter a folder, through all of its parents."""
        return all(self._may_pass(part) for part in (folder, *folder.parents))

    def may_run(self, program: Path) -> bool:
        """Say whether this user may run a program, and read what is installed beside it."""
        is_open = program.stat().st_mode & READ_AND_RUN == READ_AND_RUN
        return is_open and self.may_enter(program.parent)

    def own(self, path: Path) -> None:
        """Make this user the owner of one file or folder."""
        os.chown(path, self.uid, self.gid)

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def server_account(data: Path) -> Account | None:
    """Return who PostgreSQL runs as: the owner of existing data or another plain user; None is us.

    Raises:
        ServiceError: This system has none of the users that could serve.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in PREFERRED:
        if name in users and users[name].pw_uid != 0:
            return Account(users[name].pw_uid, users[name].pw_gid)
    raise ServiceError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(PREFERRED)}: "
        "add one, run as a user who is not root, or name a server in DATABASE_URL."
    )


def reachable_path(folder: Path) -> Path:
    """Return the path of the stand-in for `folder`, made or not."""
    return REACHABLE / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def reachable_folder(folder: Path) -> Path:
    """Make and return the stand-in for `folder` that every user may enter; one per path.

    Raises:
        ServiceError: It cannot be made.
    """
    stand_in = reachable_path(folder)
    try:
        for part in (REACHABLE, stand_in):
            part.mkdir(mode=0o755, exist_ok=True)
            part.chmod(0o755)
    except OSError as error:
        raise ServiceError(
            f"PostgreSQL's user may not enter {folder}, and {stand_in} cannot be made ({error.strerror}): "
            "clone perfkit into a folder that every user may enter, or name a server in DATABASE_URL."
        ) from error
    return stand_in


def copy_within_reach(package: Path, *, version: str) -> Path:
    """Copy an installed package, with the libraries beside it, to where every user may run it.

    One copy per version serves all virtual environments of this clone.
    """
    place = reachable_folder(BASE_DIR) / version
    if not place.exists():
        draft = place.with_name(f"{version}.{secrets.token_hex(4)}")
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(
                    part, draft / part.name, symlinks=True, ignore=shutil.ignore_patterns("include")
                )
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
        try:
            draft.rename(place)
        except OSError:  # another process has just made it
            shutil.rmtree(draft)
    return place / package.name


def delete_copies() -> None:
    """Delete what `copy_within_reach` made for this clone."""
    shutil.rmtree(reachable_path(BASE_DIR), ignore_errors=True)

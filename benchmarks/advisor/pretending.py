"""A PostgreSQL 15 with hypopg, of Debian's packages postgresql-15 and postgresql-15-hypopg: started, removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from project.services.cluster import CONFIGURATION_FILE, ROLE, Cluster
from project.services.postgres import PostgresServer
from project.services.state import ServiceError, one_line

PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
EXTENSION: Final = Path("/usr/share/postgresql/15/extension/hypopg.control")


def is_installed() -> bool:
    """Tell whether both packages are."""
    return (PROGRAMS / "postgres").exists() and EXTENSION.exists()


class DebiansCluster(Cluster):
    """A data folder of Debian's PostgreSQL."""

    @cached_property
    def _programs(self) -> Path:
        return PROGRAMS

    def make(self) -> None:
        """Make the data folder anew.

        Raises:
            ServiceError: `initdb` fails.
        """
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        if self.account is not None:
            self.account.own(self.data)
        made = self.program(
            *("initdb", "-D", self.data, "-U", ROLE, "--encoding=UTF8", "--auth=reject"),
            *("--no-locale", "--no-sync"),
        )
        if made.returncode != 0:
            raise ServiceError(f"PostgreSQL 15 cannot be made in {self.data}: {one_line(made.stderr)}")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude_if_exists = '{CONFIGURATION_FILE}'\n")


class DebiansServer(PostgresServer):
    """A server on such a folder."""

    @cached_property
    def cluster(self) -> Cluster:
        """The data it serves."""
        return DebiansCluster(self.folder, is_durable=False)


@contextmanager
def pretending_server() -> Iterator[str]:
    """Have the server for a while; yields its URL."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)  # root does not run PostgreSQL; who does must get in
        folder = Path(top) / "server"
        folder.mkdir()
        server = DebiansServer(folder)
        try:
            yield server.start()
        finally:
            server.remove()

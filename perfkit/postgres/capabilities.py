"""What a PostgreSQL server can do, by its version and its extensions."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

OLDEST_MAJOR = 15


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this server's version brings; each flag names the release that brought it.

    Source:
        PostgreSQL manual, appendix "Release Notes".
    """

    version: int

    @property
    def major(self) -> int:
        """18 for version 180006."""
        return self.version // 10_000

    @property
    def is_supported(self) -> bool:
        """Whether perfkit is tested on it."""
        return self.major >= OLDEST_MAJOR

    @property
    def has_returning_old(self) -> bool:
        """RETURNING may name `old` and `new` rows (18)."""
        return self.major >= 18  # noqa: PLR2004  # the release

    @property
    def has_skip_scan(self) -> bool:
        """A B-tree serves conditions that leave out its first column (18)."""
        return self.major >= 18  # noqa: PLR2004  # the release

    @property
    def has_explain_memory(self) -> bool:
        """EXPLAIN knows MEMORY and SERIALIZE (17)."""
        return self.major >= 17  # noqa: PLR2004  # the release


def capabilities(connection: BaseDatabaseWrapper) -> Capabilities:
    """Return what the server of this connection can do; connects where it is not yet connected, no query."""
    with connection.cursor() as cursor:
        return Capabilities(cursor.connection.info.server_version)


def has_extension(connection: BaseDatabaseWrapper, name: str) -> bool:
    """Return whether the extension is created in this database.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = %s)", [name])
        row: tuple[bool] = cursor.fetchone()
    return row[0]

"""The loader of `moments.py`; to be imported where PostgreSQL's driver is."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from weakref import WeakSet

from django.db.backends.postgresql.psycopg_any import is_psycopg3

if is_psycopg3:
    from django.db.backends.postgresql.psycopg_any import BaseTzLoader
    from psycopg.postgres import types
    from psycopg.pq import Format

    MOMENT_OID = types["timestamptz"].oid

    class FastTzLoader(BaseTzLoader):  # type: ignore[misc]  # it has no stubs
        """Parses what PostgreSQL writes by default.

        The rest is left to Django: years before Christ and beyond 9999, and other settings of DateStyle.
        """

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._zone = self.connection.info.timezone if self.connection else UTC
            self._is_shown_in_utc = self.timezone is UTC and str(self._zone) == "UTC"

        def load(self, data: Any) -> datetime:
            """Return the moment on the session's clock, with Django's time zone."""
            try:
                moment = datetime.fromisoformat(str(data, "ascii"))
                if self._is_shown_in_utc and moment.tzinfo is UTC:
                    return moment
                return moment.astimezone(self._zone).replace(tzinfo=self.timezone)
            except (ValueError, OverflowError):
                return super().load(data)  # type: ignore[no-any-return]  # likewise

    @cache
    def _fast_loader(loader: type[BaseTzLoader]) -> type[FastTzLoader]:
        """Return the fast loader that stands for one of Django's, of which there is one for each time zone."""
        return type("SpecificTzLoader", (FastTzLoader,), {"timezone": loader.timezone})


_seen: Final[WeakSet[Any]] = WeakSet()
"""The driver's connections that were asked about."""


def put_on(connection: Any) -> None:
    """Put the loader onto a connection of the driver, in the place of Django's; psycopg 2 loads moments in C."""
    if not is_psycopg3 or connection in _seen:
        return
    loader = connection.adapters.get_loader(MOMENT_OID, Format.TEXT)
    if loader.__bases__ == (BaseTzLoader,):
        connection.adapters.register_loader("timestamptz", _fast_loader(loader))
    _seen.add(connection)

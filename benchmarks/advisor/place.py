"""The shop's database: made and filled before, dropped afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import environ
import psycopg
from django.db import connections
from psycopg import sql

from benchmarks.advisor.filling import Sizes, fill
from benchmarks.advisor.routing import ALIAS
from project import services


@contextmanager
def shop_database(
    sizes: Sizes, *, name: str = "", url: str = "", extensions: Sequence[str] = ()
) -> Iterator[None]:
    """Have a full shop; its texts are compared by a locale that is not C, as in most projects.

    So a prefix is served by an index with the operator class for patterns only.

    Args:
        name: Of the database; else the one in the settings.
        url: Of another server than the benchmark's.
        extensions: That it has.
    """
    shop = connections[ALIAS]
    before = dict(shop.settings_dict)
    if url:
        there = environ.Env.db_url_config(url)
        shop.settings_dict.update({key: there[key] for key in ("HOST", "PORT", "USER", "PASSWORD")})
    if name:
        shop.settings_dict["NAME"] = name
    identifier = sql.Identifier(shop.settings_dict["NAME"])
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier)
    with psycopg.connect(url or services.database_url(), autocommit=True) as server:
        server.execute(drop)
        server.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C.UTF-8'"
            ).format(identifier)
        )
        try:
            with shop.cursor() as cursor:
                for extension in extensions:
                    cursor.execute(f"CREATE EXTENSION {extension}")
            fill(shop, sizes)
            yield
        finally:
            shop.close()
            shop.settings_dict.update(before)
            server.execute(drop)

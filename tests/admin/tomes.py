"""Tomes for the tests of large lists, and what their pages show."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.testapp.large import Hall, Rack, Tome

TOMES = "/admin/testapp/tome/"
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def make_tomes(count: int, **values: Any) -> list[Tome]:
    """Make tomes, of which two each were added at one moment; some have no rank, some no rack."""
    racks = [
        Rack.objects.get_or_create(label=f"R{n}", defaults={"hall": Hall.objects.create(name=f"Hall {n}")})[0]
        for n in range(4)
    ]
    first = max((int(tome.code[1:]) + 1 for tome in Tome.objects.all()), default=0)
    rows = [
        {
            "title": f"Tome {n}",
            "code": f"C{n}",
            "nickname": f"Nick{n % 5}",
            "rack": racks[n % 4] if n % 3 else None,
            "rank": n % 7 or None,
            "kind": f"K{n % 3}",
            "added": BEGIN + timedelta(hours=n // 2),
            **values,
        }
        for n in range(first, first + count)
    ]
    tomes = Tome.objects.bulk_create(Tome(**row) for row in rows)
    for before, tome in pairwise(tomes):
        tome.previous = before
    Tome.objects.bulk_update(tomes, ["previous"])
    return tomes


def estimate_tomes(rows: int) -> None:
    """Have the database believe that there are so many; it knows none where -1."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE pg_class SET reltuples = %s WHERE relname = 'testapp_tome'", [rows])


def titles(page: Any) -> list[str]:
    """Return the titles on a page, in their order."""
    return [tome.title for tome in page.context["cl"].result_list]


def links(page: Any) -> dict[str, str]:
    """Return the addresses of the pages that a page has links to, by what the links say."""
    (bottom,) = re.findall(r'class="paginator".*?</(?:p|nav)>', page.content.decode(), re.DOTALL)
    found = re.findall(r'<a [^>]*href="(\?[^"]*)"[^>]*>([^<]+)</a>', bottom)
    return {unescape(text).strip(): unescape(address) for address, text in found}


def bottom(page: Any) -> str:
    """Return what the bottom of a page says."""
    (found,) = re.findall(r'class="paginator"[^>]*>(.*?)</(?:p|nav)>', page.content.decode(), re.DOTALL)
    text = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<h2.*?</h2>", "", found, flags=re.DOTALL)))
    return " ".join(text.split()).removesuffix(" Show all")


def statements(client: Client, address: str) -> list[str]:
    """Return what a page asks the database."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in queries]

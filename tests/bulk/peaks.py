"""A process that tells how much memory two imports took at most: `python -m tests.bulk.peaks NAME [ids]`.

Nothing else happens in it, so what it tells is what `bulk_insert` holds on to. All of it is rolled back.

Args:
    NAME: Of the database; on SQLite one in memory is made instead.
    ids: Whether the primary keys are asked for.
"""

from __future__ import annotations

import os
import sys
import tracemalloc

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from perfkit.bulk import bulk_insert, sending  # noqa: E402
from tests.testapp.bulk import City, Country, Everything  # noqa: E402


def peak_bytes(count: int, start: int, *, return_ids: bool) -> int:
    """Return the most memory that an import of so many rows took."""
    rows = ({"pk": start + each, "text": f"{each:0120}"} for each in range(count))
    tracemalloc.start()
    assert bulk_insert(Everything, rows, return_ids=return_ids, chunk_rows=500).rows == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> None:
    name, *asked = sys.argv[1:]
    connection.settings_dict["NAME"] = ":memory:" if connection.vendor == "sqlite" else name
    if connection.vendor == "sqlite":
        with connection.schema_editor() as editor:
            for model in (Country, City, Everything):
                editor.create_model(model)
    few = 5_000 if connection.vendor == "sqlite" else 40_000  # so many fill what is sent at once
    sending.OPEN_SECONDS = 60.0  # however slow the machine is
    with transaction.atomic():
        return_ids = asked == ["ids"]
        peaks = [
            peak_bytes(few, 1, return_ids=return_ids),
            peak_bytes(few + 15_000, 100_000, return_ids=return_ids),
        ]
        transaction.set_rollback(True)
    sys.stdout.write("{} {}\n".format(*peaks))


if __name__ == "__main__":
    main()

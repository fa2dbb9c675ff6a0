"""A process that writes rows and tells how far it is: `python -m tests.bulk.loader DATABASE_URL NAME ACTION ROWS`.

It writes a line for each chunk, then the name of the error, or nothing; then it reads a line, and does it again.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import Any

os.environ["DATABASE_URL"] = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.db import connection  # noqa: E402
from django.db.models import F  # noqa: E402

from perfkit.bulk import Excluded, bulk_delete, bulk_insert, bulk_update, bulk_upsert  # noqa: E402
from tests.testapp.bulk import City, Country, Stock  # noqa: E402


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def insert(count: int) -> object:
    rows = ({"name": f"new {number}", "country_id": "PE"} for number in range(count))
    return bulk_insert(City, rows, progress=say).rows


def upsert(count: int) -> object:
    rows = (
        {"name": f"n{number}", "country_id": "PE", "population": 2}
        for number in range(count // 2, count * 3 // 2)
    )
    return bulk_upsert(City, rows, conflict_columns=["name", "country"], progress=say).rows


def update(count: int) -> object:
    keys = City.objects.order_by("pk").values_list("pk", flat=True)[:count]
    pairs = ((pk, {"population": 3}) for pk in list(keys))
    return bulk_update(City, pairs, progress=say).rows


def delete(_count: int) -> object:
    return bulk_delete(City, City.objects.all(), progress=say).rows


def add(count: int) -> object:
    """Add one to the same rows as others, in an order of one's own, in several chunks."""
    skus = list(range(count))
    random.shuffle(skus)
    result = bulk_upsert(
        Stock,
        ({"shop": "A", "sku": sku, "amount": 1} for sku in skus),
        conflict_columns=["shop", "sku"],
        update_columns={"amount": F("amount") + Excluded("amount")},
        chunk_rows=count // 5,
    )
    return f"{result.created} {result.updated}"


def prepare(_count: int) -> object:
    """Make the tables in an empty database."""
    with connection.schema_editor() as editor:
        editor.create_model(Country)
        editor.create_model(City)
    return Country.objects.create(code="PE").pk


ACTIONS: dict[str, Any] = {
    "prepare": prepare,
    "insert": insert,
    "upsert": upsert,
    "update": update,
    "delete": delete,
    "add": add,
}


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us to ignore it
    connection.settings_dict["NAME"] = sys.argv[2]
    action, count = ACTIONS[sys.argv[3]], int(sys.argv[4])
    say("ready")
    while sys.stdin.readline():
        try:
            say(f"done {action(count)}")
        except KeyboardInterrupt:
            say("failed KeyboardInterrupt")
        except Exception as error:  # noqa: BLE001  # told to the test
            say(f"failed {type(error).__name__}")


if __name__ == "__main__":
    main()

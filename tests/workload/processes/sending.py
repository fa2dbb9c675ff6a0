"""Sends statements until it is killed or has sent them all, and notes before and after each how many there were.

Arguments: the URL of the database, the file of figures, statements, threads.
"""

from __future__ import annotations

import mmap
import struct
import sys
import threading
from pathlib import Path

import django
from django.conf import settings

NUMBERS = struct.Struct("<QQ")
"""Statements that were begun, and those that were answered, of each thread."""

SQL = "SELECT 1 AS sent{} FROM perfect WHERE id = %s"


def main(url: str, figures: str, statements: int, threads: int) -> None:
    from perfkit.postgres import database_settings

    settings.configure(
        PERFKIT={"WORKLOAD_ENABLED": True, "WORKLOAD_INTERVAL": 0.1, "METRICS_ENABLED": False},
        INSTALLED_APPS=["perfkit"],
        DATABASES={"default": database_settings(url, pool_size=0)},
        USE_TZ=True,
    )
    django.setup()
    from django.db import connection, connections

    with Path(figures).open("r+b") as file:
        written = mmap.mmap(file.fileno(), 0)

    def send(thread: int) -> None:
        with connection.cursor() as cursor:
            for number in range(statements):
                written[thread * 16 : thread * 16 + 16] = NUMBERS.pack(number + 1, number)
                cursor.execute(SQL.format("ab"[number % 2]), [number])
                written[thread * 16 : thread * 16 + 16] = NUMBERS.pack(number + 1, number + 1)
        connections.close_all()

    running = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))

"""What is counted in a soak, and the points at which a process may be made to end."""

from __future__ import annotations

from typing import Final

REASONS: Final = (
    "write in flight",
    "written in this transaction",
    "transaction has written",
    "snapshot",
    "select_for_update",
    "for writing",
    "outage",
    "outbox",
    "outbox unreadable",
    "for another reason",
)
"""Why reads go past the cache; what does not stand here is counted as another reason."""

LOOKS: Final = (
    "get",
    "get by code",
    "get of a dial",
    "joined get",
    "whole table",
    "list by station",
    "declared read",
    "list by zone",
    "first three",
    "joined list",
    "many to many",
    "prefetched",
    "values",
    "in bulk",
    "exists",
    "count",
    "aggregate",
)

SWEEPS: Final = ("first sweep", "second sweep")

PLACES: Final = (
    "alone",
    "in a scope",
    "in a transaction",
    "in a snapshot",
    "after own write",
    "beside own writes",
    *SWEEPS,
)
"""Where a read stands."""

WRITES: Final = (
    "save",
    "save of some columns",
    "save of a dial",
    "update by key",
    "update of twins",
    "update by filter",
    "update in raw SQL",
    "transaction in raw SQL",
    "bulk update",
    "upsert",
    "update or create",
    "atomic block",
    "savepoint rolled back",
    "rolled back",
    "create",
    "bulk create",
    "bulk insert",
    "insert in raw SQL",
    "delete",
    "delete by filter",
    "delete in raw SQL",
    "add to the panel",
    "remove from the panel",
    "set the panel",
    "clear the panel",
    "row under a lock",
)

POINTS: Final = {
    "reader": ("after read", "before fill"),
    "writer": ("after mark", "after COMMIT", "before done"),
}
"""Where a process may be made to end, or to stand still, at an exact point."""

DOOMS: Final = {
    fate: number
    for number, fate in enumerate(
        [(deed, point) for deed in ("die", "freeze") for points in POINTS.values() for point in points],
        start=1,
    )
}
"""What a process is to do and at which point, by their numbers on the board."""

SEVERED: Final = 100
"""The number on the board of a process whose connections to the database are cut."""

COUNTERS: Final = (
    "hit",
    "miss",
    "outbox",
    "commits",
    "rests",
    *(f"bypass {reason}" for reason in REASONS),
    *(f"{told} {name}" for name in (*LOOKS, *PLACES) for told in ("look", "hit")),
    *(f"write {name}" for name in WRITES),
)

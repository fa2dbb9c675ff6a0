"""The SQL by which the workload is kept, for PostgreSQL and SQLite alike; it is put together from constants."""

from __future__ import annotations

from typing import Final

from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape

SHAPES: Final = WorkloadShape._meta.db_table
COUNTS: Final = WorkloadCount._meta.db_table
SAMPLES: Final = WorkloadSample._meta.db_table

# Between the two halves of each stand the rows.
ADD_SHAPES: Final = (
    f"INSERT INTO {SHAPES} (digest, fingerprint, first_at, last_at) VALUES ",
    (
        " ON CONFLICT (digest) DO UPDATE SET last_at = excluded.last_at "
        f"WHERE {SHAPES}.last_at < excluded.last_at"
    ),
)
ADD_COUNTS: Final = (
    f"INSERT INTO {COUNTS} (shape_digest, hour, calls, microseconds) VALUES ",
    (
        f" ON CONFLICT (shape_digest, hour) DO UPDATE SET calls = {COUNTS}.calls + excluded.calls, "
        f"microseconds = {COUNTS}.microseconds + excluded.microseconds"
    ),
)
ADD_SAMPLES: Final = (
    f"INSERT INTO {SAMPLES} (shape_digest, slot, statement, caller, taken_at, takings) VALUES ",
    (
        " ON CONFLICT (shape_digest, slot) DO UPDATE SET statement = excluded.statement, "
        "caller = excluded.caller, taken_at = excluded.taken_at, takings = excluded.takings "
        f"+ CASE WHEN {SAMPLES}.statement = excluded.statement THEN {SAMPLES}.takings ELSE 0 END "
        f"WHERE {SAMPLES}.taken_at < excluded.taken_at"
    ),
)

COUNT_SHAPES: Final = f"SELECT COUNT(*) FROM {SHAPES}"

DROP_OLD_COUNTS: Final = f"DELETE FROM {COUNTS} WHERE hour <= %s"
DROP_SHAPES_WITHOUT_COUNTS: Final = (
    f"DELETE FROM {SHAPES} WHERE digest NOT IN (SELECT shape_digest FROM {COUNTS})"
)
DROP_CHEAPEST_SHAPES: Final = (
    f"DELETE FROM {SHAPES} WHERE digest IN (SELECT s.digest FROM {SHAPES} s "
    f"JOIN {COUNTS} c ON c.shape_digest = s.digest GROUP BY s.digest, s.last_at "
    "ORDER BY SUM(c.microseconds), s.last_at LIMIT %s)"
)
DROP_COUNTS_WITHOUT_SHAPE: Final = (
    f"DELETE FROM {COUNTS} WHERE shape_digest NOT IN (SELECT digest FROM {SHAPES})"
)
DROP_OLDEST_HOURS: Final = (
    f"DELETE FROM {COUNTS} WHERE hour IN (SELECT hour FROM (SELECT hour, SUM(COUNT(*)) OVER "
    f"(ORDER BY hour DESC) AS so_far FROM {COUNTS} GROUP BY hour) AS hours "
    "WHERE so_far > %s AND hour < %s)"
)
DROP_SAMPLES_WITHOUT_SHAPE: Final = (
    f"DELETE FROM {SAMPLES} WHERE shape_digest NOT IN (SELECT digest FROM {SHAPES})"
)
DROP_HIGH_SLOTS: Final = f"DELETE FROM {SAMPLES} WHERE slot >= %s"
DROP_VALUES: Final = f"DELETE FROM {SAMPLES} WHERE statement <> ''"
DROP_OLDEST_SAMPLES: Final = (
    f"DELETE FROM {SAMPLES} WHERE id IN (SELECT id FROM (SELECT id, SUM(LENGTH(statement)) OVER "
    f"(ORDER BY taken_at DESC, id) AS so_far FROM {SAMPLES}) AS newest WHERE so_far > %s)"
)

"""Enough flights, made by the database itself, that it plans as it does for the real ones."""

from __future__ import annotations

from django.db import connection

from tests.flights.factories import make_reference_rows

ROWS = 20_000

FLIGHTS_SQL = """
INSERT INTO flights_flight
    (year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, airline_id,
     number, plane_id, tailnum, origin_id, destination_id, dest_code, air_time, distance, hour, minute, time_hour)
SELECT extract(year FROM local), extract(month FROM local), extract(day FROM local),
       CASE WHEN n %% 40 = 0 THEN NULL ELSE 900 END, 900, CASE WHEN n %% 40 = 0 THEN NULL ELSE n %% 97 - 9 END,
       1100, 1100, n %% 60, CASE WHEN n %% 9 = 0 THEN 'AA' ELSE 'UA' END, n %% 3800,
       CASE WHEN n %% 6 > 0 THEN 'N' || 100 + n %% 900 END, 'N' || 100 + n %% 900,
       CASE WHEN n %% 2 = 0 THEN 'EWR' ELSE 'JFK' END, 'IAH', CASE WHEN n %% 50 = 0 THEN 'LAX' ELSE 'IAH' END,
       100, 500, 9, 0, at
FROM (SELECT n, at, at AT TIME ZONE 'America/New_York' AS local
      FROM (SELECT n, timestamptz '2013-01-01 05:00Z' + (n / 3) * interval '1 hour' AS at
            FROM generate_series(1, %s) n) AS hours) AS flights
"""

PLANES_SQL = """
INSERT INTO flights_plane (tailnum, type, manufacturer, model, engines, seats, engine)
SELECT 'N' || n, 'Fixed wing', 'BOEING', '737', 2, 140, 'Turbo-fan' FROM generate_series(100, 999) n
"""


def make_many_flights(rows: int = ROWS) -> None:
    make_reference_rows()
    with connection.cursor() as cursor:
        cursor.execute(PLANES_SQL)
        cursor.execute(FLIGHTS_SQL, [rows])
        cursor.execute("ANALYZE flights_flight")


def forget_estimate() -> None:
    """Make the database know no number of flights: a rollback does not undo what an ANALYZE found."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE pg_class SET reltuples = -1 WHERE relname = 'flights_flight'")

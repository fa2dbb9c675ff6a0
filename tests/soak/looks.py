"""The ways a soak reads, each with what it shows of which registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from django.db.models import Count, QuerySet, Sum

from perfkit.caching import cached_query
from tests.soak.history import ABSENT, PRESENT, TORN, Answer, Outside, Seen
from tests.soak.layout import ZONES, Layout, code_of, zone_of
from tests.testapp.soak import Dial, Gauge, Panel

Look = Callable[[Layout, int, int], Answer]
"""Of a layout, a station, and one of its gauges' keys."""


@cached_query()
def gauges_of(station: int) -> QuerySet[Gauge]:
    return Gauge.objects.filter(station=station).order_by("pk")


def _version(gauge: Gauge) -> Seen:
    return gauge.version if gauge.zone == zone_of(gauge.version) else TORN


def _get(layout: Layout, station: int, key: int) -> Answer:
    try:
        seen = _version(Gauge.objects.get(pk=key))
    except Gauge.DoesNotExist:
        seen = ABSENT
    return Answer({layout.gauge(key): seen})


def _get_by_code(layout: Layout, station: int, key: int) -> Answer:
    try:
        gauge = Gauge.objects.get(code=code_of(key))
    except Gauge.DoesNotExist:
        return Answer({layout.gauge(key): ABSENT})
    return Answer({layout.gauge(key): _version(gauge) if gauge.pk == key else TORN})


def _get_dial(layout: Layout, station: int, key: int) -> Answer:
    try:
        seen: Seen = Dial.objects.get(pk=key).version
    except Dial.DoesNotExist:
        seen = ABSENT
    return Answer({layout.dial(key): seen})


def _get_joined(layout: Layout, station: int, key: int) -> Answer:
    try:
        dial = Dial.objects.select_related("gauge").get(pk=key)
    except Dial.DoesNotExist:
        return Answer({layout.dial(key): ABSENT})
    return Answer({layout.dial(key): dial.version, layout.gauge(key): _version(dial.gauge)})


def _filtered(layout: Layout, station: int, key: int) -> Answer:
    return _of_station(layout, station, Gauge.objects.filter(station=station))


def _declared(layout: Layout, station: int, key: int) -> Answer:
    return _of_station(layout, station, gauges_of(station))


def _of_zone(layout: Layout, station: int, key: int) -> Answer:
    zone = key % ZONES
    found = {gauge.pk: gauge for gauge in Gauge.objects.filter(zone=zone)}
    rows = {layout.gauge(pk): _version(found[pk]) if pk in found else Outside(zone) for pk in layout.gauges}
    return Answer(rows)


def _all(layout: Layout, station: int, key: int) -> Answer:
    found = {gauge.pk: gauge for gauge in Gauge.objects.all()}
    return Answer({layout.gauge(pk): _version(found[pk]) if pk in found else ABSENT for pk in layout.gauges})


def _newest(layout: Layout, station: int, key: int) -> Answer:
    newest = Gauge.objects.filter(station=station).order_by("-version", "pk")[:3]
    return Answer({layout.gauge(gauge.pk): _version(gauge) for gauge in newest})


def _joined(layout: Layout, station: int, key: int) -> Answer:
    dials = {dial.pk: dial for dial in Dial.objects.filter(gauge__station=station).select_related("gauge")}
    rows: dict[int, Seen] = {}
    for pk in layout.gauges_of(station):
        rows[layout.dial(pk)] = dials[pk].version if pk in dials else ABSENT
        if pk in dials:
            rows[layout.gauge(pk)] = _version(dials[pk].gauge)
    return Answer(rows)


def _many_to_many(layout: Layout, station: int, key: int) -> Answer:
    return _of_panel(layout, station, Panel(pk=layout.panel(station)).gauges.all())


def _prefetched(layout: Layout, station: int, key: int) -> Answer:
    [panel] = Panel.objects.filter(pk=layout.panel(station)).prefetch_related("gauges")
    return _of_panel(layout, station, panel.gauges.all())


def _values(layout: Layout, station: int, key: int) -> Answer:
    versions = dict(Gauge.objects.filter(station=station).values_list("pk", "version"))
    return Answer({layout.gauge(pk): versions.get(pk, ABSENT) for pk in layout.gauges_of(station)})


def _in_bulk(layout: Layout, station: int, key: int) -> Answer:
    return _of_station(layout, station, Gauge.objects.in_bulk(list(layout.gauges_of(station))).values())


def _exists(layout: Layout, station: int, key: int) -> Answer:
    is_there = Gauge.objects.filter(pk=key, station=station).exists()
    return Answer({layout.gauge(key): PRESENT if is_there else ABSENT})


def _count(layout: Layout, station: int, key: int) -> Answer:
    counted = [layout.gauge(pk) for pk in layout.gauges_of(station)]
    return Answer(counted=counted, number=Gauge.objects.filter(station=station).count())


def _aggregate(layout: Layout, station: int, key: int) -> Answer:
    counted = [layout.dial(pk) for pk in layout.gauges_of(station)]
    told = Dial.objects.filter(gauge__station=station).aggregate(number=Count("pk"), total=Sum("version"))
    return Answer(counted=counted, number=told["number"], total=told["total"] or 0)


def _of_station(layout: Layout, station: int, gauges: Iterable[Gauge]) -> Answer:
    versions = {gauge.pk: _version(gauge) for gauge in gauges}
    return Answer({layout.gauge(pk): versions.get(pk, ABSENT) for pk in layout.gauges_of(station)})


def _of_panel(layout: Layout, station: int, gauges: Iterable[Gauge]) -> Answer:
    versions = {gauge.pk: _version(gauge) for gauge in gauges}
    rows: dict[int, Seen] = {}
    for pk in layout.gauges_of(station):
        rows[layout.member(pk)] = PRESENT if pk in versions else ABSENT
        if pk in versions:
            rows[layout.gauge(pk)] = versions[pk]
    return Answer(rows)


LOOKS: Final[dict[str, Look]] = {
    "get": _get,
    "get by code": _get_by_code,
    "get of a dial": _get_dial,
    "joined get": _get_joined,
    "whole table": _all,
    "list by station": _filtered,
    "declared read": _declared,
    "list by zone": _of_zone,
    "first three": _newest,
    "joined list": _joined,
    "many to many": _many_to_many,
    "prefetched": _prefetched,
    "values": _values,
    "in bulk": _in_bulk,
    "exists": _exists,
    "count": _count,
    "aggregate": _aggregate,
}

OF_ONE_ROW: Final = frozenset({"get", "get by code", "get of a dial", "joined get", "exists"})
"""What the others show is the same for all gauges of a station."""

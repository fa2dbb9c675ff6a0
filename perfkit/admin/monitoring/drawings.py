"""Which charts there are, of points and of the parts of a range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from django.utils import timezone
from django.utils.translation import gettext as _

from perfkit.admin.monitoring.charts import Chart, Line, chart_of
from perfkit.admin.monitoring.figures import decimal, duration, percent, places_of
from perfkit.monitoring.figures import CacheFigures, Point, Timing
from perfkit.monitoring.histories import Stretch

LEAST_SECONDS: Final = 1.0
"""Of a stretch of time that has only just begun."""

SHOWN_SECONDS: Final = 20.0
"""What has been going on for less is left out of a chart: a rate of so little time leads astray."""

Values = list[float | None]


def of_points(points: Sequence[Point]) -> list[Chart]:
    """Return the charts of the overview; none where nothing was measured."""
    points = [point for point in points if point.seconds >= SHOWN_SECONDS]
    if not any(point.requests.timing.count or point.queries.timing.count for point in points):
        return []
    moments = [point.moment for point in points]
    seconds = [max(LEAST_SECONDS, point.seconds) for point in points]
    each = list(zip(points, seconds, strict=True))
    coarse = _("Quantiles over time are within 8 %.")
    charts = [
        _chart(
            "requests-over-time",
            _("Requests a second"),
            moments,
            [
                Line(_("All"), [point.requests.timing.count / long for point, long in each]),
                Line(_("Failed"), [point.requests.failed / long for point, long in each]),
            ],
            _rate,
        ),
        _chart(
            "latency-over-time",
            _("Duration of requests"),
            moments,
            _quantiles([point.requests.timing for point in points]),
            duration,
            note=coarse,
        ),
        _chart(
            "queries-over-time",
            _("Queries a second"),
            moments,
            [
                Line(_("All"), [point.queries.timing.count / long for point, long in each]),
                Line(_("Slow"), [point.queries.slow / long for point, long in each]),
            ],
            _rate,
        ),
        _chart(
            "database-over-time",
            _("Time in the database, per second"),
            moments,
            [
                Line(
                    _("All queries together"),
                    [point.queries.timing.total_seconds / long for point, long in each],
                )
            ],
            duration,
            note=_("A second per second is one connection that is busy all the time."),
        ),
        _hit_rates(moments, [point.cache for point in points]),
    ]
    return [chart for chart in charts if chart is not None]


def of_view(found: Sequence[Stretch]) -> list[Chart]:
    """Return the charts of one view."""
    moments = [stretch.moment for stretch in found]
    figures = [stretch.pages.all_requests() for stretch in found]
    charts = [
        _chart(
            "requests-over-time",
            _("Requests a second"),
            moments,
            [
                Line(_("All"), _rates(found, [each.timing.count for each in figures])),
                Line(_("Failed"), _rates(found, [each.failed for each in figures])),
            ],
            _rate,
        ),
        _timings("latency-over-time", _("Duration of requests"), moments, [each.timing for each in figures]),
    ]
    return [chart for chart in charts if chart is not None]


def of_statement(found: Sequence[Stretch]) -> list[Chart]:
    """Return the charts of one statement."""
    moments = [stretch.moment for stretch in found]
    timings = [stretch.pages.timing(stretch.pages.of("statement").values()) for stretch in found]
    return _runs(found, moments, timings, _("Calls a second"), _("Duration of calls"))


def of_task(found: Sequence[Stretch]) -> list[Chart]:
    """Return the charts of one task."""
    moments = [stretch.moment for stretch in found]
    timings = [stretch.pages.timing(stretch.pages.of("task").values()) for stretch in found]
    return _runs(found, moments, timings, _("Runs a second"), _("Duration of runs"))


def of_reads(found: Sequence[Stretch]) -> list[Chart]:
    """Return the chart of one model's or function's cached reads."""
    chart = _hit_rates(
        [stretch.moment for stretch in found], [stretch.pages.all_reads() for stretch in found]
    )
    return [] if chart is None else [chart]


def clock(moment: float) -> str:
    """Return a time of the day, in the time zone that is active."""
    return timezone.localtime(datetime.fromtimestamp(moment, tz=UTC)).strftime("%H:%M")


def _runs(
    found: Sequence[Stretch], moments: list[float], timings: Sequence[Timing], often: str, long: str
) -> list[Chart]:
    counts = Line(_("All"), _rates(found, [timing.count for timing in timings]))
    charts = [
        _chart("calls-over-time", often, moments, [counts], _rate),
        _timings("duration-over-time", long, moments, timings),
    ]
    return [chart for chart in charts if chart is not None]


def _timings(name: str, title: str, moments: list[float], timings: Sequence[Timing]) -> Chart | None:
    return _chart(name, title, moments, _quantiles(timings), duration)


def _quantiles(timings: Sequence[Timing]) -> list[Line]:
    return [
        Line("P50", [timing.p50_seconds for timing in timings]),
        Line("P95", [timing.p95_seconds for timing in timings]),
    ]


def _hit_rates(moments: list[float], figures: Sequence[CacheFigures]) -> Chart | None:
    line = Line(_("Hits among hits and misses"), [each.hit_rate for each in figures])
    return _chart("hits-over-time", _("Hit rate of the cache"), moments, [line], percent, most=1.0)


def _rates(found: Sequence[Stretch], counts: Sequence[int]) -> Values:
    return [count / max(LEAST_SECONDS, stretch.seconds) for stretch, count in zip(found, counts, strict=True)]


def _rate(value: float | None) -> str:
    return decimal(value, 0 if value is None else places_of(value))


def _chart(
    name: str,
    title: str,
    moments: list[float],
    lines: list[Line],
    text_of: Callable[[float | None], str],
    *,
    most: float | None = None,
    note: str = "",
) -> Chart | None:
    return chart_of(name, title, moments, lines, text_of=text_of, time_of=clock, most=most, note=note)

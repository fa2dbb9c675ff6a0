"""Workloads and slow queries as text and as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from perfkit.management.cache_text import printable
from perfkit.watching import normalised
from perfkit.workload import QueryShape, SlowQuery, Workload
from perfkit.workload.replay import Replayed, ReplayReport

LONGEST_TEXT: Final = 300
"""Characters of a statement that are shown."""

SPAN_UNITS: Final = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def workload_lines(workload: Workload, *, most: int, shows_samples: bool = False) -> Iterator[str]:
    """Yield the shapes, a line of figures and a few lines about each, and what they come to."""
    yield summary_line(workload)
    for shape in workload.shapes[:most]:
        yield ""
        yield f"{_figures(shape)}, {_share(shape, workload)} of the time, {counted(len(shape.samples), 'example')}"
        yield from _about(shape)
        if shows_samples:
            yield from (f"  = {printable(sample)}" for sample in shape.samples)
    if len(workload.shapes) > most:
        yield f"\n… {len(workload.shapes) - most:,} more."


def counted(number: int, what: str) -> str:
    """Return how many of something, in words that fit one of them too.

    Example:
        >>> counted(1, "call"), counted(1200, "call")
        ('1 call', '1,200 calls')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def summary_line(workload: Workload) -> str:
    """Return in one line what a workload comes to."""
    span = "" if workload.seconds is None else f" in {_span(workload.seconds)}"
    return (
        f"{workload.alias}: {len(workload.shapes):,} shapes of statements, {workload.calls:,} calls{span}, "
        f"{workload.total_seconds:,.2f} s in the database."
    )


def workload_json(workload: Workload, *, most: int, shows_samples: bool = False) -> dict[str, Any]:
    """Return a workload as plain values."""
    return {
        "alias": workload.alias,
        "seconds": workload.seconds,
        "calls": workload.calls,
        "total_seconds": workload.total_seconds,
        "shapes": [_shape_json(shape, shows_samples=shows_samples) for shape in workload.shapes[:most]],
    }


def slow_lines(found: SlowQuery, *, plan: Sequence[str] | None = None, sample: str = "") -> Iterator[str]:
    """Yield what is known of a slow query, with its plan where that was asked for."""
    yield f"{_figures(found.shape)}, {found.share:.0%} of the time"
    if found.model:
        yield f"  model {found.model}"
    yield from _about(found.shape)
    if sample:
        yield f"  = {printable(sample)}"
    if plan is not None:
        yield from (f"    {line}" for line in plan)


def slow_json(found: SlowQuery, *, plan: Sequence[str] | None = None, sample: str = "") -> dict[str, Any]:
    """Return a slow query as plain values."""
    told = _shape_json(found.shape, shows_samples=False)
    told |= {"share": found.share, "model": found.model}
    if plan is not None:
        told["plan"] = list(plan)
    return told | ({"sample": sample} if sample else {})


def replay_lines(report: ReplayReport, *, most: int) -> Iterator[str]:
    """Yield what became of a workload that was run once more."""
    for each in report.replayed[:most]:
        yield _replayed_line(each)
        yield f"  {_text(each.shape)}"
    if report.skipped:
        yield f"{report.skipped:,} shapes were not run: they write, lock rows, or have no example."
    runs = sum(each.runs for each in report.replayed)
    if runs:
        yield (
            f"{runs:,} runs of {len(report.replayed):,} shapes: {_ms(report.recorded_seconds)} on average when "
            f"recorded, {_ms(report.replayed_seconds)} now."
        )
    else:
        yield "Nothing was run."


def _replayed_line(each: Replayed) -> str:
    before, after = each.shape.mean_seconds, each.mean_seconds
    if not each.runs:
        return f"{each.failures:,} runs failed: {each.problem}"
    ratio = f" ({before / after:,.1f} x)" if after else ""
    failed = f", {each.failures:,} runs failed: {each.problem}" if each.failures else ""
    return f"{_ms(before)} before, {_ms(after)} now{ratio}, {each.runs:,} runs{failed}"


def _figures(shape: QueryShape) -> str:
    return (
        f"{_ms(shape.mean_seconds)} on average, {counted(shape.calls, 'call')}, {shape.total_seconds:,.2f} s"
    )


def _about(shape: QueryShape) -> Iterator[str]:
    yield f"  {_text(shape)}"
    if shape.callers:
        yield f"  at {', '.join(map(printable, shape.callers))}"
    if shape.sources:
        yield f"  seen by {' and '.join(shape.sources)}"


def _text(shape: QueryShape) -> str:
    return printable(normalised(shape.fingerprint, most=LONGEST_TEXT))


def _shape_json(shape: QueryShape, *, shows_samples: bool) -> dict[str, Any]:
    return {
        "fingerprint": shape.fingerprint,
        "calls": shape.calls,
        "total_seconds": shape.total_seconds,
        "mean_seconds": shape.mean_seconds,
        "callers": list(shape.callers),
        "sources": list(shape.sources),
        "samples": list(shape.samples) if shows_samples else len(shape.samples),
    }


def _share(shape: QueryShape, workload: Workload) -> str:
    total = workload.total_seconds
    return f"{shape.total_seconds / total:.0%}" if total else "0%"


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"  # noqa: PLR2004  # digits


def _span(seconds: float) -> str:
    for length, unit in SPAN_UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.1f} seconds"

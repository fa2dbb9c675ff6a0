"""Lines over time: where they go in a drawing, and what they say in words. Pure.

The drawing is SVG that a template writes down: no script, and no style but that of the page's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final, NamedTuple

WIDTH: Final = 400
HEIGHT: Final = 170
LEFT: Final = 54
RIGHT: Final = 12
TOP: Final = 10
BOTTOM: Final = 24
MOST_STEPS: Final = 4
"""Lines across a chart, besides that at the bottom."""

MOST_TIMES: Final = 5
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


class Line(NamedTuple):
    """One line of a chart.

    Args:
        name: What it shows.
        values: One for each moment; None where nothing was measured, and the line has a gap.
    """

    name: str
    values: Sequence[float | None]


class Drawn(NamedTuple):
    """A line as it is drawn.

    Args:
        number: From 1; each has a look of its own.
        path: In the commands of SVG.
    """

    number: int
    name: str
    path: str


class Tick(NamedTuple):
    """A place at an axis; `at` is where its text stands."""

    at: float
    text: str
    anchor: str = "end"


class Row(NamedTuple):
    """A line of the table that says what the chart shows."""

    time: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws.

    Attributes:
        name: For addresses within the page.
        title: What it shows, with the unit.
        description: The same in words: the range, and of each line the last, least and greatest value.
        note: What to know of the figures.
        rows: All figures, oldest first.
    """

    name: str
    title: str
    description: str
    lines: tuple[Drawn, ...]
    heights: tuple[Tick, ...]
    times: tuple[Tick, ...]
    rows: tuple[Row, ...]
    note: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM

    @property
    def names(self) -> tuple[str, ...]:
        """Of its lines."""
        return tuple(line.name for line in self.lines)


def chart_of(
    name: str,
    title: str,
    moments: Sequence[float],
    lines: Sequence[Line],
    *,
    text_of: Callable[[float | None], str],
    time_of: Callable[[float], str],
    most: float | None = None,
    note: str = "",
) -> Chart | None:
    """Return a chart; None where there is nothing to draw.

    Args:
        moments: When each value was measured; growing.
        text_of: Writes a value.
        time_of: Writes a moment.
        most: The top of the chart; else what the greatest value needs.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if not moments or not known:
        return None
    steps = heights(max(known) if most is None else most)
    top = most if most is not None else steps[-1]
    columns = across(moments)
    return Chart(
        name=name,
        title=title,
        description=description(moments, lines, text_of=text_of, time_of=time_of),
        lines=tuple(
            Drawn(number, line.name, path_of(columns, line.values, top))
            for number, line in enumerate(lines, 1)
        ),
        heights=tuple(Tick(_up(step, top), text_of(step)) for step in steps),
        times=tuple(times(moments, columns, time_of)),
        rows=tuple(
            Row(time_of(moment), tuple(text_of(line.values[place]) for line in lines))
            for place, moment in enumerate(moments)
        ),
        note=note,
    )


def heights(greatest: float) -> list[float]:
    """Return round numbers from 0 to one that is not below the greatest value.

    Example:
        >>> heights(7), heights(0.3), heights(0)
        ([0.0, 2.0, 4.0, 6.0, 8.0], [0.0, 0.1, 0.2, 0.3], [0.0, 1.0])
    """
    if greatest <= 0:
        return [0.0, 1.0]
    scale = 10.0 ** floor(log10(greatest / MOST_STEPS))
    step = next(each * scale for each in STEPS if greatest / (each * scale) <= MOST_STEPS + 1e-9)
    return [round(step * number, 12) for number in range(ceil(greatest / step - 1e-9) + 1)]


def across(moments: Sequence[float]) -> list[float]:
    """Return where moments are, from the left to the right."""
    begun, span = moments[0], (moments[-1] - moments[0]) or 1.0
    return [round(LEFT + (moment - begun) / span * (WIDTH - LEFT - RIGHT), 1) for moment in moments]


def path_of(columns: Sequence[float], values: Sequence[float | None], top: float) -> str:
    """Return a line in SVG's commands, broken where a value is missing.

    A value between two that are missing is a dot: a line of no length, which has round ends.

    Example:
        >>> path_of([0, 10, 20, 30], [0, 5, None, 10], 10)
        'M0 146.0L10 78.0M30 10.0h0'
    """
    commands: list[str] = []
    is_drawing = False
    for place, (column, value) in enumerate(zip(columns, values, strict=True)):
        if value is None:
            is_drawing = False
            continue
        goes_on = place + 1 < len(values) and values[place + 1] is not None
        commands.append(f"{'L' if is_drawing else 'M'}{column} {_up(value, top)}")
        if not is_drawing and not goes_on:
            commands.append("h0")
        is_drawing = True
    return "".join(commands)


def times(
    moments: Sequence[float], columns: Sequence[float], time_of: Callable[[float], str]
) -> Iterator[Tick]:
    """Yield places at the axis below, evenly; the first and the last text stay within the drawing."""
    number = min(MOST_TIMES, len(moments))
    places = sorted({round(each * (len(moments) - 1) / max(1, number - 1)) for each in range(number)})
    for place in places:
        anchor = "start" if place == 0 else "end" if place == len(moments) - 1 else "middle"
        yield Tick(columns[place], time_of(moments[place]), anchor)


def description(
    moments: Sequence[float],
    lines: Sequence[Line],
    *,
    text_of: Callable[[float | None], str],
    time_of: Callable[[float], str],
) -> str:
    """Return what a chart shows, in words."""
    said = [f"From {time_of(moments[0])} to {time_of(moments[-1])}."]
    for line in lines:
        known = [
            (value, moment) for value, moment in zip(line.values, moments, strict=True) if value is not None
        ]
        if not known:
            said.append(f"{line.name}: nothing was measured.")
            continue
        (least, _), (greatest, when) = min(known), max(known, key=lambda pair: pair[0])
        said.append(
            f"{line.name}: {text_of(known[-1][0])} at the end, {text_of(least)} at the least, "
            f"{text_of(greatest)} at the most, at {time_of(when)}."
        )
    return " ".join(said)


def _up(value: float, top: float) -> float:
    """Return how far below the upper edge a value is drawn."""
    share = min(1.0, max(0.0, value / top)) if top else 0.0
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

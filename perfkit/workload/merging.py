"""Brings together what the processes have captured and what PostgreSQL has counted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from perfkit.postgres.statement_statistics import CountedStatement
from perfkit.watching import fingerprint
from perfkit.workload.shapes import STATISTICS, QueryShape
from perfkit.workload.texts import common_form, is_counted

Naming = Callable[[str], str | None]
"""Names statements so that those which differ only in their values have one name; None where it cannot."""


def merged(
    captured: Sequence[QueryShape], counted: Iterable[CountedStatement], *, naming: Naming | None = None
) -> list[QueryShape]:
    """Return all shapes, each once, the most expensive first.

    The figures are those of whoever has seen more calls of it: the server sees other programs too, but forgets
    what is rare, and both begin at moments of their own.

    Args:
        naming: By which a sample is looked for where the text alone finds nothing.
    """
    found = _Finder(captured, naming)
    sums: dict[str, tuple[int, float]] = {}
    for each in counted:
        text = fingerprint(each.text)
        if is_counted(text):
            form = found.form_of(text, each.text)
            calls, seconds = sums.get(form, (0, 0.0))
            sums[form] = (calls + each.calls, seconds + each.total_seconds)
    shapes: list[QueryShape] = []
    for form, of_form in found.forms.items():
        shapes += _with_figures(of_form, *sums.pop(form)) if form in sums else of_form
    shapes += [QueryShape(form, *figures, sources=(STATISTICS,)) for form, figures in sums.items()]
    return sorted(shapes, key=lambda shape: (-shape.total_seconds, shape.fingerprint))


def _with_figures(shapes: Sequence[QueryShape], calls: int, seconds: float) -> list[QueryShape]:
    """Return the captured shapes of one form; what the server has seen beyond them is added to the first.

    They are several where a list has one value in one of them, and more in the other.
    """
    first, *others = (replace(shape, sources=(*shape.sources, STATISTICS)) for shape in shapes)
    if calls >= sum(shape.calls for shape in shapes):
        others_seconds = sum(shape.total_seconds for shape in others)
        first = replace(
            first,
            calls=calls - sum(shape.calls for shape in others),
            total_seconds=max(0.0, seconds - others_seconds),
        )
    return [first, *others]


class _Finder:
    """Finds the form of captured shapes that a statement of the server's has, or a new one."""

    def __init__(self, captured: Sequence[QueryShape], naming: Naming | None) -> None:
        self.forms: dict[str, list[QueryShape]] = {}
        self._names: dict[str, str] = {}
        self._naming = naming
        for shape in captured:
            form = common_form(shape.fingerprint)
            self.forms.setdefault(form, []).append(shape)
            name = naming(shape.samples[-1]) if naming is not None and shape.samples else None
            if name is not None:
                self._names.setdefault(name, form)

    def form_of(self, text: str, whole: str) -> str:
        """Return the form.

        Args:
            text: The fingerprint.
            whole: What the server keeps.
        """
        form = common_form(text)
        if form in self.forms or self._naming is None or not self._names:
            return form
        return self._names.get(self._naming(whole) or "", form)

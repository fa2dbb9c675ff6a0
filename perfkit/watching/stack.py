"""The path of calls that led to a statement, as a number: the same for each turn of a loop."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from types import CodeType, FrameType
from typing import Final, NamedTuple

_HAS_SELF, _IS_MARK, _IS_END, _IS_BATCH = range(4)


MOST_SPOTS: Final = 100_000


class Path(NamedTuple):
    """How a statement came to be sent.

    Args:
        number: The same where the same lines led to it, whatever values they had.
        marked: The innermost frame whose code was asked for.
        is_batch: It was sent below code that works for many rows at once.
    """

    number: int
    marked: FrameType | None
    is_batch: bool = False


_spots: Final[dict[int, int]] = {}
"""Numbers of expressions, by the `id` of their code plus the instruction in it: no two codes overlap in memory."""

_codes: Final[dict[int, CodeType]] = {}
"""The code whose `id` is known, kept so that no other gets it. A code's own hash reads all of its instructions."""


class Landmarks:
    """Code that a walk up the stack looks for; it can be added to at any time.

    Args:
        marks: What is looked for.
        ends: Where the walk ends; what called it does not matter.
        batches: What works for many rows at once.
        objects: Methods that one line calls for several objects, each of which makes a path of its own:
            nodes of a template, fields of a form.
    """

    def __init__(
        self,
        *,
        marks: Iterable[CodeType] = (),
        ends: Iterable[CodeType] = (),
        batches: Iterable[CodeType] = (),
        objects: Iterable[CodeType] = (),
    ) -> None:
        self.meanings: dict[int, int] = {}
        self._codes: list[CodeType] = []  # kept, so that no other gets their ids
        self._add(objects, _HAS_SELF)
        self._add(batches, _IS_BATCH)
        self.add(*marks)
        self._add(ends, _IS_END)

    def add(self, *marks: CodeType) -> None:
        """Look for these, too."""
        self._add(marks, _IS_MARK)

    def add_end(self, code: CodeType) -> None:
        """End a walk here, too."""
        self._add((code,), _IS_END)

    def _add(self, codes: Iterable[CodeType], meaning: int) -> None:
        for code in codes:
            self._codes.append(code)
            self.meanings[id(code)] = meaning


def path_here(*, depth: int, landmarks: Landmarks) -> Path:
    """Return the path to the caller that stands `depth` frames above.

    It is made of the expression that each frame evaluates, so that one function called from two places,
    or twice on one line, makes two paths.
    A function that calls itself makes one, however deep.

    Args:
        depth: 1 is the caller of this function.
        landmarks: What is looked for on the way.
    """
    parts: list[int] = []
    append, known, meanings = parts.append, _spots.get, landmarks.meanings
    marked = None
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001  # inspect.stack() reads source files
    while frame is not None:
        code = id(frame.f_code)
        instruction = code + frame.f_lasti
        append(known(instruction) or _spot(frame.f_code, frame.f_lasti))
        if code in meanings:
            meaning = meanings[code]
            if meaning == _IS_END:
                break
            if meaning == _IS_BATCH:
                return Path(0, None, is_batch=True)
            if meaning == _HAS_SELF:
                append(id(frame.f_locals["self"]))
            elif marked is None:
                marked = frame
        frame = frame.f_back
    return Path(hash(tuple(dict.fromkeys(parts))), marked)


def _spot(code: CodeType, instruction: int) -> int:
    """Return the number of the expression that an instruction belongs to.

    The instruction itself will not do: the interpreter replaces it by a quicker one next to it.
    """
    if len(_spots) >= MOST_SPOTS:
        _spots.clear()
        _codes.clear()
    _codes[id(code)] = code
    position = next(islice(code.co_positions(), instruction // 2, None), None)
    spot = _spots[id(code) + instruction] = hash((id(code), position))
    return spot

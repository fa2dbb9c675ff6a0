"""What a warmer wants, in batches that can be filled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from django.db.models import QuerySet

from perfkit.caching.functions.cached import BoundFunction, CachedFunction
from perfkit.caching.query_functions import CachedQuery
from perfkit.caching.queryset import as_cached
from perfkit.caching.warming.answer_batches import BATCH_ANSWERS, AnswerBatch, WantedAnswer, wanted_answer
from perfkit.caching.warming.batches import Batch
from perfkit.caching.warming.call_batches import BATCH_CALLS, CallBatch, WantedCall, wanted_call
from perfkit.caching.warming.row_batches import row_batches, row_count
from perfkit.caching.warming.warmers import Answer
from perfkit.errors import UnwarmableError

T = TypeVar("T")

SINGLE = (QuerySet, Answer, partial, CachedFunction, BoundFunction, CachedQuery)
"""What a warmer may return that is not a number of things, though some of it can be iterated over."""


def batches(returned: Any) -> Iterator[Batch]:
    """Yield what a warmer wants in batches; only some of it is in memory at a time.

    Args:
        returned: By the warmer.

    Raises:
        UnwarmableError: It cannot be warmed; raised where it is met.
        UnsupportedModelError: Likewise, of rows.
    """
    answers: list[WantedAnswer] = []
    calls: list[WantedCall] = []
    for each in items(returned):
        if isinstance(each, QuerySet):
            yield from row_batches(each)
            continue
        wanted = _single(each)
        if isinstance(wanted, WantedAnswer):
            yield from _full(answers, wanted, BATCH_ANSWERS, AnswerBatch)
        else:
            yield from _full(calls, wanted, BATCH_CALLS, CallBatch)
    if answers:
        yield AnswerBatch(answers)
    if calls:
        yield CallBatch(calls)


def count(returned: Any) -> int:
    """Return how many entries a warmer wants.

    Raises:
        As `batches`.

    Queries: one for each queryset of rows, and those of the warmer itself.
    """
    total = 0
    for each in items(returned):
        if isinstance(each, QuerySet):
            total += row_count(each)
        else:
            _single(each)
            total += 1
    return total


def items(returned: Any) -> Iterable[Any]:
    """Return what a warmer has returned one by one.

    Raises:
        UnwarmableError: It is neither something to warm nor a number of such things.
    """
    if isinstance(returned, SINGLE):
        return (returned,)
    if isinstance(returned, Iterable) and not isinstance(returned, str | bytes):
        return returned
    raise UnwarmableError(_described(returned))


def _full(kept: list[T], wanted: T, most: int, make: Callable[[Sequence[T]], Batch]) -> Iterator[Batch]:
    """Keep what is wanted; yield a batch where there is enough for one."""
    kept.append(wanted)
    if len(kept) >= most:
        batch = make(tuple(kept))
        kept.clear()
        yield batch


def _single(each: Any) -> WantedAnswer | WantedCall:
    if isinstance(each, Answer):
        return wanted_answer(as_cached(each.queryset, ttl=None))
    function, args, kwargs = (
        (each.func, each.args, each.keywords) if isinstance(each, partial) else (each, (), {})
    )
    if isinstance(function, BoundFunction):
        args = (function.__self__, *args)
        function = function._cached  # noqa: SLF001  # of this room
    if isinstance(function, CachedFunction):
        return wanted_call(function, args, kwargs)
    if isinstance(function, CachedQuery):
        return wanted_answer(function.queryset(*args, **kwargs))
    raise UnwarmableError(_described(each))


def _described(each: Any) -> str:
    if isinstance(each, partial):
        name = getattr(each.func, "__qualname__", type(each.func).__qualname__)
        return f"A call of {name}, which is not cached,"
    return f"Something of type {type(each).__module__}.{type(each).__qualname__}"

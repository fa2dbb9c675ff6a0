"""What a project says it wants to have measured, in modules `perfkit_benchmarks` of its apps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.module_loading import autodiscover_modules

from perfkit.errors import BenchmarkError

MODULE: Final = "perfkit_benchmarks"


@dataclass(frozen=True, slots=True)
class Compared:
    """Two ways of a project's own to do the same."""

    name: str
    before: Callable[[], Any]
    after: Callable[[], Any]


_compared: Final[dict[str, Compared]] = {}
_asked: Final[dict[str, None]] = {}


def compare(name: str, *, before: Callable[[], Any], after: Callable[[], Any]) -> None:
    """Have two ways to do the same measured by `perfkit_benchmark --database`, in turns.

    Each is called many times; neither may write, and both return the same, of which a queryset is read.

    Args:
        name: What the table calls the work; unique in the project.
        before: Without perfkit.
        after: With it.

    Raises:
        ValueError: Another pair has this name.

    Example:
        >>> compare(  # doctest: +SKIP
        ...     "the front page",
        ...     before=lambda: Product.plain.filter(is_shown=True)[:20],
        ...     after=lambda: Product.objects.filter(is_shown=True)[:20],
        ... )
    """
    known = _compared.get(name)
    if known is not None and known.before.__module__ != before.__module__:
        raise ValueError(
            f"There are two pairs {name!r}: in {known.before.__module__} and in {before.__module__}."
        )
    _compared[name] = Compared(name, before, after)


def ask(*paths: str) -> None:
    """Have addresses measured by `perfkit_benchmark --api`, and asked for by `--concurrent`.

    Args:
        paths: From the site's root on, such as `"/products/?page=2"`.

    Raises:
        BenchmarkError: One does not begin with a slash.
    """
    for path in paths:
        if not path.startswith("/"):
            raise BenchmarkError(f"{path!r} is no address of this site: it must begin with a slash.")
        _asked[path] = None


def compared() -> list[Compared]:
    """Return all pairs that the project's apps declare."""
    autodiscover_modules(MODULE)
    return list(_compared.values())


def asked() -> list[str]:
    """Return all addresses that they declare."""
    autodiscover_modules(MODULE)
    return list(_asked)

"""`manage.py warm_cache`: fill the cache before the first reader asks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from perfkit.caching import WarmResult, warm
from perfkit.errors import UsageError
from perfkit.management.bars import bar_class

INTERRUPTED: Final = 130
"""What a shell takes for the end by Ctrl-C."""


class Command(BaseCommand):
    """Runs the project's warmers."""

    help = "Fill the cache with what the project's warmers want."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare which warmers, and how."""
        parser.add_argument("names", nargs="*", help="Warmers to run; all where none is named.")
        parser.add_argument("--dry-run", action="store_true", help="Only count what they want.")
        parser.add_argument("--force", action="store_true", help="Make anew what the cache has already.")
        parser.add_argument(
            "--jobs",
            type=_jobs,
            default=1,
            metavar="N",
            help="Threads, each with connections of its own; 1 where not given.",
        )
        parser.add_argument("--no-progress", action="store_true", help="Show no bar.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Warm, print one line a warmer, and fail if any did.

        Raises:
            CommandError: A warmer failed, or nobody registered one of that name; ended by Ctrl-C, with code 130.
        """
        results: list[WarmResult] = []
        bars = _Bars(bar_class(self.stderr, options))
        try:
            warm(
                options["names"],
                dry_run=options["dry_run"],
                force=options["force"],
                jobs=options["jobs"],
                progress=bars.show if bars.are_shown else None,
                told=results.append,
            )
        except UsageError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            bars.close()
            self._tell(results, options)
            raise CommandError(
                "Interrupted. What is stored stays; run it again for the rest.", returncode=INTERRUPTED
            ) from error
        bars.close()
        self._tell(results, options)
        failed = [f"{result.name}: {result.error}" for result in results if result.error]
        if failed:
            raise CommandError("; ".join(failed))

    def _tell(self, results: Sequence[WarmResult], options: dict[str, Any]) -> None:
        if options["verbosity"] == 0:
            return
        if not results:
            self.stdout.write("No warmers are registered (an app registers them in its module `warmers`).")
            return
        lines = _counted(results) if options["dry_run"] else _filled(results)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for name, *figures in lines:
            aligned = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
            self.stdout.write("  ".join([name.ljust(widths[0]), *aligned]))


class _Bars:
    """A bar for each warmer."""

    def __init__(self, bar_class: Any) -> None:
        self._bar_class = bar_class
        self._name = ""
        self._bar: Any = None

    @property
    def are_shown(self) -> bool:
        """Whether somebody looks."""
        return self._bar_class is not None

    def show(self, name: str, done: int, total: int) -> None:
        """Show how far a warmer is."""
        if self._bar is None or name != self._name:
            self.close()
            self._name = name
            self._bar = self._bar_class(desc=name, total=total, unit=" entries")
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the last bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _counted(results: Sequence[WarmResult]) -> list[list[str]]:
    return [["warmer", "entries"], *([result.name, f"{result.wanted:,}"] for result in results)]


def _filled(results: Sequence[WarmResult]) -> list[list[str]]:
    head = ["warmer", "wanted", "stored", "held", "bytes", "seconds", "stored/s", "errors"]
    lines = [_line(result) for result in results]
    return [head, *lines] if len(lines) == 1 else [head, *lines, _line(_all(results))]


def _line(result: WarmResult) -> list[str]:
    return [
        result.name,
        *(f"{count:,}" for count in (result.wanted, result.entries, result.held, result.size_bytes)),
        f"{result.seconds:,.2f}",
        f"{result.entries_per_second:,.0f}",
        f"{result.errors:,}",
    ]


def _all(results: Sequence[WarmResult]) -> WarmResult:
    return WarmResult(
        "all",
        wanted=sum(result.wanted for result in results),
        entries=sum(result.entries for result in results),
        held=sum(result.held for result in results),
        size_bytes=sum(result.size_bytes for result in results),
        seconds=sum(result.seconds for result in results),
        errors=sum(result.errors for result in results),
    )


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, at least 1")
    return int(text)

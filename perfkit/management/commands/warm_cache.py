"""`manage.py warm_cache`: fill the cache before the first reader asks."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from perfkit.caching import WarmResult, warm
from perfkit.errors import UsageError


class Command(BaseCommand):
    """Runs the project's warmers."""

    help = "Fill the cache with what the project's warmers select."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare which warmers, and whether only to count."""
        parser.add_argument("names", nargs="*", help="Warmers to run; all where none is named.")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be stored.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Warm, print one line a warmer, and fail if any did."""
        is_live = options["verbosity"] > 0 and self.stdout.isatty()

        def progress(name: str, done: int, rows: int) -> None:
            if is_live:
                self.stdout.write(f"\r{name} {done:,}/{rows:,}", ending="")
                self.stdout.flush()

        try:
            results = warm(options["names"], dry_run=options["dry_run"], progress=progress)
        except UsageError as error:
            raise CommandError(str(error)) from error
        if options["verbosity"] > 0:
            if is_live:
                self.stdout.write("")
            self._print(results, dry_run=options["dry_run"])
        if any(result.error for result in results):
            failed = "; ".join(f"{result.name}: {result.error}" for result in results if result.error)
            raise CommandError(failed)

    def _print(self, results: list[WarmResult], *, dry_run: bool) -> None:
        if not results:
            self.stdout.write("No warmers are registered (an app registers them in its module `warmers`).")
            return
        width = max(len("warmer"), *(len(result.name) for result in results))
        column = "would store" if dry_run else "stored"
        self.stdout.write(f"{'warmer':<{width}}  {'rows':>9}  {column:>11}  seconds")
        for result in results:
            self.stdout.write(
                f"{result.name:<{width}}  {result.rows:>9,}  {result.entries:>11,}  {result.seconds:>7.2f}"
            )

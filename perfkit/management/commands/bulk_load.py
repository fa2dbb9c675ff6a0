"""`manage.py bulk_load app.Model FILE`: a file into a table."""

from __future__ import annotations

import csv
import io
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models

from perfkit.bulk import InsertResult, SkippedRow, UpsertResult, bulk_insert, bulk_upsert
from perfkit.bulk.dry_run import taken_back
from perfkit.bulk.files import LineNumbers, Row, csv_rows, decompressed, format_of, jsonl_rows
from perfkit.bulk.plan import RowPlan, compile_plan, require_table
from perfkit.errors import RowShapeError, UsageError, nearest
from perfkit.management.bars import bar_class

Result = InsertResult | UpsertResult


class Command(BaseCommand):
    """Loads CSV or JSON lines, all or nothing, or all but what is refused."""

    help = (
        "Load a file of CSV (its first line names the fields) or of JSON lines into the table of a model, "
        "all of it or nothing. Files whose names end in .gz, .bz2 or .xz are decompressed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("model", help="Such as flights.Airline.")
        parser.add_argument("file", help="Its path; - for standard input.")
        parser.add_argument("--format", choices=["csv", "jsonl"], help="Where the file's name does not tell.")
        parser.add_argument(
            "--upsert",
            metavar="FIELDS",
            help="Update rows that have the same values in these fields of a unique constraint (a,b).",
        )
        parser.add_argument(
            "--skip-unchanged",
            action="store_true",
            help="With --upsert: leave rows alone that would stay the same.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Do everything, and take it back.")
        parser.add_argument(
            "--on-error",
            choices=["stop", "skip"],
            default="stop",
            help="stop: nothing is written (the default). skip: the other rows are, chunk by chunk.",
        )
        parser.add_argument(
            "--report", type=Path, metavar="FILE", help="Write refused rows into this CSV file."
        )
        parser.add_argument(
            "--delimiter", default=",", help="Of CSV; a comma where not given, \\t for a tab."
        )
        parser.add_argument("--encoding", default="utf-8", help="Of the file; utf-8 where not given.")
        parser.add_argument("--null", metavar="TEXT", help="What stands for NULL in CSV.")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            type=_pair,
            metavar="COLUMN=FIELD",
            help="A column of CSV that is named otherwise; an empty FIELD leaves it out. May be repeated.",
        )
        parser.add_argument("--chunk-rows", type=int, metavar="N", help="Rows sent at once.")
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )
        parser.add_argument("--no-progress", action="store_true", help="Show no bar.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Load the file and say what became of it.

        Raises:
            CommandError: An option, the file or a row is wrong; without `--on-error skip` nothing is written then.
        """
        model = _model(options["model"])
        if options["skip_unchanged"] and not options["upsert"]:
            raise CommandError("--skip-unchanged is about rows that exist: give --upsert too.")
        lines = LineNumbers()
        try:
            require_table(model, "bulk_load")
            with _opened(options["file"]) as (raw, size), self._progress(raw, size, options) as progress:
                result = self._load(model, raw, lines, progress, options)
        except UsageError as error:
            if isinstance(error, RowShapeError):
                raise CommandError(f"{_named(error, lines)} {error.problem} Nothing was written.") from error
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            if not hasattr(error, "row_number"):
                said = str(error).partition("\n")[0]  # below that the values of a key may stand
                raise CommandError(f"The database says: {said}. Nothing was written.") from error
            refused: Any = error  # a RowError
            field = f", field {refused.field!r}" if refused.field else ""
            problem = f"{_named(refused, lines)}{field}: {refused.problem}"
            raise CommandError(f"{problem} Nothing was written.") from error
        except (OSError, EOFError, UnicodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from error
        if options["report"]:
            _write_report(options["report"], result.skipped, lines)
        self._tell(result, lines, options)

    def _load(
        self,
        model: type[models.Model],
        raw: IO[bytes],
        lines: LineNumbers,
        progress: Any,
        options: dict[str, Any],
    ) -> Result:
        name = options["file"]
        kind = options["format"] or format_of(name)
        if kind is None:
            raise CommandError(f"{name} does not tell its format: say --format csv or --format jsonl.")
        plan = compile_plan(model)
        common = {
            "chunk_rows": options["chunk_rows"],
            "on_error": "report" if options["on_error"] == "skip" else "raise",
            "using": options["database"],
            "progress": progress,
        }
        with ExitStack() as stack:
            text = io.TextIOWrapper(decompressed(raw, name), encoding=options["encoding"], newline="")
            rows = _rows(kind, stack.enter_context(text), plan, lines, options)
            if options["dry_run"]:
                stack.enter_context(taken_back(plan, options["database"]))
            if options["upsert"]:
                return bulk_upsert(
                    model,
                    rows,
                    conflict_columns=[each.strip() for each in options["upsert"].split(",")],
                    skip_unchanged=options["skip_unchanged"],
                    **common,
                )
            return bulk_insert(model, rows, **common)

    @contextmanager
    def _progress(self, raw: IO[bytes], size: int | None, options: dict[str, Any]) -> Iterator[Any]:
        """Show how much of the file is read, and at what rate, where somebody looks."""
        new_bar = bar_class(self.stderr, options)
        if new_bar is None:
            yield None
            return
        with new_bar(total=size, unit="B", unit_scale=True) as bar:

            def show(rows: int) -> None:
                if size is not None:
                    bar.update(raw.tell() - bar.n)
                elapsed = bar.format_dict["elapsed"]
                bar.set_postfix_str(f"{rows:,} rows, {rows / elapsed if elapsed else 0:,.0f} rows/s")

            yield show

    def _tell(self, result: Result, lines: LineNumbers, options: dict[str, Any]) -> None:
        if options["verbosity"] == 0:
            return
        if isinstance(result, UpsertResult):
            counts = f"{result.created:,} created, {result.updated:,} updated, {result.untouched:,} untouched"
        else:
            counts = f"{result.rows:,} written"
        skipped = f", {len(result.skipped):,} skipped" if result.skipped else ""
        taken_back = " Everything was taken back (--dry-run)." if options["dry_run"] else ""
        self.stdout.write(
            f"{counts}{skipped} in {result.seconds:,.1f} s ({result.rows_per_second:,.0f} rows/s).{taken_back}"
        )
        shown = [] if options["report"] else result.skipped[:10]
        for row in shown:
            field = f", field {row.field!r}" if row.field else ""
            self.stdout.write(f"  line {lines.line_of(row.row_number)}{field}: {row.reason}")
        if len(shown) < len(result.skipped) and shown:
            self.stdout.write(
                f"  and {len(result.skipped) - len(shown):,} more: see them with --report FILE."
            )


def _model(label: str) -> type[models.Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models()]
        raise CommandError(f"There is no model {label!r}.{nearest(label, labels)}") from None


def _rows(
    kind: str, text: io.TextIOWrapper, plan: RowPlan, lines: LineNumbers, options: dict[str, Any]
) -> Iterator[Row]:
    if kind == "jsonl":
        return jsonl_rows(text, plan, line_numbers=lines)
    renamed = dict(options["map"])
    return csv_rows(
        text,
        plan,
        delimiter=options["delimiter"].replace("\\t", "\t"),
        null=options["null"],
        renamed={column: field for column, field in renamed.items() if field},
        left_out=[column for column, field in renamed.items() if not field],
        line_numbers=lines,
    )


def _pair(text: str) -> tuple[str, str]:
    column, separator, field = text.partition("=")
    if not separator or not column:
        raise ArgumentTypeError(f"{text!r} is not COLUMN=FIELD")
    return column, field


@contextmanager
def _opened(name: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open a file, or standard input; yield it with its size, None where that is not known."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(name)
    with path.open("rb") as file:
        yield file, path.stat().st_size


def _named(error: Any, lines: LineNumbers) -> str:
    return "A row" if error.row_number is None else f"Line {lines.line_of(error.row_number)}"


def _write_report(path: Path, skipped: list[SkippedRow], lines: LineNumbers) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "field", "reason", "value"])
        for row in skipped:
            line = lines.line_of(row.row_number)
            writer.writerow([line, row.field or "", row.reason, row.value_summary or ""])

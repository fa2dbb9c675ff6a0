"""`manage.py bulk_load`: files into tables, with what is wrong told by row and field."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import fcntl
import gzip
import io
import json
import lzma
import os
import pty
import struct
import subprocess
import sys
import termios
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from perfkit.bulk import bulk_copy_out, files
from project import services
from tests.bulk.everything import IS_POSTGRESQL
from tests.testapp.bulk import City, Country, Filed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("countries")]

CITIES = "name,country_id,population\nLima,PE,10\nCusco,PE,5\n"
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def load(path: Path | str, *arguments: str, model: str = "testapp.City") -> str:
    out = io.StringIO()
    call_command("bulk_load", model, str(path), *arguments, stdout=out)
    return out.getvalue()


def stored() -> list[tuple[Any, ...]]:
    return sorted(City.objects.values_list("name", "country_id", "population"))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_it_loads_a_file_compressed_or_not(tmp_path: Path, suffix: str, kind: str) -> None:
    rows = list(csv.DictReader(io.StringIO(CITIES)))
    text = CITIES if kind == "csv" else "".join(f"{json.dumps(row)}\n\n" for row in rows)
    path = tmp_path / f"cities.{kind}{suffix}"
    path.write_bytes(COMPRESS[suffix](text.encode()))
    assert load(path).startswith("2 written in ")
    assert stored() == [("Cusco", "PE", 5), ("Lima", "PE", 10)]


def test_it_upserts_by_a_key(tmp_path: Path) -> None:
    City.objects.create(name="Lima", country_id="PE", population=1)
    City.objects.create(name="Cusco", country_id="PE", population=5)
    path = tmp_path / "cities.csv"
    path.write_text(CITIES + "Puno,PE,2\n")
    told = load(path, "--upsert", "name, country", "--skip-unchanged")
    assert told.startswith("1 created, 1 updated, 1 untouched in ")
    assert stored() == [("Cusco", "PE", 5), ("Lima", "PE", 10), ("Puno", "PE", 2)]


@pytest.mark.parametrize("arguments", [[], ["--upsert", "name,country"]])
def test_a_dry_run_says_what_would_be_and_leaves_nothing(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(CITIES)
    told = load(path, "--dry-run", *arguments)
    assert told.startswith("2 ")
    assert "taken back" in told
    assert not City.objects.exists()


def test_a_dry_run_finds_what_the_database_would_refuse(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(CITIES + "Nowhere,ZZ,1\n")
    with pytest.raises(CommandError, match="Nothing was written"):
        load(path, "--dry-run")
    assert not City.objects.exists()


def test_it_stops_at_a_bad_row_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(CITIES + "Puno,PE,many\n")
    with pytest.raises(CommandError, match=r"Line 4, field 'population': .*Nothing was written") as caught:
        load(path)
    assert "many" not in str(caught.value)
    assert not City.objects.exists()


def test_it_skips_bad_rows_and_reports_them(tmp_path: Path) -> None:
    path, report = tmp_path / "cities.csv", tmp_path / "report.csv"
    path.write_text(f'{CITIES}Puno,PE,many\nIca\n"x{"x" * 30}",PE,1\nTacna,PE,3\nLima,PE,1\n')
    told = load(path, "--on-error", "skip", "--report", str(report))
    assert told.startswith("3 written, 4 skipped in ")
    assert stored() == [("Cusco", "PE", 5), ("Lima", "PE", 10), ("Tacna", "PE", 3)]
    rows = list(csv.DictReader(io.StringIO(report.read_text())))
    assert [(row["line"], row["field"]) for row in rows] == [
        ("4", "population"),
        ("5", ""),
        ("6", "name"),
        ("8", ""),
    ]
    assert rows[0]["value"] == "a str of 4 characters"
    assert rows[1]["reason"] == "it has 1 cells for 3 columns."


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_it_names_the_line_though_rows_and_lines_differ(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cities.{kind}"
    texts = {
        "csv": 'name,country_id\n\n"two\nlines",PE\n\nLima,??\n',
        "jsonl": '\n{"name": "x", "country_id": "PE"}\n\n\n{"name": "Lima", "country_id": "??"}\n',
    }
    path.write_text(texts[kind])
    told = load(path, "--on-error", "skip").splitlines()
    assert told[1].startswith({"csv": "  line 6", "jsonl": "  line 5"}[kind])


def test_without_a_report_it_shows_the_first_refused_rows(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text("name,country_id\n" + "".join(f"x{'x' * 30},PE\n" for _ in range(12)))
    told = load(path, "--on-error", "skip").splitlines()
    assert told[1].startswith("  line 2, field 'name': ")
    assert told[-1] == "  and 2 more: see them with --report FILE."


def test_it_reads_every_kind_of_value(tmp_path: Path) -> None:
    values = {
        "code": "a",
        "note": "",
        "number": "7",
        "ratio": "1.5",
        "price": "2.50",
        "flag": "yes",
        "day": "2013-01-02",
        "moment": "2013-01-02 03:04:05+02:00",
        "clock": "03:04:05",
        "span": "1 02:03:04",
        "key": "12345678-1234-5678-1234-567812345678",
        "data": '{"a": [1, null]}',
        "blob": "AAE=",
        "country": "PE",
    }
    path = tmp_path / "filed.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(values))
        writer.writeheader()
        writer.writerow(values)
        writer.writerow(dict.fromkeys(values, "") | {"code": "b"})
    load(path, model="testapp.Filed")
    first, second = Filed.objects.order_by("code")
    assert first.note is None
    assert (first.number, first.ratio, first.price, first.flag) == (7, 1.5, Decimal("2.50"), True)
    assert (first.day, first.clock) == (dt.date(2013, 1, 2), dt.time(3, 4, 5))
    assert first.moment == dt.datetime(2013, 1, 2, 1, 4, 5, tzinfo=dt.UTC)
    assert first.span == dt.timedelta(days=1, hours=2, minutes=3, seconds=4)
    assert first.key == uuid.UUID(values["key"])
    assert (first.data, bytes(first.blob), first.country_id) == ({"a": [1, None]}, b"\0\1", "PE")
    assert {getattr(second, name) for name in values if name not in {"code", "country"}} == {None}


def test_json_lines_hold_values_of_their_own(tmp_path: Path) -> None:
    rows = [
        {
            "code": "a",
            "data": "text",
            "number": 7,
            "flag": False,
            "price": "1.25",
            "moment": "2013-01-02T03:04:05",
        },
        {"code": "b", "data": None, "note": "", "blob": "AAE="},
    ]
    path = tmp_path / "filed.ndjson"
    path.write_text("\n".join(map(json.dumps, rows)))
    load(path, model="testapp.Filed")
    first, second = Filed.objects.order_by("code")
    assert (first.data, first.number, first.flag, first.price) == ("text", 7, False, Decimal("1.25"))
    assert first.moment is not None
    assert (second.data, second.note, bytes(second.blob)) == (None, "", b"\0\1")


def test_lines_that_are_no_objects_are_skipped_with_their_reason(tmp_path: Path) -> None:
    path, report = tmp_path / "cities.jsonl", tmp_path / "report.csv"
    path.write_text('{"name": "Lima", "country_id": "PE"}\n{"name":\n[1]\n{"nmae": "x"}\n')
    told = load(path, "--on-error", "skip", "--report", str(report))
    assert told.startswith("1 written, 3 skipped")
    reasons = [row["reason"] for row in csv.DictReader(io.StringIO(report.read_text()))]
    assert reasons[0].startswith("the line is not JSON")
    assert reasons[1] == "the line holds a list of length 1, and not an object."
    assert "Did you mean 'name'" in reasons[2]


def test_columns_may_be_named_otherwise_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cities.tsv"
    path.write_text("\ufeffTown\tLand\tnoise\nLima\tPE\tx\n", encoding="utf-8")
    maps = [argument for each in ("Town=name", "Land=country", "noise=") for argument in ("--map", each)]
    load(path, "--format", "csv", "--delimiter", "\\t", *maps)
    assert stored() == [("Lima", "PE", 0)]


def test_null_may_have_a_text_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "filed.csv"
    path.write_text("code,note,number\na,,\\N\nb,\\N,1\n")
    load(path, "--null", "\\N", model="testapp.Filed")
    assert list(Filed.objects.order_by("code").values_list("note", "number")) == [("", None), (None, 1)]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("nmae\nx\n", [], "The column 'nmae' is no field .* Did you mean 'name'"),
        ("name,name\nx,y\n", [], "Two columns"),
        (CITIES, ["--upsert", "name"], "not those of a unique constraint"),
        (CITIES, ["--skip-unchanged"], "give --upsert too"),
        (CITIES, ["--chunk-rows", "0"], "at least 1"),
        (CITIES, ["--map", "name"], "not COLUMN=FIELD"),
    ],
)
def test_it_refuses_wrong_options_and_columns(
    tmp_path: Path, text: str, arguments: list[str], said: str
) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=said):
        load(path, *arguments)
    assert not City.objects.exists()


def test_it_refuses_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Did you mean 'testapp\.City'"):
        load(tmp_path / "x.csv", model="testapp.Citty")


def test_it_refuses_a_file_that_is_not_there_or_broken(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        load(tmp_path / "none.csv")
    with pytest.raises(CommandError, match="does not tell its format"):
        load(_file(tmp_path / "cities.dat", CITIES.encode()))
    with pytest.raises(CommandError, match="cannot be read"):
        load(_file(tmp_path / "cities.csv.gz", gzip.compress(CITIES.encode() * 100)[:-20]))
    with pytest.raises(CommandError, match="cannot be read"):
        load(_file(tmp_path / "cities.csv", b"name,country_id\n\xff,PE\n"))
    assert not City.objects.exists()


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert load(_file(tmp_path / "cities.csv", b"")).startswith("0 written")


@pytest.mark.skipif(not IS_POSTGRESQL, reason="another process sees no database in memory")
def test_it_reads_standard_input_and_shows_its_progress(tmp_path: Path) -> None:
    from django.db import connection

    path = _file(
        tmp_path / "cities.csv", b"name,country_id\n" + b"".join(b"n%d,PE\n" % n for n in range(3000))
    )
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": services.database_url().rpartition("/")[0] + "/" + connection.settings_dict["NAME"],
    }
    command = [sys.executable, "manage.py", "bulk_load", "testapp.City"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with path.open("rb") as file:
        done = subprocess.run(
            [*command, str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=60,
        )
        os.close(theirs)
        shown = os.read(ours, 65_536).decode()
        os.close(ours)
        assert b"3,000 written" in done.stdout
        assert "3,000 rows" in shown
        assert "rows/s" in shown
        City.objects.all().delete()
        done = subprocess.run(
            [*command, "-", "--format", "csv"],
            env=environment,
            stdin=file,
            capture_output=True,
            check=True,
            timeout=60,
        )
    assert b"3,000 written" in done.stdout
    assert (City.objects.count(), Country.objects.count()) == (3000, 2)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_cell_may_be_large_and_comes_back(tmp_path: Path) -> None:
    Filed.objects.create(code="a", note="x" * 300_000 + '"\n,')
    path = tmp_path / "filed.csv"
    with path.open("wb") as file:
        bulk_copy_out(Filed.objects.all(), file, fields=["code", "note"])
    Filed.objects.all().delete()
    load(path, model="testapp.Filed")
    assert Filed.objects.get().note == "x" * 300_000 + '"\n,'


def test_a_file_that_is_no_csv_from_some_line_on_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_CELL", 0)
    csv.field_size_limit(131_072)
    path = _file(tmp_path / "cities.csv", f'{CITIES}"{"x" * 140_000}\nevil,PE,1\n",PE,1\n'.encode())
    with pytest.raises(CommandError, match="Line 4 of the file is not CSV"):
        load(path, "--on-error", "skip")
    assert not City.objects.filter(name="evil").exists()


@pytest.mark.parametrize("start", ["\ufeff", "\n", "\r\n\n", '\ufeff"name"'])
def test_a_file_may_begin_with_a_mark_or_empty_lines(tmp_path: Path, start: str) -> None:
    text = CITIES.removeprefix("name") if start.endswith('"') else CITIES
    load(_file(tmp_path / "cities.csv", f"{start}{text}".encode()))
    assert City.objects.count() == 2

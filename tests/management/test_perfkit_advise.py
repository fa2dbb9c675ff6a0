from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from perfkit.indexing.advisor.findings import Confidence, Effect, Kind
from perfkit.indexing.advisor.remedies import Remedy
from perfkit.indexing.advisor.reports import Report, in_order
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.jobs.indexes import advise_indexes
from perfkit.management.advice_page import advice_page
from perfkit.management.advice_text import report_lines
from perfkit.models import IndexAdvice
from tests.indexing.advisor.test_keeping import NOW, TO_ADD, TO_DROP


def command(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("perfkit_advise", "--no-scratch", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def double(transactional_db: None) -> Any:
    """Two indexes that no model declares, one of which begins with the other one's column."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX advised_one ON flights_airline (name)")
        cursor.execute("CREATE INDEX advised_two ON flights_airline (name, code)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS advised_one")
        cursor.execute("DROP INDEX advised_two")


def drop_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX advised_one")


class TestCommand:
    def test_it_prints_what_is_found(self, double: None) -> None:
        out, _ = command()
        assert "drop (redundant)" in out
        assert "advised_two begins with the same columns" in out
        assert "DROP INDEX" in out

    def test_it_prints_json(self, double: None) -> None:
        found = json.loads(command("--json")[0])
        assert (found["version"], found["database"]) == (1, "default")
        (one,) = [each for each in found["findings"] if each["index"] == "advised_one"]
        assert (one["kind"], one["kept_by"], one["model"]) == ("redundant", "advised_two", "flights.Airline")

    def test_check_exits_with_1(self, double: None) -> None:
        with pytest.raises(CommandError, match="Index findings") as caught:
            command("--check")
        assert caught.value.returncode == 1

    def test_it_writes_a_page(self, double: None, tmp_path: Path) -> None:
        file = tmp_path / "advice.html"
        _, err = command("--html", str(file))
        assert "is written" in err
        assert "advised_one" in file.read_text()
        with pytest.raises(CommandError, match="cannot be written"):
            command("--html", str(tmp_path / "nowhere" / "x.html"))

    def test_a_dry_run_prints_migrations_and_writes_none(self, double: None) -> None:
        out, _ = command("--write-migrations", "--dry-run")
        assert "DropIndexSafely(" in out
        assert "atomic = False" in out
        assert "DROP INDEX" in out

    def test_it_keeps_what_it_finds(self, double: None) -> None:
        _, err = command("--save")
        assert "new" in err
        assert IndexAdvice.objects.get(index_name="advised_one").state == "open"
        drop_one()
        command("--save")
        assert IndexAdvice.objects.get(index_name="advised_one").state == "applied"

    @pytest.mark.parametrize(
        "arguments", [("--since", "soon"), ("--budget", "0"), ("--seconds", "x"), ("--json", "--html", "x")]
    )
    def test_it_refuses_what_it_cannot_take(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            command(*arguments)


def test_the_job_keeps_what_it_finds(double: None) -> None:
    kept = advise_indexes(has_scratch=False)
    assert kept["new"] >= 1
    assert IndexAdvice.objects.filter(index_name="advised_one", state="open").exists()
    drop_one()
    assert advise_indexes(has_scratch=False)["applied"] == 1


EVIL = "<script>alert(1)</script>\x1b[31m"
FOUND = Report(
    "default",
    NOW,
    (
        Remedy(
            TO_ADD, "airline_name_1", "CREATE INDEX …;", "flights.Airline", "flights", (), "models.Index(…),"
        ),
        Remedy(replace(TO_DROP, reason=EVIL, table=EVIL), EVIL, EVIL, by_hand=EVIL),
    ),
    verified_by="On copies.",
    notes=(EVIL,),
    enabling=("Install it.",),
    calls=7,
    shapes=1,
)


@pytest.mark.parametrize("shows_plans", [False, True])
def test_the_text_says_everything(shows_plans: bool) -> None:
    text = "\n".join(report_lines(FOUND, shows_plans=shows_plans))
    for part in (
        "add (missing)",
        "25.0 %",
        "25.0 times cheaper (100 to 4), 7 calls",
        "Meta.indexes",
        "Install it.",
    ):
        assert part in text
    assert ("Index Scan" in text) is shows_plans
    assert "\x1b" not in text


def test_there_may_be_nothing_to_do() -> None:
    nothing = replace(FOUND, remedies=())
    assert "There is nothing to do." in "\n".join(report_lines(nothing))
    assert "There is nothing to do." in advice_page(nothing)


def test_the_page_is_escaped_and_stands_alone() -> None:
    page = advice_page(FOUND)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    for part in ("25.0 %", "Index Scan", "<svg", "Install it."):
        assert part in page


def test_what_gains_most_comes_first() -> None:
    one = replace(TO_ADD, gain=0.1)
    reference = replace(TO_ADD, kind=Kind.FOREIGN_KEY, gain=0.0, effects=())
    other = replace(reference, spec=IndexSpec("flights_airline", (Key("code"),)))
    assert in_order([TO_DROP, other, reference, one, TO_ADD]) == [TO_ADD, one, other, TO_DROP]


def test_an_effect_may_be_without_end() -> None:
    assert Effect("x", 1, 5.0, 0.0).ratio == float("inf")
    free = replace(TO_ADD, effects=(Effect("x", 1, 5.0, 0.0),), confidence=Confidence.SAMPLED)
    text = "\n".join(report_lines(replace(FOUND, remedies=(Remedy(free, "x", ""),))))
    assert "∞ times cheaper" in text

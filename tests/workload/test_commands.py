from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from perfkit.models import WorkloadCount, WorkloadShape
from perfkit.workload import load_workload
from tests.testapp.bulk import City
from tests.workload.conftest import Captured


def run(name: str, *args: Any) -> tuple[str, str]:
    """Return what a command says, and what it says of problems."""
    stdout, stderr = StringIO(), StringIO()
    call_command(name, *map(str, args), stdout=stdout, stderr=stderr)
    return stdout.getvalue(), stderr.getvalue()


def workload(*args: Any) -> str:
    return run("perfkit_workload", *args)[0]


@pytest.fixture
def sent(captured: Captured) -> Captured:
    City.objects.filter(name="Lima").first()
    City.objects.filter(name="Cusco").first()
    return captured


class TestShow:
    def test_it_shows_shapes_with_lines_and_without_values(self, sent: Captured) -> None:
        shown = workload("show", "--since", "1h")
        assert "2 calls" in shown
        assert 'FROM "testapp_city"' in shown
        assert "at tests/workload/test_commands.py:" in shown
        assert "seen by capture" in shown
        assert "Lima" not in shown

    def test_it_shows_examples_where_asked_for(self, sent: Captured) -> None:
        assert "Cusco" in workload("show", "--since", "1h", "--samples")

    def test_it_shows_so_many(self, sent: Captured) -> None:
        City.objects.count()
        shown = workload("show", "--since", "1h", "--limit", "1")
        assert shown.count("  at ") == 1
        assert "… 1 more." in shown

    def test_it_is_json(self, sent: Captured) -> None:
        told = json.loads(workload("show", "--since", "1h", "--json"))
        (shape,) = told["shapes"]
        assert (told["alias"], told["calls"], shape["calls"]) == ("default", 2, 2)
        assert isinstance(shape["samples"], int)
        told = json.loads(workload("show", "--since", "1h", "--json", "--samples"))
        assert "'Cusco'" in told["shapes"][0]["samples"][-1]

    @pytest.mark.postgres
    def test_it_shows_what_postgresql_has_counted(self, sent: Captured) -> None:
        assert "seen by capture and pg_stat_statements" in workload("show", "--limit", "1000")

    def test_it_shows_that_there_is_nothing(self, captured: Captured) -> None:
        assert "0 shapes" in workload("show", "--since", "1h")


class TestExportAndReplay:
    def test_what_is_exported_can_be_replayed(self, sent: Captured, tmp_path: Path) -> None:
        file = tmp_path / "workload.json"
        assert "2 calls" in workload("export", file, "--since", "1h")
        (shape,) = load_workload(file).shapes
        assert shape.calls == 2
        replayed = workload("replay", file, "--times", "2", "--concurrent", "2")
        assert f"{2 * len(shape.samples)} runs of 1 shapes" in replayed
        assert "Lima" not in replayed

    def test_it_is_exported_without_values(self, sent: Captured, tmp_path: Path) -> None:
        file = tmp_path / "workload.json"
        workload("export", file, "--since", "1h", "--redact")
        assert "Lima" not in file.read_text("utf-8")
        assert "Nothing was run." in workload("replay", file)

    @pytest.mark.parametrize("content", [None, "{}", "no"])
    def test_a_file_that_is_none_is_told(
        self, captured: Captured, tmp_path: Path, content: str | None
    ) -> None:
        file = tmp_path / "workload.json"
        if content is not None:
            file.write_text(content, "utf-8")
        with pytest.raises(CommandError, match=r"workload\.json: It"):
            workload("replay", file)

    def test_what_failed_is_told(self, captured: Captured, tmp_path: Path) -> None:
        file = tmp_path / "workload.json"
        shape = {
            "fingerprint": "x",
            "calls": 1,
            "total_seconds": 1,
            "samples": ["SELECT missing FROM nowhere"],
        }
        head = {
            "format": "perfkit-workload",
            "version": 1,
            "alias": "a",
            "seconds": None,
            "is_redacted": False,
        }
        file.write_text(json.dumps({**head, "shapes": [shape]}), "utf-8")
        assert "3 runs failed" in workload("replay", file)


class TestRecord:
    def test_it_records_one_command(self, captured: Captured, tmp_path: Path) -> None:
        captured.set(WORKLOAD_ENABLED=False, WORKLOAD_SAMPLE_RATE=0.0)
        file = tmp_path / "workload.json"
        told = workload("record", "--output", file, "--", "dumpdata", "testapp.Country")
        assert "shapes" in told
        found = load_workload(file)
        assert [shape.calls for shape in found.shapes if "testapp_country" in shape.fingerprint] == [1]
        assert found.seconds is not None
        City.objects.count()
        assert [shape for shape in captured.shapes() if "testapp_city" in shape.fingerprint] == []

    def test_it_records_what_comes_meanwhile_and_nothing_that_was_there(
        self, sent: Captured, tmp_path: Path
    ) -> None:
        file = tmp_path / "workload.json"
        workload("record", "--output", file, "--redact", "--", "dumpdata", "testapp.Country")
        texts = "".join(shape.fingerprint for shape in load_workload(file).shapes)
        assert "testapp_country" in texts
        assert "testapp_city" not in texts

    def test_it_listens_to_all_processes(self, sent: Captured, tmp_path: Path) -> None:
        captured = sent
        captured.shapes()
        captured.set(WORKLOAD_INTERVAL=0.1)
        told, problem = run("perfkit_workload", "record", "--seconds", "0.1")
        assert "0 calls" in told
        assert "Listening" in problem

    def test_it_says_that_nobody_counts(self, captured: Captured) -> None:
        captured.set(WORKLOAD_ENABLED=False)
        with pytest.raises(CommandError, match="WORKLOAD_ENABLED"):
            workload("record", "--seconds", "1")

    @pytest.mark.parametrize("args", [(), ("--seconds", "1", "--", "check")])
    def test_it_wants_either_a_time_or_a_command(self, captured: Captured, args: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="not both"):
            workload("record", *args)

    @pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1e9"])
    def test_it_wants_a_time_that_is_one(self, captured: Captured, seconds: str) -> None:
        with pytest.raises(CommandError, match="number of seconds"):
            workload("record", "--seconds", seconds)

    def test_it_says_that_tables_are_missing(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("perfkit.workload.statements.SHAPES", "perfkit_not_migrated")
        for action in (["record", "--seconds", "1"], ["clear"]):
            with pytest.raises(CommandError, match=r"manage\.py migrate"):
                workload(*action)


class TestClear:
    def test_it_removes_all_of_it(self, sent: Captured) -> None:
        sent.shapes()
        assert "1 shapes removed." in workload("clear")
        assert not WorkloadShape.objects.exists()
        assert not WorkloadCount.objects.exists()


class TestSlowQueries:
    def slow(self, *args: Any) -> tuple[str, str]:
        return run("perfkit_slow_queries", *args)

    def make_slow(self, captured: Captured) -> None:
        captured.shapes()
        WorkloadCount.objects.update(microseconds=500_000_000_000, calls=1_000)

    def test_it_shows_the_slow_ones_with_model_and_line(self, sent: Captured) -> None:
        self.make_slow(sent)
        told, _ = self.slow("--limit", "1", "--by", "total")
        assert "500,000 ms on average" in told
        assert "model testapp.City" in told
        assert "at tests/workload/test_commands.py:" in told
        assert "Lima" not in told
        assert "Cusco" not in told

    def test_it_shows_plans_and_values_only_where_asked_for(self, sent: Captured) -> None:
        self.make_slow(sent)
        told, _ = self.slow("--limit", "1", "--explain", "1")
        assert "Cusco" not in told
        assert "testapp_city" in told.rpartition("seen by")[2]
        told, _ = self.slow("--limit", "1", "--explain", "1", "--values", "--analyze")
        assert "Cusco" in told

    def test_it_is_json(self, sent: Captured) -> None:
        self.make_slow(sent)
        (query,) = json.loads(self.slow("--json", "--limit", "1", "--explain", "1")[0])
        assert query["model"] == "testapp.City"
        assert query["mean_seconds"] == 500.0
        assert query["plan"]
        assert "sample" not in query
        (query,) = json.loads(self.slow("--json", "--limit", "1", "--values")[0])
        assert "Cusco" in query["sample"]

    def test_it_says_that_there_are_none(self, captured: Captured) -> None:
        captured.set(WORKLOAD_ENABLED=False)
        told, missing = self.slow("--threshold", "1e9")
        assert "No query takes 1e+09 ms on average." in told
        assert "WORKLOAD_ENABLED" in missing

    @pytest.mark.postgres
    def test_it_says_how_to_have_statements_counted(self, captured: Captured) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP EXTENSION pg_stat_statements")
        try:
            _, missing = self.slow()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION pg_stat_statements")
        assert "CREATE EXTENSION pg_stat_statements" in missing

    def test_it_says_that_there_is_no_example(self, captured: Captured) -> None:
        captured.set(WORKLOAD_VALUES="redacted")
        City.objects.filter(name="Lima").first()
        self.make_slow(captured)
        assert "There is no example" in self.slow("--limit", "1", "--explain", "1")[0]
        captured.set(WORKLOAD_VALUES="kept")

    @pytest.mark.parametrize("wrong", [("--limit", "0"), ("--explain", "-1"), ("--threshold", "-1")])
    def test_options_out_of_range_are_told(self, captured: Captured, wrong: tuple[str, str]) -> None:
        with pytest.raises(CommandError, match="must"):
            self.slow(*wrong)

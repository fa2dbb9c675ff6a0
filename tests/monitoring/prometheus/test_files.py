from __future__ import annotations

import io
import json
import re
import runpy
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from perfkit.monitoring import summary
from perfkit.monitoring.ledgers import LocalLedger
from tests.monitoring.prometheus.saturated import saturate, snapshot_of
from tests.monitoring.prometheus.test_families import samples_of
from tests.plugins.prometheus import promtool

ROOT = Path(__file__).parents[3]
NAMES = ["dashboard.json", "rules.yml", "rules_test.yml"]
METRIC = re.compile(r"\b(?:job:)?perfkit_[a-z0-9_]+(?::[a-z0-9]+)?")
COMPARED = re.compile(r"(?<=[<>]) (0\.\d+)|(== 0$)|((?<=>) 0$)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    call_command("perfkit_monitoring_files", str(tmp_path / "monitoring"), stdout=io.StringIO())
    return tmp_path / "monitoring"


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    ledger = LocalLedger()
    saturate(ledger)
    return {name for name, _ in samples_of(snapshot_of(ledger))}


def rules_in(folder: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((folder / "rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions(folder: Path) -> Iterator[str]:
    for panel in json.loads((folder / "dashboard.json").read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


class TestCommand:
    def test_it_writes_what_perfkit_brings(self, folder: Path) -> None:
        assert sorted(each.name for each in folder.iterdir()) == NAMES
        for name in NAMES:
            brought = files("perfkit.monitoring") / "files" / name
            assert (folder / name).read_text("utf-8") == brought.read_text("utf-8")

    def test_it_replaces_nothing_without_being_asked(self, folder: Path) -> None:
        (folder / "rules.yml").write_text("groups: []\n", encoding="utf-8")
        (folder / "dashboard.json").unlink()
        with pytest.raises(CommandError, match=r"other files of these names: rules\.yml"):
            call_command("perfkit_monitoring_files", str(folder))
        assert not (folder / "dashboard.json").exists()
        assert (folder / "rules.yml").read_text("utf-8") == "groups: []\n"
        output = io.StringIO()
        call_command("perfkit_monitoring_files", str(folder), "--force", stdout=output)
        assert (folder / "rules.yml").read_text("utf-8") != "groups: []\n"
        assert f"{folder / 'rules_test.yml'} (is there)" in output.getvalue()

    def test_a_folder_that_is_none_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(CommandError, match="cannot be written"):
            call_command("perfkit_monitoring_files", str(tmp_path / "file"))


class TestRules:
    def test_they_ask_for_metrics_that_there_are(self, folder: Path, exposed: set[str]) -> None:
        rules = rules_in(folder)
        known = exposed | {rule["record"] for rule in rules if "record" in rule}
        for rule in rules:
            asked = set(METRIC.findall(rule["expr"]))
            assert asked
            assert asked <= known

    def test_what_several_targets_say_is_never_added_up(self, folder: Path) -> None:
        texts = [*expressions(folder), *(rule["expr"] for rule in rules_in(folder))]
        for text in texts:
            asked = [name for name in METRIC.findall(text) if not name.startswith("job:")]
            chosen = re.findall(
                r"(?:max|min)(?: without \(instance, pod[a-z, ]*\) |)\((?:[a-z_]+\()?perfkit_", text
            )
            assert len(asked) == len(chosen), text
        assert len(texts) > 50

    def test_each_alert_of_the_summary_has_one(self, folder: Path) -> None:
        alerts = {rule["alert"]: rule for rule in rules_in(folder) if "alert" in rule}
        bounds = {
            "PerfkitLowHitRate": summary.LEAST_HIT_RATE,
            "PerfkitSlowQueries": summary.MOST_SLOW_SHARE,
            "PerfkitSlowDatabase": summary.MOST_MEAN_QUERY_SECONDS,
            "PerfkitSlowRequests": summary.MOST_P95_SECONDS,
            "PerfkitPoolBusy": summary.MOST_POOL_SHARE,
        }
        for name, bound in bounds.items():
            assert float(COMPARED.findall(alerts[name]["expr"])[0][0]) == bound
        assert len(bounds) == len(summary.JUDGES) + 1, "one of them judges two things"
        assert all(rule["annotations"].keys() == {"summary", "description"} for rule in alerts.values())

    @pytest.mark.prometheus
    def test_promtool_takes_them(self, folder: Path) -> None:
        result = promtool("check", "rules", "--lint=all", "--lint-fatal", folder / "rules.yml")
        assert result.returncode == 0, result.stdout

    @pytest.mark.prometheus
    def test_their_unit_tests_pass(self, folder: Path) -> None:
        result = promtool("test", "rules", folder / "rules_test.yml")
        assert result.returncode == 0, result.stdout

    @pytest.mark.prometheus
    @pytest.mark.parametrize("change", ["harder", "easier", "without max"])
    def test_their_unit_tests_see_each_change(self, folder: Path, change: str) -> None:
        whole = yaml.safe_load((folder / "rules.yml").read_text("utf-8"))
        places = [
            (group, number)
            for group, each in enumerate(whole["groups"])
            for number, rule in enumerate(each["rules"])
            if ("alert" in rule) == (change != "without max")
        ]
        assert len(places) >= 7
        for group, number in places:
            changed = yaml.safe_load((folder / "rules.yml").read_text("utf-8"))
            rule = changed["groups"][group]["rules"][number]
            before = rule["expr"]
            rule["expr"] = _changed(before, change)
            assert rule["expr"] != before
            (folder / "rules.yml").write_text(yaml.safe_dump(changed), encoding="utf-8")
            result = promtool("test", "rules", folder / "rules_test.yml")
            (folder / "rules.yml").write_text(yaml.safe_dump(whole), encoding="utf-8")
            assert result.returncode != 0, rule


def _changed(expression: str, change: str) -> str:
    """Return an expression that fires where it should not, or not where it should, or adds up what is the same."""
    match change:
        case "without max":
            return re.sub(r"max without \(instance, pod", "sum without (instance, pod", expression, count=1)
        case "harder":
            return f"({expression}) and on () vector(0) > 0"
        case _:
            changed = expression.replace("< 0.70", "< 2").replace("== 0", ">= 0")
            return re.sub(r"> 0(\.\d+)?", "> -1", changed, count=1)


class TestDashboard:
    def test_it_is_as_it_is_made(self, folder: Path) -> None:
        made = runpy.run_path(str(ROOT / "docs" / "make_dashboard.py"))["text"]()
        assert (folder / "dashboard.json").read_text("utf-8") == made, "Run: python docs/make_dashboard.py"

    def test_it_shows_metrics_that_there_are(self, folder: Path, exposed: set[str]) -> None:
        for expression in expressions(folder):
            asked = set(METRIC.findall(expression))
            assert asked
            assert asked <= exposed, expression

    def test_it_shows_every_metric(self, folder: Path, exposed: set[str]) -> None:
        shown = {name for expression in expressions(folder) for name in METRIC.findall(expression)}
        families = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in exposed} == families

    def test_panels_stand_side_by_side(self, folder: Path) -> None:
        panels = json.loads((folder / "dashboard.json").read_text("utf-8"))["panels"]
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in panels}) == len(panels)

    @pytest.mark.prometheus
    def test_promtool_takes_its_expressions(self, folder: Path, tmp_path: Path) -> None:
        rules = [
            {
                "record": f"panel:number_{number}",
                "expr": expression.replace("$__rate_interval", "5m").replace("$job", ".+"),
            }
            for number, expression in enumerate(expressions(folder))
        ]
        assert len(rules) > 30
        file = tmp_path / "panels.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
        result = promtool("check", "rules", file)
        assert result.returncode == 0, result.stdout

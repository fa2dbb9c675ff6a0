"""Compares the reference pages with the code: whoever adds a thing writes its line, or a test fails."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from ninja.operation import Operation

import perfkit
from perfkit.api.routes import routes
from perfkit.caching.responses.decorator import KEPT
from perfkit.checks import FINDINGS
from perfkit.tasks import preset
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
ASKED = re.compile(
    r"(?:\benv\.\w+\(|\b(?:flag|number|choice|address)\(|environ\.get\(|environ\[|_VARIABLE: Final = )"
    r"""\s*"([A-Z_]+)\""""
)


def headings(page: Path) -> list[str]:
    return re.findall(r"^## `?([^`\n]+)`?$", page.read_text("utf-8"), flags=re.MULTILINE)


def commands() -> list[str]:
    folders = [ROOT / "perfkit", ROOT / "project" / "flights"]
    found = [
        path.stem for folder in folders for path in (folder / "management" / "commands").glob("[a-z]*.py")
    ]
    return sorted(found)


def rooms() -> list[str]:
    """Return every module right below perfkit that says what is public."""
    names = [f"perfkit.{found.name}" for found in pkgutil.iter_modules(perfkit.__path__)]
    return [name for name in names if hasattr(importlib.import_module(name), "__all__")]


def reasons() -> list[str]:
    """Return why reads are bypassed, as the caching room says it; of a text with a value, what is before it."""
    found = set()
    for path in (ROOT / "perfkit" / "caching").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            called = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if called in {"Bypass", "UnstorableError", "refuse", "tell_bypass"}:
                text = call.args[-1]
                text = text.values[0] if isinstance(text, ast.JoinedStr) else text
                if isinstance(text, ast.Constant):
                    found.add(text.value.rstrip(": "))
    return sorted(found)


class TestSettings:
    def test_it_is_the_page_that_the_table_makes(self) -> None:
        made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["page"]()
        assert (REFERENCE / "settings.md").read_text("utf-8") == made, "Run: python docs/make_settings.py"


class TestPreset:
    def test_it_is_the_page_that_the_preset_makes(self) -> None:
        made = runpy.run_path(str(ROOT / "docs" / "make_preset.py"))["page"]()
        assert (REFERENCE / "preset.md").read_text("utf-8") == made, "Run: python docs/make_preset.py"

    @pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
    def test_it_has_each_setting_with_its_reason(self, broker: Any) -> None:
        text = (REFERENCE / "preset.md").read_text("utf-8")
        for setting in preset(broker=broker):
            (row,) = re.findall(rf"^\| `{setting.name}` \|.*$", text, flags=re.MULTILINE)
            assert setting.reason in row


class TestChecks:
    def test_it_has_a_section_for_each_id(self) -> None:
        assert headings(REFERENCE / "checks.md") == list(FINDINGS)

    @pytest.mark.parametrize("identity", FINDINGS)
    def test_it_says_what_the_check_finds(self, identity: str) -> None:
        text = (REFERENCE / "checks.md").read_text("utf-8")
        assert f"## {identity}\n\n{FINDINGS[identity]}\n" in text


class TestEnvironment:
    def test_it_lists_each_name_that_the_demo_reads(self) -> None:
        sources = [ROOT / "project" / "settings.py", *(ROOT / "project" / "services").glob("*.py")]
        asked = {found for source in sources for found in re.findall(ASKED, source.read_text("utf-8"))}
        text = (REFERENCE / "environment.md").read_text("utf-8")
        assert sorted(re.findall(r"^\| `([A-Z_]+)` \|", text, flags=re.MULTILINE)) == sorted(asked)


class TestCommands:
    def test_it_has_a_section_for_each_command(self) -> None:
        assert sorted(headings(REFERENCE / "commands.md")) == commands()


class TestApi:
    def test_it_documents_each_room_with_public_names(self) -> None:
        text = (REFERENCE / "api.md").read_text("utf-8")
        assert sorted(re.findall(r"^\.\. automodule:: (\S+)$", text, flags=re.MULTILINE)) == rooms()

    @pytest.mark.parametrize("name", [name for name in perfkit.__all__ if not name.startswith("_")])
    def test_it_names_what_the_package_itself_offers(self, name: str) -> None:
        assert f"`{name}`" in (REFERENCE / "api.md").read_text("utf-8")


class TestSignals:
    @pytest.mark.parametrize("reason", reasons())
    def test_it_lists_each_reason_of_a_bypass(self, reason: str) -> None:
        rows = re.findall(r"^\| (`.*?) \|", (REFERENCE / "signals.md").read_text("utf-8"), re.MULTILINE)
        names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
        begun = tuple(name.removesuffix("…").rstrip() for name in names if name.endswith("…"))
        assert reason in names or reason.startswith(begun)


def test_the_demo_page_has_every_route_and_for_how_long_its_answers_are_kept() -> None:
    rows = re.findall(
        r"^\| `([A-Z]+ /api/\S+)` \| .+ \| (?:(\d+) s )?\|$",
        (REFERENCE / "demo.md").read_text("utf-8"),
        flags=re.MULTILINE,
    )
    told = {route: int(seconds or 0) for route, seconds in rows}
    found = {f"{route.method} {route.path}": kept_seconds(route.operation) for route in routes()}
    assert told == found


def kept_seconds(operation: Operation) -> int:
    kept = getattr(operation.run, KEPT, None)
    return 0 if kept is None else kept._keeping.options.ttl

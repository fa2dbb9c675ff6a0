"""`manage.py warm_cache`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import hits
from tests.caching.warming.functions import fails, name_of, ran
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        return True


def run(capsys: pytest.CaptureFixture[str], *args: str, **kwargs: Any) -> list[list[str]]:
    call_command("warm_cache", *args, **kwargs)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_it_prints_one_line_a_warmer(items: list[Item], capsys: pytest.CaptureFixture[str]) -> None:
    header, airfields, some, total = run(capsys)
    assert header == ["warmer", "wanted", "stored", "held", "bytes", "seconds", "stored/s", "errors"]
    assert airfields[:5] == ["airfields", "0", "0", "0", "0"]
    assert some[:4] == ["items", "900", "900", "0"]
    assert int(some[4].replace(",", "")) > 900 * 50
    assert [total[0], *total[1:5]] == ["all", *some[1:5]]
    assert total[-1] == "0"


def test_it_makes_nothing_anew_unless_told_to(items: list[Item], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "items")
    assert run(capsys, "items")[1][:4] == ["items", "900", "0", "900"]
    assert run(capsys, "items", "--force")[1][:4] == ["items", "900", "900", "0"]


def test_it_fills_in_many_threads(
    items: list[Item], reads: list[Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "items", "--jobs", "3")[1][:3] == ["items", "900", "900"]
    assert hits(reads, [item for item in items if item.count]) == 900


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "1.5"])
def test_it_refuses_other_numbers_of_threads(jobs: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number, at least 1"):
        call_command("warm_cache", "--jobs", jobs)


def test_it_only_counts(
    items: list[Item], warmers: dict[str, Any], reads: list[Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    ran.clear()
    warmers["names"] = lambda: (partial(name_of, item.pk) for item in items)
    header, some, names = run(capsys, "items", "names", "--dry-run")
    assert (header, some, names) == (["warmer", "entries"], ["items", "900"], ["names", "1,200"])
    assert hits(reads, items[:9]) == 0
    assert ran == []


def test_it_is_silent_when_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, verbosity=0) == []


def test_it_fails_for_an_unknown_name() -> None:
    with pytest.raises(CommandError, match=r"There is no warmer 'itms'\. Did you mean 'items'\?"):
        call_command("warm_cache", "itms")


def test_it_fails_where_a_warmer_did(
    settings: LazySettings, items: list[Item], capsys: pytest.CaptureFixture[str]
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
    with pytest.raises(CommandError, match="items: the cache cannot be filled") as error:
        call_command("warm_cache", "items")
    assert error.value.returncode == 1
    assert "items" in capsys.readouterr().out


def test_it_fails_where_a_call_did(warmers: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    warmers["fails"] = lambda: [partial(fails, number) for number in range(4)]
    with pytest.raises(
        CommandError, match=r"fails: 2 failed, the first of them: .*LookupError: nothing about 1"
    ):
        call_command("warm_cache", "fails")
    line = capsys.readouterr().out.splitlines()[1].split()
    assert (line[1], line[2], line[-1]) == ("4", "2", "2")


def test_it_says_where_there_are_no_warmers(
    warmers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    warmers.clear()
    call_command("warm_cache")
    assert "No warmers are registered" in capsys.readouterr().out


def test_it_tells_what_was_done_where_it_is_interrupted(
    items: list[Item], warmers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> Iterator[Any]:
        yield Item.plain.filter(count=1)
        raise KeyboardInterrupt

    warmers["interrupted"] = interrupted
    with pytest.raises(CommandError, match=r"Interrupted\. What is stored stays") as error:
        call_command("warm_cache", "airfields", "interrupted", "items")
    assert error.value.returncode == 130
    _, airfields, line, _ = [text.split() for text in capsys.readouterr().out.splitlines()]
    assert airfields[0] == "airfields"
    assert line[:3] == ["interrupted", "300", "300"]


class TestProgress:
    def looked_at(self, monkeypatch: pytest.MonkeyPatch, *args: str) -> str:
        """Run the command with somebody looking; return what is shown."""
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        call_command("warm_cache", *args)
        return terminal.getvalue()

    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_it_shows_a_bar_for_each_warmer(
        self, items: list[Item], warmers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, jobs: str
    ) -> None:
        pytest.importorskip("tqdm")
        warmers["names"] = lambda: (partial(name_of, item.pk) for item in items[:60])
        shown = self.looked_at(monkeypatch, "items", "names", "--jobs", jobs)
        assert "items: 100%" in shown
        assert "900/900" in shown
        assert "names: 100%" in shown
        assert "60/60" in shown

    @pytest.mark.parametrize("options", [["--no-progress"], ["--verbosity", "0"]])
    def test_it_shows_none_where_none_is_wanted(
        self, items: list[Item], monkeypatch: pytest.MonkeyPatch, options: list[str]
    ) -> None:
        assert self.looked_at(monkeypatch, "items", *options) == ""

    def test_it_says_what_to_install(self, items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        assert "Install django-perfkit[bulk]" in self.looked_at(monkeypatch, "items")

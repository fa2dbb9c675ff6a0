"""`manage.py perfkit_stats`, the API and the log: the same figures, and whether they are whole."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from perfkit.management.screens import screen_text
from perfkit.management.stats_text import SECTIONS, WIDTH, summary_lines
from perfkit.monitoring import open_connections, timed
from perfkit.monitoring.boards import STATEMENTS, Seen, boards, boards_of
from perfkit.monitoring.plain import as_dict
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import TOTALS, total_page, total_pages
from perfkit.signals import cache_read, task_ended
from tests.monitoring.conftest import Measured
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("perfkit_stats", *arguments, stdout=out)
    return out.getvalue()


def record(kind: str, *labels: str, events: int = 1, numbers: tuple[int, ...] = (12_000, 0, 0)) -> None:
    series = recorder.series(kind, *labels)
    for _ in range(events):
        recorder.record(series, *numbers)


@pytest.fixture
def busy(measured: Measured) -> Measured:
    """A project in which everything has happened."""
    record("request", "GET", "/api/flights", "2xx", events=95, numbers=(42_000, 21_000, 3))
    record("request", "GET", "/api/flights", "5xx", events=5, numbers=(900_000, 0, 0))
    for number in range(15):
        record("request", "POST", f"/{number}/{'very/' * 20}long", "2xx")
    record("query", "default", "SELECT", "abcdef012345", events=90)
    record("query", "default", "SELECT", "abcdef012345", events=10, numbers=(150_000, 1, 0))
    boards.note(
        STATEMENTS, "abcdef012345", Seen(f"SELECT {'x' * 300} FROM t", "default", "/a", "project/views.py:7")
    )
    for _ in range(3):
        cache_read.send(Item, outcome="hit", reason="")
    task_ended.send(
        "shop.mail", outcome="failure", retries=1, queue="heavy", run_seconds=1.0, wait_seconds=0.5
    )
    with timed("price.quote"):
        pass
    record("model", "gpt", "miss", numbers=(2_000_000, 500, 0))
    record("limit", "anonymous", "refused", numbers=(3,))
    record("loop", "relation", "shop.A.b", numbers=(1, 7))
    record("pool", "default", numbers=(1, 9, 10))
    return measured


class TestText:
    def test_it_fits_a_hundred_columns_and_has_units(self, busy: Measured) -> None:
        text = run()
        lines = text.splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert lines[0].startswith("The last hour, since 20")
        assert lines[0].endswith("of this process alone")
        heading = next(line for line in lines if line.startswith("requests "))
        assert heading.split()[1:5] == ["count", "mean", "ms", "P50"]
        row = next(line for line in lines if line.startswith("GET /api/flights"))
        # count, mean, quantiles, queries each, share of the database, errors
        assert [row.split()[place] for place in (2, 3, 7, 8, 9)] == ["100", "84.9", "2.9", "23", "5"]
        assert "… and 6 more" in text

    def test_alerts_come_first_with_their_advice(self, busy: Measured) -> None:
        lines = run().splitlines()
        assert lines[1].startswith("! PerfkitSlowQueries: 10.0% of queries are slow")
        assert lines[2].startswith("  Look at the statements")
        assert lines.index("") > lines.index(next(line for line in lines if "PerfkitPoolBusy" in line))

    @pytest.mark.django_db
    def test_every_section_says_something(self, busy: Measured) -> None:
        connection.ensure_connection()
        open_connections.install()
        boards.renew()
        for name in SECTIONS:
            if name != "processes":  # those of a shared server only
                assert "Nothing" not in run("--section", name)
                assert "nothing" not in run("--section", name)

    def test_sections_are_those_that_were_asked_for(self, busy: Measured) -> None:
        text = run("--section", "timed", "--section", "limits")
        assert "price.quote" in text
        assert "anonymous refused" in text
        assert "/api/flights" not in text
        assert text.index("price.quote") < text.index("anonymous")

    def test_top_bounds_the_rows(self, busy: Measured) -> None:
        assert "… and 15 more" in run("--top", "1", "--section", "requests")

    def test_a_statement_has_its_line_and_its_text(self, busy: Measured) -> None:
        text = run("--section", "statements")
        assert "abcdef012345 project/views.py:7" in text
        assert "\n  SELECT xxx" in text

    def test_nothing_measured_is_said(self, measured: Measured) -> None:
        text = run()
        assert "Nothing was measured." in text
        assert "`perfkit.monitoring.metrics` stands in MIDDLEWARE" in text
        assert "requests: nothing was measured." in run("--section", "requests")

    def test_what_is_no_text_does_nothing_to_a_terminal(self, measured: Measured) -> None:
        boards.note(STATEMENTS, "f", Seen("SELECT \x1b[31m", "default", "", "a.py:1"))
        record("query", "default", "SELECT", "f")
        record("request", "GET", "/\x1b[2J\n", "2xx")
        assert all(line.isprintable() for line in run().splitlines())

    @pytest.mark.parametrize(
        "arguments",
        [["--since", "2h"], ["--watch", "0"], ["--top", "0"], ["--section", "all"], ["--watch", "x"]],
    )
    def test_wrong_arguments_are_refused(self, arguments: list[str]) -> None:
        with pytest.raises(CommandError):
            run(*arguments)

    def test_with_metrics_off_it_fails_and_says_why(self, measured: Measured, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": False}
        with pytest.raises(CommandError, match="METRICS_ENABLED is off"):
            run()

    @pytest.mark.redis
    def test_without_the_server_it_fails_and_says_why(
        self, measured_on_server: Measured, server: DisposableValkey
    ) -> None:
        record("request", "GET", "/a", "2xx")
        assert "processes" in run()
        server.kill()
        with pytest.raises(CommandError, match="The cache server does not answer"):
            run()
        with pytest.raises(CommandError, match="The cache server does not answer"):
            run("--json")

    def test_a_heading_counts_the_processes(self, busy: Measured) -> None:
        from dataclasses import replace

        found = busy.summary()
        one = boards.process()
        shared = replace(found, is_shared=True, processes=(one, one))
        assert f"of all processes (2 {one.role})" in next(summary_lines(shared))


def steady(told: dict[str, Any]) -> dict[str, Any]:
    """Leave out what another moment changes."""
    found = {name: value for name, value in told.items() if name not in {"seconds", "processes"}}
    found["requests"] = {name: value for name, value in told["requests"].items() if name != "per_second"}
    return found


class TestSameFigures:
    @pytest.fixture
    def staff(self, db: None) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_monitoring"))
        client = Client()
        client.force_login(user)
        return client

    def test_command_api_and_log_tell_the_same(
        self,
        busy: Measured,
        staff: Client,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        busy.summary()
        # Else the API's own request would be measured meanwhile.
        monkeypatch.setattr(switch, "is_on", False)
        monkeypatch.setattr(switch, "plain_nanoseconds", 0)
        command = json.loads(run("--json"))
        answer = staff.get("/api/perfkit/summary?since=1h")
        assert answer.status_code == 200, answer.content
        with caplog.at_level("INFO", "perfkit.summary"):
            assert run("--log") == ""
        (line,) = [each for each in caplog.records if each.name == "perfkit.summary"]
        expected = steady(as_dict(busy.summary()))
        assert expected["requests"]["count"] == 115
        assert steady(command) == steady(answer.json()) == expected
        assert (line.requests, line.queries) == (115, expected["queries"]["count"])
        assert line.request_p95_ms == round(expected["requests"]["p95_seconds"] * 1000, 1)
        assert line.tasks == sum(task["count"] for task in expected["tasks"])
        assert line.cache_hits == expected["cache"]["hits"]
        assert line.alerts == ",".join(alert["name"] for alert in expected["alerts"])

    def test_others_are_refused(self, measured: Measured, db: None) -> None:
        assert Client().get("/api/perfkit/summary").status_code == 401
        visitor = Client()
        visitor.force_login(User.objects.create_user("visitor"))
        refused = visitor.get("/api/perfkit/summary")
        assert refused.status_code == 403
        assert "requests" not in refused.json()

    def test_staff_need_the_permission_of_the_admins_pages(self, measured: Measured, db: None) -> None:
        clerk = Client()
        clerk.force_login(User.objects.create_user("clerk", is_staff=True))
        refused = clerk.get("/api/perfkit/summary")
        assert (refused.status_code, clerk.get("/admin/perfkit/monitoring/").status_code) == (403, 403)
        assert "perfkit.view_monitoring" in refused.json()["detail"]

    def test_the_permission_alone_is_not_enough(self, measured: Measured, db: None) -> None:
        user = User.objects.create_user("visitor")
        user.user_permissions.add(Permission.objects.get(codename="view_monitoring"))
        visitor = Client()
        visitor.force_login(user)
        assert visitor.get("/api/perfkit/summary").status_code == 403

    def test_a_wrong_time_is_a_422(self, measured: Measured, staff: Client) -> None:
        assert staff.get("/api/perfkit/summary?since=2h").status_code == 422

    def test_points_are_there_where_they_are_asked_for(self, busy: Measured, staff: Client) -> None:
        assert staff.get("/api/perfkit/summary").json()["points"] == []
        answer = staff.get("/api/perfkit/summary?since=15m&points=true")
        assert sum(point["requests"]["count"] for point in answer.json()["points"]) >= 115
        assert answer["Cache-Control"] == "no-store"

    @pytest.mark.redis
    def test_without_the_server_it_is_a_503_with_the_reason(
        self, measured_on_server: Measured, server: DisposableValkey, staff: Client, settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "RATE_LIMIT_ENABLED": False}
        server.kill()
        answer = staff.get("/api/perfkit/summary")
        assert answer.status_code == 503
        assert answer.json()["is_away"] is True
        assert answer.json()["problem"].startswith("The cache server does not answer")

    def test_it_is_described(self, staff: Client) -> None:
        described = staff.get("/api/openapi.json").json()
        operation = described["paths"]["/api/perfkit/summary"]["get"]
        since = next(each for each in operation["parameters"] if each["name"] == "since")
        assert since["schema"]["enum"] == ["15m", "1h", "6h", "24h"]
        whole = described["components"]["schemas"]["SummaryOut"]
        assert set(whole["required"]) == set(whole["properties"])


class TestScreen:
    def test_it_writes_over_what_is_there_without_clearing(self) -> None:
        text = screen_text(["a" * 50, "b"], columns=10, rows=5, is_first=False)
        assert text == f"\x1b[H{'a' * 10}\x1b[K\nb\x1b[K\n\x1b[J"
        assert "\x1b[2J" in screen_text(["a"], columns=10, rows=5, is_first=True)

    def test_it_never_scrolls(self) -> None:
        text = screen_text([str(number) for number in range(100)], columns=80, rows=10, is_first=False)
        assert text.count("\n") == 9
        assert "… 92 more lines" in text


INTERRUPTIBLE = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path("manage.py", run_name="__main__")
"""
"""Where the run of the tests was put into the background, children too would ignore interrupts."""


class Watching:
    """The command in a process of its own, with `--watch`."""

    def __init__(self, *arguments: str, stdout: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "manage.py", "perfkit_stats", "--watch", "0.2", *arguments],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "COLUMNS": "100", "LINES": "30"},
            cwd=settings.BASE_DIR,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def interrupt(self) -> str:
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return errors.decode()


class TestWatch:
    def test_piped_it_prints_frames_until_it_is_interrupted(self) -> None:
        watching = Watching(stdout=subprocess.PIPE)
        assert watching.process.stdout is not None
        frames, lines = 0, []
        for line in watching.process.stdout:
            lines.append(line.decode())
            frames += line.startswith(b"The last hour")
            if frames == 3:
                break
        watching.process.send_signal(signal.SIGINT)
        rest, errors = watching.process.communicate(timeout=60)
        assert watching.process.returncode == 0, errors
        assert "Traceback" not in errors.decode()
        assert "\x1b" not in "".join(lines) + rest.decode()

    def test_as_json_each_frame_is_a_line(self) -> None:
        watching = Watching("--json", stdout=subprocess.PIPE)
        assert watching.process.stdout is not None
        lines = iter(watching.process.stdout)
        frames = []
        while len(frames) < 2:
            line = next(lines)
            if line.strip():
                frames.append(json.loads(line))
        assert [frame["range"] for frame in frames] == ["1h", "1h"]
        watching.process.send_signal(signal.SIGINT)
        watching.process.communicate(timeout=60)

    def test_it_ends_quietly_with_whoever_reads_it(self) -> None:
        watching = Watching(stdout=subprocess.PIPE)
        assert watching.process.stdout is not None
        watching.process.stdout.readline()
        watching.process.stdout.close()
        assert watching.process.wait(timeout=60) == 0
        assert watching.process.stderr is not None
        errors = watching.process.stderr.read().decode()
        watching.process.stderr.close()
        assert "Traceback" not in errors
        assert "BrokenPipe" not in errors

    def test_on_a_terminal_it_stays_in_place(self) -> None:
        controller, terminal = pty.openpty()
        watching = Watching(stdout=terminal)
        os.close(terminal)
        text, deadline = b"", time.monotonic() + 60
        while text.count(b"\x1b[H") < 3:
            assert time.monotonic() < deadline, text
            if select.select([controller], [], [], 1)[0]:
                text += os.read(controller, 65_536)
        assert watching.interrupt().count("Traceback") == 0
        os.close(controller)
        assert text.count(b"\x1b[2J") == 1, "it is cleared once, at the beginning"


class TestClear:
    @pytest.mark.parametrize(("what", "are_views_left"), [("totals", True), ("all", False)])
    def test_it_forgets_what_is_named(self, busy: Measured, what: str, are_views_left: bool) -> None:
        assert busy.ledger().read([total_page("view")]) != [{}]
        assert "is forgotten" in run("--clear", what, "--yes")
        assert bool(busy.summary().views) is are_views_left
        assert busy.ledger().read(total_pages()) == [{}] * len(TOTALS)
        record("request", "GET", "/again", "2xx")
        assert busy.ledger().read([total_page("request")]) == [{"2xx\tGET\t/again": {0: 1}}]
        assert [each.view for each in busy.summary().views].count("/again") == 1

    def test_texts_are_gone_too(self, busy: Measured) -> None:
        assert any(each.seen for each in busy.summary().statements)
        run("--clear", "all", "--yes")
        assert "SELECT xxx" not in repr(
            busy.ledger().posted(boards_of(STATEMENTS, time.time() - 86_400, time.time()))
        )

    @pytest.mark.parametrize("answer", ["", "n", "y"])
    def test_it_asks_before(self, busy: Measured, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        monkeypatch.setattr("builtins.input", lambda _: answer)
        if answer == "y":
            run("--clear", "all")
        else:
            with pytest.raises(CommandError, match="Nothing was forgotten"):
                run("--clear", "all")
        assert bool(busy.summary().views) is (answer != "y")

    def test_where_nobody_answers_it_says_what_to_give(
        self, busy: Measured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        with pytest.raises(CommandError, match="--yes"):
            run("--clear", "totals")
        assert busy.summary().views

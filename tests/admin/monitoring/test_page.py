"""The pages of what is measured: who may see them, what they say, and what may be done there."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from html import escape
from urllib.parse import urlencode

import msgspec
import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from perfkit.caching.store import current_store
from perfkit.models import Job, JobState
from perfkit.monitoring.boards import LOOPS, PROCESSES, STATEMENTS, Loop, Process, Seen, boards_of
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.ledgers import Ledger, Told
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import Series, pages_of
from tests.admin.conftest import text_of, told
from tests.admin.monitoring.conftest import MINUTES, options
from tests.admin.monitoring.days import STATEMENT_TEXTS, TASKS, VIEWS
from tests.caching.conftest import forget_everything
from tests.monitoring.events import add_event
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.django_db

PAGE = "/admin/perfkit/monitoring/"
FINGERPRINT = fingerprint_of(STATEMENT_TEXTS[0])
STATEMENT = {"alias": "default", "fingerprint": FINGERPRINT}
PAGES = {
    "": {},
    "view/": {"method": "GET", "view": VIEWS[0]},
    "statement/": STATEMENT,
    "statement/explain/": STATEMENT,
    "reads/": {"label": "shop.Model0"},
    "reads/invalidate/": {"label": "flights.Airline"},
    "task/": {"name": TASKS[0], "queue": "default"},
    "warm/": {},
}
ACTIONS = ("statement/explain/", "reads/invalidate/", "warm/")
EVIL = "<script>alert(1)</script>"
SECRET = "hunter2-of-ann"


def record(ledger: Ledger, *events: tuple[str, tuple[str, ...], tuple[int, int, int]]) -> None:
    """Tell a ledger of events of just now."""
    sums: dict[Series, dict[int, int]] = {}
    for kind, labels, numbers in events:
        series = Series(kind, labels)
        add_event(sums.setdefault(series, {}), series, *numbers)
    now = timezone.now().timestamp()
    ledger.add(Told(uuid.uuid4().hex, 1, int(now // 86_400), pages_of(sums, now)))


def post(ledger: Ledger, board: str, **notes: msgspec.Struct) -> None:
    packed = {name: msgspec.msgpack.encode(note) for name, note in notes.items()}
    now = timezone.now().timestamp()
    for name in [board] if board == PROCESSES else boards_of(board, now, now):
        ledger.post(name, packed, kept_seconds=60, most=100)


def note_statement(
    ledger: Ledger, text: str, *, view: str = "/shop/", method: str = "GET", fingerprint: str = ""
) -> dict[str, str]:
    """Have a statement be known and counted; return what its pages are asked for by."""
    name = fingerprint or fingerprint_of(text)
    post(ledger, STATEMENTS, **{name: Seen(text, "default", view, "shop/views.py:1", method)})
    record(ledger, ("query", ("default", "SELECT", name), (1500, 0, 0)))
    return {"alias": "default", "fingerprint": name}


def dead_job(name: str, queue: str = "heavy") -> Job:
    now = timezone.now()
    return Job.objects.create(
        name=name,
        queue=queue,
        arguments=[[], {}],
        state=JobState.DEAD,
        fence=1,
        lease_seconds=30,
        enqueued_at=now,
        finished_at=now,
    )


@pytest.mark.usefixtures("measuring")
class TestPermissions:
    def test_strangers_are_sent_to_the_login(self) -> None:
        for page in PAGES:
            for send in (Client().get, Client().post):
                answer = send(PAGE + page)
                assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={PAGE}{page}")

    def test_people_who_are_no_staff_are_too(self) -> None:
        client = Client()
        client.force_login(User.objects.create_user("joe"))
        assert {client.get(PAGE + page).status_code for page in PAGES} == {302}

    def test_staff_without_the_permission_is_refused(self, person: Callable[..., Client]) -> None:
        client = person("ware", "view")
        for page, query in PAGES.items():
            assert client.get(PAGE + page, query).status_code == 403
            assert client.post(PAGE + page, query).status_code == 403
        assert PAGE not in client.get("/admin/").content.decode()

    def test_who_may_act_and_not_view_does_neither(self, person: Callable[..., Client]) -> None:
        client = person("monitoring", "explain", "warm")
        assert {client.post(PAGE + page, query).status_code for page, query in PAGES.items()} == {403}

    def test_who_may_view_finds_it_and_cannot_act(self, viewer: Client, busy: Ledger) -> None:
        assert f'href="{PAGE}"' in viewer.get("/admin/").content.decode()
        for page, query in PAGES.items():
            expected = 403 if page in ACTIONS else 200
            answer = viewer.get(PAGE + page, query)
            assert answer.status_code == expected, page
            for action in ACTIONS:
                assert PAGE + action not in answer.content.decode()
        for action in ACTIONS:
            assert viewer.post(PAGE + action, PAGES[action]).status_code == 403
        assert LogEntry.objects.count() == 0

    def test_links_lead_only_where_one_may_go(self, person: Callable[..., Client], busy: Ledger) -> None:
        dead_job("shop.jobs.report")
        client = person("monitoring", "view", name="vera")
        page = client.get(PAGE).content.decode()
        assert "shop.jobs.report" in page
        assert "/admin/perfkit/job/" not in page
        assert "/admin/perfkit/cache/" not in client.get(PAGE + "reads/", PAGES["reads/"]).content.decode()

    @pytest.mark.parametrize("page", ["statement/explain/", "warm/"])
    def test_a_form_of_another_site_is_refused(self, page: str) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root"))
        assert client.post(PAGE + page, {**STATEMENT, "name": "airlines"}).status_code == 403
        assert LogEntry.objects.count() == 0
        assert Job.objects.count() == 0

    def test_there_is_nothing_else_to_do(self) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        for address in ("add/", "1/change/", "1/delete/", "1/history/"):
            assert client.get(PAGE + address).status_code == 404
        assert PAGE + "add/" not in client.get("/admin/perfkit/").content.decode()


class TestOverview:
    def test_it_shows_what_was_measured(self, viewer: Client, busy: Ledger) -> None:
        dead_job("shop.jobs.report")
        page = viewer.get(PAGE, {"since": "1h"})
        text = text_of(page)
        tables = {table.name: table for table in page.context["tables"]}
        assert set(tables) >= {
            "views", "statements", "reads", "loops", "queues", "tasks", "dead", "timed", "pools", "processes",
            "memory",
        }  # fmt: skip
        assert tables["views"].rows[0][0].text == f"GET {VIEWS[0]}"
        assert tables["statements"].rows[0][0].text == STATEMENT_TEXTS[0]
        first = tables["reads"].rows[0]
        assert (first[0].text, first[1].text) == ("shop.Model0", f"{40 * MINUTES:,}")
        assert "random order" in text
        assert 'Order.objects.select_related("customer")' in text
        assert tables["dead"].rows[0][1].text == "1"
        assert any("failed" in row[2].text for row in tables["tasks"].rows)
        assert {row[0].text for row in tables["processes"].rows} >= {"web", "worker"}
        assert tables["pools"].rows[0][1].text == "37.5%"
        assert len(page.context["charts"]) == 5
        assert "errornote" not in page.content.decode()

    def test_every_link_of_it_leads_somewhere(self, busy: Ledger) -> None:
        dead_job("shop.jobs.report")
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        page = client.get(PAGE, {"since": "1h"}).content.decode()
        main = page[page.index('id="content-main"') : page.index("</main>")]
        links = set(re.findall(r'href="([^"]+)"', main))
        kinds: dict[str, str] = {}
        for link in sorted(links):
            if link.startswith("#"):
                assert f'id="{link[1:]}"' in page, link
            else:
                kinds[link.partition("?")[0] or link] = link.replace("&amp;", "&")
        assert {kind.removeprefix(PAGE) for kind in kinds} >= {
            "view/", "statement/", "reads/", "task/", "warm/", "/admin/perfkit/job/",
        }  # fmt: skip
        for link in kinds.values():
            answer = client.get(PAGE + link if link.startswith("?") else link)
            assert answer.status_code == 200, link
            assert "Nothing was measured of it" not in text_of(answer), link

    def test_dead_letters_lead_to_the_jobs(self, busy: Ledger) -> None:
        dead_job("shop.jobs.report")
        dead_job("shop.jobs.other")
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        table = next(each for each in client.get(PAGE).context["tables"] if each.name == "dead")
        link = next(row[0].link for row in table.rows if row[0].text == "shop.jobs.report")
        page = client.get(link)
        assert [job.name for job in page.context["cl"].result_list] == ["shop.jobs.report"]

    def test_long_tables_are_cut_and_can_be_seen_whole(self, viewer: Client, busy: Ledger) -> None:
        cut = {table.name: table for table in viewer.get(PAGE, {"since": "1h"}).context["tables"]}
        whole = {
            table.name: table for table in viewer.get(PAGE, {"since": "1h", "all": "1"}).context["tables"]
        }
        assert len(cut["views"].rows) == 10
        assert len(whole["views"].rows) >= 10 + cut["views"].more > 10
        assert whole["views"].more == 0

    def test_it_takes_any_range(self, viewer: Client, busy: Ledger) -> None:
        for since in ("15m", "1h", "6h", "24h"):
            assert viewer.get(PAGE, {"since": since}).context["summary"].range == since
        assert viewer.get(PAGE, {"since": EVIL}).context["summary"].range == "1h"

    def test_it_says_what_is_worse_than_it_should_be_and_leads_there(
        self, viewer: Client, ledger: Ledger
    ) -> None:
        record(ledger, *[("request", ("GET", "/slow/", "2xx"), (2_000_000, 0, 0))] * 30)
        page = viewer.get(PAGE)
        assert "One request of 20 takes more than" in text_of(page)
        assert page.context["warnings"][0][1] == "#views"

    def test_it_says_how_to_begin(self, viewer: Client, ledger: Ledger, settings: LazySettings) -> None:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if each != "perfkit.monitoring.metrics"]
        ledger.clear([PROCESSES])
        page = viewer.get(PAGE)
        if page.context[
            "is_empty"
        ]:  # not where this process is the whole project: it has just asked for a user
            assert "put this first in MIDDLEWARE" in text_of(page)
        recorder.forget()  # what the page itself took is not to be told under the next settings
        settings.PERFKIT = options("pages-off", METRICS_ENABLED=False)
        text = text_of(viewer.get(PAGE))
        assert "METRICS_ENABLED is off" in text
        assert '"METRICS_ENABLED": True' in text
        assert "put this first in MIDDLEWARE" in text

    @pytest.mark.redis
    def test_while_the_server_is_down_it_shows_what_this_process_knows(
        self,
        viewer: Client,
        settings: LazySettings,
        valkey_server: Callable[[], DisposableValkey],
        measuring: None,
    ) -> None:
        server = valkey_server()
        settings.PERFKIT = options("pages", CACHE_TIMEOUT=0.5)
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        forget_everything()
        viewer.get(PAGE)
        server.kill()
        viewer.get("/admin/")
        page = viewer.get(PAGE)
        assert page.status_code == 200
        assert "The cache server does not answer" in text_of(page)
        assert "in this process" in text_of(page)
        assert any("/admin/" in row[0].text for table in page.context["tables"] for row in table.rows)
        for name, query in PAGES.items():
            if name not in ACTIONS:
                assert viewer.get(PAGE + name, query).status_code == 200, name

    def test_without_a_server_it_says_that_it_is_this_process(
        self, viewer: Client, settings: LazySettings, measuring: None
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        forget_everything()
        viewer.get("/admin/")
        page = viewer.get(PAGE)
        assert "these are the figures of the one that has made this page" in text_of(page)
        views = next(table for table in page.context["tables"] if table.name == "views")
        assert any("/admin/" in row[0].text for row in views.rows)


class TestDetails:
    def test_a_view_has_its_figures_its_statements_and_what_to_do(self, viewer: Client, busy: Ledger) -> None:
        page = viewer.get(PAGE + "view/", {**PAGES["view/"], "since": "1h"})
        tiles = {tile.name: tile.text for tile in page.context["tiles"]}
        assert tiles["Queries each"] == "4.0"
        assert int(tiles["Requests"].replace(",", "")) == 63 * MINUTES
        assert len(page.context["charts"]) == 2
        [table] = page.context["tables"]
        assert table.rows[0][0].text == STATEMENT_TEXTS[0]
        assert all(VIEWS[0] in row[0].notes for row in table.rows)
        assert "of its answers are errors" in text_of(page)

    def test_a_statement_has_its_text_and_where_it_was_seen(self, viewer: Client, busy: Ledger) -> None:
        page = viewer.get(PAGE + "statement/", {**STATEMENT, "since": "1h"})
        text = text_of(page)
        assert STATEMENT_TEXTS[0] in text
        assert "shop/views.py:1" in text
        assert {tile.name: tile.text for tile in page.context["tiles"]}["Calls"] == f"{81 * MINUTES:,}"
        assert len(page.context["charts"]) == 2

    def test_reads_have_their_reasons(self, viewer: Client, busy: Ledger) -> None:
        page = viewer.get(PAGE + "reads/", {**PAGES["reads/"], "since": "1h"})
        assert {tile.name: tile.text for tile in page.context["tiles"]}["Hit rate"] == "97.6%"
        assert f"random order {MINUTES}" in text_of(page)
        assert len(page.context["charts"]) == 1

    def test_former_values_that_were_shown_are_hits_in_the_chart_too(
        self, viewer: Client, ledger: Ledger
    ) -> None:
        events = [("hit", "")] * 2 + [("hit", "stale")] * 6 + [("miss", "")] * 2
        record(ledger, *(("cache", ("shop.top", *event), (1, 0, 0)) for event in events))
        page = viewer.get(PAGE + "reads/", {"label": "shop.top", "since": "1h"})
        assert {tile.name: tile.text for tile in page.context["tiles"]}["Hit rate"] == "80.0%"
        (chart,) = page.context["charts"]
        assert chart.rows[-1].texts == ("80.0%",)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_statement_leads_to_the_request_that_sent_it_first(
        self, viewer: Client, ledger: Ledger, method: str
    ) -> None:
        query = note_statement(ledger, "SELECT ?", view="/shop/orders/", method=method)
        record(ledger, ("request", (method, "/shop/orders/", "2xx"), (1000, 0, 0)))
        page = viewer.get(PAGE + "statement/", {**query, "since": "1h"}).content.decode()
        assert f"{method} /shop/orders/</a>" in page
        (link,) = re.findall(r'href="([^"]+/view/[^"]+)"', page)
        assert "Nothing was measured of it" not in text_of(viewer.get(link.replace("&amp;", "&")))

    @pytest.mark.parametrize("view", ["/shop/orders/", "shop.tasks.report", ""])
    def test_where_no_request_sent_it_first_the_place_is_a_text(
        self, viewer: Client, ledger: Ledger, view: str
    ) -> None:
        query = note_statement(ledger, "SELECT ?", view=view, method="")
        page = viewer.get(PAGE + "statement/", query).content.decode()
        assert view in page
        assert f"{PAGE}view/" not in page

    def test_a_view_has_the_statements_of_its_own_method(self, viewer: Client, ledger: Ledger) -> None:
        note_statement(ledger, "SELECT a FROM t", method="GET")
        note_statement(ledger, "SELECT b FROM t", method="POST")
        record(ledger, *(("request", (method, "/shop/", "2xx"), (1000, 0, 0)) for method in ("GET", "POST")))
        text = text_of(viewer.get(PAGE + "view/", {"method": "POST", "view": "/shop/", "since": "1h"}))
        assert "SELECT b FROM t" in text
        assert "SELECT a FROM t" not in text

    def test_a_task_has_its_outcomes_and_the_wait_of_its_queue(self, viewer: Client, busy: Ledger) -> None:
        page = viewer.get(PAGE + "task/", {**PAGES["task/"], "since": "1h"})
        assert f"failed {MINUTES}" in text_of(page)
        assert [table.name for table in page.context["tables"]] == ["outcomes", "queues"]
        assert len(page.context["charts"]) == 2

    @pytest.mark.parametrize("page", ["view/", "statement/", "reads/", "task/"])
    @pytest.mark.parametrize("query", [{}, {"method": "X", "view": "?", "fingerprint": "no", "name": "n"}])
    def test_what_is_not_known_is_said(
        self, viewer: Client, ledger: Ledger, page: str, query: dict[str, str]
    ) -> None:
        answer = viewer.get(PAGE + page, query)
        assert answer.status_code == 200
        assert "Nothing was measured of it in this time." in text_of(answer)


class TestHostileText:
    def test_it_stays_text_on_every_page(self, operator: Client, ledger: Ledger) -> None:
        statement = note_statement(ledger, f'SELECT "{EVIL}" FROM "a"', view=f"/{EVIL}/")
        record(
            ledger,
            ("request", ("GET", f"/{EVIL}/", "2xx"), (1000, 0, 0)),
            ("cache", (EVIL, "bypass", EVIL), (3, 0, 0)),
            ("task", (EVIL, EVIL, EVIL), (1000, 0, 0)),
            ("wait", (EVIL,), (1000, 0, 0)),
            ("timed", (EVIL,), (1000, 0, 0)),
            ("model", (EVIL, "done"), (1000, 0, 0)),
            ("loop", (EVIL, EVIL), (1, 30, 0)),
            ("limit", (EVIL, EVIL), (1, 0, 0)),
            ("pool", (EVIL,), (1, 1, 1)),
        )
        post(ledger, LOOPS, **{f"{EVIL}\t{EVIL}": Loop(EVIL, EVIL, (EVIL,), EVIL, EVIL, 30)})
        now = timezone.now().timestamp()
        post(ledger, PROCESSES, p=Process(now, EVIL, 1, EVIL, now, 0, 0, ()))
        dead_job(EVIL)
        queries = {
            **PAGES,
            "view/": {"method": "GET", "view": f"/{EVIL}/"},
            "statement/": statement,
            "statement/explain/": statement,
            "reads/": {"label": EVIL},
            "task/": {"name": EVIL, "queue": EVIL},
        }
        for name, query in queries.items():
            if name == "reads/invalidate/":
                continue
            page = operator.get(PAGE + name, query).content.decode()
            assert EVIL not in page, name
            if name != "warm/":
                assert escape(EVIL) in page, name

    def test_what_is_asked_for_stays_text(self, operator: Client, ledger: Ledger) -> None:
        for name in PAGES:
            keys = ("method", "view", "alias", "fingerprint", "label", "name", "queue", "since")
            answer = operator.get(PAGE + name, dict.fromkeys(keys, f'">{EVIL}'))
            assert EVIL not in answer.content.decode(), name

    def test_no_script_and_no_style_of_its_own(self, operator: Client, busy: Ledger) -> None:
        for name, query in PAGES.items():
            if name == "reads/invalidate/":
                continue
            page = operator.get(PAGE + name, query).content.decode()
            main = page[page.index('id="content-main"') : page.index("</main>")]
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", main), name

    def test_values_of_statements_are_not_shown(self, viewer: Client, ledger: Ledger) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT '{SECRET}' AS planted")  # a literal in the text
            cursor.execute("SELECT %s AS planted", [SECRET])
        User.objects.filter(username=SECRET, password=SECRET).exists()
        recorder.tell()
        page = viewer.get(PAGE, {"all": "1"}).content.decode()
        assert "AS planted" in page
        assert SECRET not in page
        for link in set(re.findall(rf'href="({PAGE}statement/[^"]+)"', page)):
            assert SECRET not in viewer.get(link.replace("&amp;", "&")).content.decode()


@pytest.mark.postgres
class TestExplain:
    def test_it_asks_first_and_then_shows_the_plan(self, operator: Client, ledger: Ledger) -> None:
        query = note_statement(ledger, 'SELECT "id" FROM "auth_user" WHERE "username" = %s LIMIT ?')
        asked = operator.get(PAGE + "statement/explain/", query)
        assert "Shall the database be asked" in text_of(asked)
        assert "csrfmiddlewaretoken" in asked.content.decode()
        assert LogEntry.objects.count() == 0
        page = operator.post(PAGE + "statement/explain/", query)
        assert "Index Scan" in page.context["plan"]
        assert "cost=" in text_of(page)
        assert LogEntry.objects.get().change_message == "Explained."
        assert f"{PAGE}statement/?alias" in page.content.decode()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('DELETE FROM "auth_user"', "begin with SELECT"),
            ('SELECT "id" FROM "auth_user"; DELETE FROM "auth_user"', "symbols not known"),
            ("SELECT pg_sleep(?)", "calls pg_sleep"),
        ],
    )
    def test_what_could_do_anything_is_refused(
        self, operator: Client, ledger: Ledger, text: str, said: str
    ) -> None:
        query = note_statement(ledger, text)
        assert said in text_of(operator.get(PAGE + "statement/", query))
        for send in (operator.get, operator.post):
            page = send(PAGE + "statement/explain/", query)
            assert said in text_of(page)
            assert "plan" not in page.context or not page.context["plan"]
        assert LogEntry.objects.count() == 0
        assert User.objects.filter(username="otto").exists()

    def test_a_text_under_another_name_is_refused(self, operator: Client, ledger: Ledger) -> None:
        query = note_statement(ledger, 'SELECT "id" FROM "auth_user"', fingerprint="0" * 12)
        page = operator.post(PAGE + "statement/explain/", query)
        assert "not that of the statement" in text_of(page)

    def test_an_alias_of_nobody_is_refused(self, operator: Client, ledger: Ledger) -> None:
        query = note_statement(ledger, 'SELECT "id" FROM "auth_user"')
        page = operator.post(PAGE + "statement/explain/", {**query, "alias": "elsewhere"})
        assert "no database of that alias" in text_of(page)

    def test_what_the_database_refuses_is_told(self, operator: Client, ledger: Ledger) -> None:
        query = note_statement(ledger, 'SELECT "id" FROM "nowhere"')
        page = operator.post(PAGE + "statement/explain/", query)
        assert 'relation "nowhere" does not exist' in text_of(page)


class TestWarm:
    def test_it_asks_which_and_leaves_it_to_a_worker(self, operator: Client, measuring: None) -> None:
        asked = operator.get(PAGE + "warm/")
        assert "airlines" in text_of(asked)
        assert Job.objects.count() == 0
        page = operator.post(PAGE + "warm/", {"name": "airlines"}, follow=True)
        job = Job.objects.get()
        assert (job.name, job.arguments) == ("perfkit.warm_cache", [[["airlines"]], {}])
        assert told(page) == [f"The warmer airlines is left to a worker, as job {job.id}."]
        assert LogEntry.objects.get().object_repr == "airlines"

    def test_it_refuses_a_warmer_that_nobody_registered(self, operator: Client, measuring: None) -> None:
        page = operator.post(PAGE + "warm/", {"name": "password"})
        assert "not one of the available choices" in text_of(page)
        assert Job.objects.count() == 0


@pytest.mark.django_db(transaction=True)
class TestInvalidate:
    def test_it_asks_first_and_the_page_of_the_cache_does_it(self, busy: Ledger) -> None:
        record(busy, ("cache", ("flights.Airline", "hit", ""), (5, 0, 0)))
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        reads = client.get(PAGE + "reads/", {"label": "flights.Airline"}).content.decode()
        assert f"{PAGE}reads/invalidate/?{urlencode({'label': 'flights.Airline'})}" in reads
        asked = client.get(PAGE + "reads/invalidate/", {"label": "flights.Airline"}).content.decode()
        action = re.search(r'<form method="post" action="(/admin/perfkit/cache/[^"]+)"', asked)
        assert action
        page = client.post(action[1], {"name": "flights.Airline"}, follow=True)
        assert told(page) == ["Invalidated flights.Airline: from now on a read asks the database first."]

    def test_only_models_of_the_project_are_offered(self, busy: Ledger) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        assert (
            "reads/invalidate" not in client.get(PAGE + "reads/", {"label": "shop.Model0"}).content.decode()
        )


def test_its_permissions_are_made_by_the_migrations(db: None) -> None:
    call_command("makemigrations", "perfkit", "--check", "--dry-run", verbosity=0)
    assert current_store() is not None

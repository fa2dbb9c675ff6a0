"""The pages in a real browser: at a desk and on a phone, in light and dark, under a strict policy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlencode

import msgspec
import pytest
from django.conf import LazySettings
from playwright.sync_api import Page, expect

from perfkit.caching.coherence import breaker
from perfkit.indexing.advisor.keeping import keep
from perfkit.models import IndexAdvice
from perfkit.monitoring.boards import STATEMENTS, Seen, boards_of
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.ledgers import Ledger
from tests.admin.browsing import fits, violations
from tests.admin.monitoring.conftest import options
from tests.admin.monitoring.days import STATEMENT_TEXTS, TASKS, VIEWS
from tests.caching.conftest import forget_everything
from tests.indexing.advisor.test_keeping import SHAPE, TO_ADD, TO_DROP, report, workload
from tests.plugins.browser import SIZES
from tests.plugins.valkey import DisposableValkey

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("measuring"),
]

BASE = "/admin/perfkit/monitoring/"
FINGERPRINT = fingerprint_of(STATEMENT_TEXTS[0])
PAGES = {
    "overview": f"{BASE}?since=15m",
    "view": f"{BASE}view/?{urlencode({'method': 'GET', 'view': VIEWS[0], 'since': '1h'})}",
    "statement": f"{BASE}statement/?{urlencode({'alias': 'default', 'fingerprint': FINGERPRINT})}",
    "reads": f"{BASE}reads/?{urlencode({'label': 'shop.Model0'})}",
    "task": f"{BASE}task/?{urlencode({'name': TASKS[0], 'queue': 'default'})}",
    "warm": f"{BASE}warm/",
    "invalidate": f"{BASE}reads/invalidate/?{urlencode({'label': 'flights.Airline'})}",
    "explain": f"{BASE}statement/explain/?{urlencode({'alias': 'default', 'fingerprint': FINGERPRINT})}",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_can_be_read_by_everybody(
    opened: Callable[..., Page],
    busy: Ledger,
    looked_at: Callable[[Page, str], None],
    size: str,
    scheme: str,
) -> None:
    page = opened(PAGES["overview"], size=size, scheme=scheme)
    found = {}
    for name, address in PAGES.items():
        page.goto(address)
        looked_at(page, f"{name}-{size}-{scheme}")
        assert fits(page), name
        found[name] = violations(page)
    assert found == {name: [] for name in PAGES}


@pytest.mark.parametrize("size", SIZES)
def test_it_says_how_to_begin(
    opened: Callable[..., Page], settings: LazySettings, looked_at: Callable[[Page, str], None], size: str
) -> None:
    settings.PERFKIT = options("pages", METRICS_ENABLED=False)
    page = opened(BASE, size=size)
    looked_at(page, f"empty-{size}")
    expect(page.locator(".empty")).to_contain_text("Nothing was measured")
    expect(page.locator(".errornote")).to_contain_text("METRICS_ENABLED")
    assert fits(page)
    assert violations(page) == []


@pytest.mark.redis
@pytest.mark.parametrize("size", SIZES)
def test_it_is_there_while_the_cache_server_is_down(
    opened: Callable[..., Page],
    settings: LazySettings,
    valkey_server: Callable[[], DisposableValkey],
    looked_at: Callable[[Page, str], None],
    size: str,
) -> None:
    server = valkey_server()
    settings.PERFKIT = options("pages", CACHE_TIMEOUT=0.5)
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    forget_everything()
    page = opened(BASE, size=size)
    server.kill()
    page.reload()
    page.reload()  # shows what was measured of the one before
    looked_at(page, f"down-{size}")
    expect(page.locator(".errornote")).to_contain_text("The cache server does not answer")
    expect(page.locator("#views")).to_contain_text("admin/perfkit/monitoring")
    assert fits(page)
    assert violations(page) == []
    page.goto(PAGES["statement"])
    expect(page.locator(".errornote")).to_contain_text("The cache server does not answer")
    breaker.succeeded()


def test_it_goes_by_keyboard(opened: Callable[..., Page], busy: Ledger) -> None:
    page = opened(PAGES["overview"])
    page.locator(".ranges a").first.focus()
    expected = [*page.locator(".ranges a").all_inner_texts(), "Warm the cache"]
    reached = []
    for _ in expected:
        reached.append(page.evaluate("document.activeElement.innerText"))
        page.keyboard.press("Tab")
    assert reached == expected
    assert page.evaluate("document.activeElement.closest('.figures') !== null")
    summary = page.locator("#requests-over-time summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#requests-over-time table")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#requests-over-time .scrolls")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_its_charts_and_tables_say_what_they_are(opened: Callable[..., Page], busy: Ledger) -> None:
    page = opened(PAGES["overview"])
    expect(page.get_by_role("navigation", name="Range")).to_be_visible()
    expect(page.get_by_role("link", name="15 minutes")).to_have_attribute("aria-current", "true")
    chart = page.get_by_role("img", name="Requests a second")
    expect(chart).to_have_accessible_description(re.compile(r"^From .* All: .* at the end, .* Failed: "))
    views = page.get_by_role("table", name="Views, those that took the most time first")
    expect(views.get_by_role("rowheader", name=f"GET {VIEWS[0]}", exact=True)).to_be_visible()
    expect(views.get_by_role("columnheader", name="P95")).to_be_visible()


def test_it_needs_no_script(opened: Callable[..., Page], busy: Ledger) -> None:
    page = opened(PAGES["overview"], scripts=False)
    expect(page.locator("svg.chart")).to_have_count(5)
    page.locator("#latency-over-time summary").click()
    expect(page.locator("#latency-over-time table")).to_be_visible()
    page.get_by_role("link", name="6 hours").click()
    expect(page.get_by_role("link", name="6 hours")).to_have_attribute("aria-current", "true")
    page.locator("#views").get_by_role("link", name=f"GET {VIEWS[0]}", exact=True).click()
    expect(page.locator(".subject")).to_have_text(f"GET {VIEWS[0]}")
    page.locator("#statements").get_by_role("link").first.click()
    expect(page.locator("pre")).to_have_text(STATEMENT_TEXTS[0])
    page.get_by_role("link", name="Monitoring").last.click()
    page.get_by_role("link", name="Warm the cache").click()
    page.get_by_label("Warmer").select_option("airlines")
    page.get_by_role("button", name="Warm").click()
    expect(page.locator(".messagelist .success")).to_contain_text("The warmer airlines is left to a worker")


@pytest.mark.postgres
def test_a_plan_is_asked_for_and_shown(opened: Callable[..., Page], ledger: Ledger) -> None:
    text = 'SELECT "id" FROM "auth_user" WHERE "username" = %s'
    name = fingerprint_of(text)
    note = msgspec.msgpack.encode(Seen(text, "default", "/shop/", "shop/views.py:1"))
    [today] = boards_of(STATEMENTS, time.time(), time.time())
    ledger.post(today, {name: note}, kept_seconds=60, most=100)
    page = opened(f"{BASE}statement/?{urlencode({'alias': 'default', 'fingerprint': name})}")
    page.get_by_role("link", name="Explain").click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="Explain").click()
    page.get_by_role("button", name="Explain").click()
    # Which scan it is the planner says, by what it knows of a small table.
    expect(page.locator("pre.plan")).to_contain_text(re.compile(r"Scan (using \S+ )?on auth_user"))
    assert violations(page) == []
    page.get_by_role("link", name="6 hours").click()
    expect(page.locator("pre.plan")).to_have_count(0)
    expect(page.locator("pre")).to_have_text(text)


def advised() -> IndexAdvice:
    """Keep advice, and return the one with something to show."""
    keep(report(TO_ADD, TO_DROP), workload(0.5))
    IndexAdvice.objects.filter(kind="missing").update(outcome={SHAPE: 0.002})
    return IndexAdvice.objects.get(kind="missing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_index_advice_can_be_read_by_everybody(
    opened: Callable[..., Page], looked_at: Callable[[Page, str], None], size: str, scheme: str
) -> None:
    row = advised()
    own = f"/admin/perfkit/indexadvice/{row.pk}"
    page = opened(f"{own}/change/", size=size, scheme=scheme)
    found = {}
    for name in ("change", "accept", "dismiss"):
        page.goto(f"{own}/{name}/")
        looked_at(page, f"advice-{name}-{size}-{scheme}")
        assert fits(page), name
        found[name] = violations(page)
    assert found == {name: [] for name in found}
    page.goto(BASE)
    looked_at(page, f"advice-overview-{size}-{scheme}")
    expect(page.locator("#index-advice")).to_contain_text(row.index_name)
    page.goto("/admin/perfkit/indexadvice/")
    looked_at(page, f"advice-list-{size}-{scheme}")


@pytest.mark.parametrize("size", SIZES)
def test_index_advice_is_dismissed_without_scripts(opened: Callable[..., Page], size: str) -> None:
    row = advised()
    page = opened(BASE, size=size, scripts=False)
    page.locator("#index-advice").get_by_role("link", name=row.index_name).click()
    page.get_by_role("link", name="Dismiss").click()
    page.get_by_label("Reason").fill("It is small.")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".messagelist")).to_contain_text("That is kept.")
    row.refresh_from_db()
    assert (row.state, row.note, row.decided_by) == ("dismissed", "It is small.", "demo")

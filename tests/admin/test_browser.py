"""The other pages of the admin in a real browser: cache, jobs, large lists, import; full, empty, in an outage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from playwright.sync_api import Page, expect

from perfkit.caching.coherence import breaker
from perfkit.caching.counting import counting
from perfkit.caching.store import current_store
from perfkit.jobs import run_job
from perfkit.models import Job, JobState
from perfkit.signals import cache_read
from tests.admin.browsing import fits, violations
from tests.admin.tomes import make_tomes
from tests.caching.conftest import forget_everything
from tests.plugins.browser import SIZES
from tests.plugins.valkey import DisposableValkey
from tests.testapp import jobs
from tests.testapp.models import Item

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CACHE = "/admin/perfkit/cache/"
JOBS = "/admin/perfkit/job/"
TOMES = "/admin/testapp/tome/"
IMPORT = "/admin/testapp/ware/import/"
ROWS = "sku,name,price\n" + "".join(f"S{number},Tea number {number},1.50\n" for number in range(4))
WRONG = ROWS + "S9,Wrong,cheap\nS9,,2\n"


@pytest.fixture(autouse=True)
def _fresh(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(counting, "taker", None)  # what others have measured on the same server
    caches = settings.CACHES
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_RETRY_AFTER": 0.1}
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    yield
    settings.CACHES = caches
    forget_everything()
    breaker.succeeded()
    store.clear()


def _fill() -> None:
    """Have reads that were counted, jobs in each state, and a list with several pages."""
    for outcome, reason, times in (("hit", "", 1234), ("miss", "", 56), ("bypass", "random order", 7)):
        for _ in range(times):
            cache_read.send(Item, outcome=outcome, reason=reason)
    jobs.leave_effect.enqueue(1)
    run_job(jobs.tell.enqueue(4, 0).id)
    failing = jobs.fail.enqueue(1, "open sesame", kind="no")
    with pytest.raises(ValueError, match="no way"):
        run_job(failing.id)
    make_tomes(250)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_can_be_read_by_everybody(
    opened: Callable[..., Page],
    looked_at: Callable[[Page, str], None],
    tmp_path: Path,
    size: str,
    scheme: str,
) -> None:
    page = opened(CACHE, size=size, scheme=scheme)
    _fill()
    found: dict[str, list[Any]] = {}

    def look(name: str, address: str = "") -> None:
        if address:
            page.goto(address)
        looked_at(page, f"{name}-{size}-{scheme}")
        assert fits(page), name
        found[name] = violations(page)

    dead = Job._base_manager.get(state=JobState.DEAD)
    look("cache", f"{CACHE}?keys=1&o=-hits")
    page.get_by_label("Model or tag").fill("no.Such")
    page.get_by_role("button", name="Invalidate").click()
    look("cache-refused")
    page.goto(JOBS)
    looked_at(page, f"jobs-{size}-{scheme}")  # the frame of these is Django's own
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    page.goto(f"{JOBS}{dead.pk}/change/")
    looked_at(page, f"job-{size}-{scheme}")
    expect(page.locator("#content-main")).to_contain_text("no way")
    page.goto(f"{TOMES}?p=2")
    looked_at(page, f"tomes-{size}-{scheme}")
    for name, rows in (("import", ROWS), ("import-wrong", WRONG)):
        file = tmp_path / f"{name}.csv"
        file.write_text(rows)
        look(f"{name}-upload", IMPORT)
        page.locator("input[type=file]").set_input_files(file)
        page.locator(".submit-row input[type=submit]").click()
        look(f"{name}-columns")
        page.get_by_role("button", name="Check").click()
        look(f"{name}-report")
    assert found == {name: [] for name in found}


@pytest.mark.parametrize("size", SIZES)
def test_empty_pages_say_so(
    opened: Callable[..., Page], looked_at: Callable[[Page, str], None], size: str
) -> None:
    page = opened(CACHE, size=size)
    looked_at(page, f"cache-empty-{size}")
    expect(page.locator("#reads")).to_contain_text("None were counted.")
    assert fits(page)
    page.goto(JOBS)
    looked_at(page, f"jobs-empty-{size}")
    expect(page.locator(".paginator")).to_contain_text("0 jobs")
    page.goto(TOMES)
    looked_at(page, f"tomes-empty-{size}")


@pytest.mark.redis
@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_the_cache_is_there_while_its_server_is_down(
    opened: Callable[..., Page],
    settings: LazySettings,
    valkey_server: Callable[[], DisposableValkey],
    looked_at: Callable[[Page, str], None],
    size: str,
) -> None:
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    forget_everything()
    page = opened(CACHE, size=size)
    server.kill()
    page.reload()
    looked_at(page, f"cache-down-{size}")
    expect(page.locator(".errornote")).to_contain_text("The cache server does not answer")
    assert fits(page)
    assert violations(page) == []

"""The demo's pages in a real browser, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from perfkit.admin import open_lists
from perfkit.models import Job, JobState
from project.flights.models import Airline, Flight
from tests.admin.tomes import estimate_tomes, make_tomes
from tests.flights.factories import make_flights, make_reference_rows
from tests.plugins.browser import SIZES
from tests.testapp.imported import Crate, Maker, Parcel, Sticker
from tests.testapp.large import Tome

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EXPECTED = ("favicon.ico", "404 (Not Found)", "ERR_ABORTED")
"""The icon that browsers ask for where a page names none (and how they say so); a request superseded by typing."""


@pytest.fixture(params=SIZES, ids=list(SIZES))
def page(browser: Browser, live_server: LiveServer, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height}, base_url=live_server.url)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda failed: troubles.append(f"{failed.url}: {failed.failure}"))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("response", lambda got: troubles.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    yield page
    page.close()
    assert [each for each in troubles if not any(word in each for word in EXPECTED)] == []


def log_in(page: Page, **user: Any) -> None:
    User.objects.create_superuser("demo", password="only-for-tests")
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("demo")
    page.get_by_label("Password").fill("only-for-tests")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")


def test_the_front_page_leads_on(page: Page) -> None:
    page.goto("/")

    assert page.get_by_role("heading", level=1).inner_text() == "perfkit demo"
    page.get_by_role("link", name="Administration").click()
    page.wait_for_url("**/admin/login/**")


def test_the_front_page_fits_its_window(page: Page) -> None:
    page.goto("/")

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_people_browse_flights(page: Page) -> None:
    make_flights(45)
    Flight.objects.filter(number=45).update(dep_time=None, dep_delay=None)
    make_flights(1, number=900, airline_id="AA", origin_id="JFK", dep_delay=95, plane_id=None, tailnum="N999")
    page.goto("/")
    page.get_by_role("link", name="Flights", exact=True).click()
    page.wait_for_url("**/flights/")
    rows = page.locator("table.flights tbody tr")
    expect(rows).to_have_count(20)
    expect(rows.first.get_by_role("rowheader")).to_contain_text("UA 45")
    expect(rows.first.get_by_role("cell", name="cancelled")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("20 flights, read in 1 query that took")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator(".wide").evaluate("table => table.scrollWidth <= table.clientWidth")

    page.get_by_role("link", name="Next").click()
    expect(rows.first.get_by_role("rowheader")).to_contain_text("UA 25")
    page.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(6)
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(rows.first.get_by_role("rowheader")).to_contain_text("UA 25")

    page.get_by_label("Airline").select_option("AA American Airlines Inc.")
    page.get_by_label("From").select_option("JFK John F Kennedy Intl")
    page.get_by_label("To").select_option("IAH Houston")
    page.get_by_label("Day").fill("2013-01-01")
    page.get_by_label("Least delay").fill("60")
    page.get_by_label("Least delay").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows.get_by_role("cell", name="95 min")).to_be_visible()
    expect(page.get_by_label("Airline")).to_have_value("AA")
    page.get_by_label("Least delay").fill("96")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("No flights")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name="Clear").click()
    expect(rows).to_have_count(20)


def test_the_page_of_flights_goes_by_keyboard_and_names_its_parts(page: Page) -> None:
    make_flights(21)
    page.goto("/flights/")
    for _ in range(2):  # past the link to the front page
        page.keyboard.press("Tab")
    expect(page.get_by_label("Airline")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("From")).to_be_focused()
    expect(page.get_by_role("search", name="Filters")).to_be_visible()
    expect(page.get_by_role("region", name="Flights")).to_be_visible()
    expect(page.get_by_role("table", name="Flights, the latest hour first")).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    sizes = page.locator("select, input, button, nav.pages a").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 40  # for fingers


def test_the_page_of_flights_says_what_it_refuses(page: Page) -> None:
    make_flights(1)
    page.goto("/flights/?airline=DL&min_delay=soon")
    expect(page.locator(".error")).to_have_count(2)
    expect(page.get_by_label("Airline")).to_have_attribute("aria-invalid", "true")
    described = page.get_by_label("Airline").get_attribute("aria-describedby")
    assert described
    expect(page.locator(f"#{described}")).to_contain_text("DL")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was looked for")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    page.goto("/flights/?cursor=damaged")
    page.get_by_role("alert").get_by_role("link", name="Go to the first page").click()
    expect(page.locator("table.flights tbody tr")).to_have_count(1)


def test_the_page_of_flights_runs_nothing_that_is_written_into_it(page: Page) -> None:
    make_flights(1)
    Airline.objects.filter(pk="UA").update(name="<script>document.title = 'run'</script>")
    response = page.goto("/flights/")
    assert response is not None
    policy = response.header_value("Content-Security-Policy")
    assert policy is not None
    assert "unsafe" not in policy
    expect(page.locator("table.flights")).to_contain_text("<script>")
    expect(page).to_have_title("Flights out of New York")


def test_the_documentation_of_the_api_tries_an_endpoint(page: Page) -> None:
    page.goto("/api/docs")
    page.locator(
        "#operations-airports-project_flights_api_list_airports button.opblock-summary-control"
    ).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()


def test_the_admin_lists_and_searches_flights(page: Page) -> None:
    make_flights(2, number=1545)
    log_in(page)
    page.goto("/admin/flights/flight/")
    rows = page.locator("#result_list tbody tr")
    assert sorted(rows.locator(".field-__str__").all_inner_texts()) == [
        "UA1545 2013-01-01",
        "UA1546 2013-01-01",
    ]
    page.locator("#searchbar").fill("UA1545")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=UA1545**")

    expect(rows.locator(".field-__str__")).to_have_text(["UA1545 2013-01-01"])
    rows.get_by_role("link", name="UA1545").click()
    flight = Flight.objects.get(number=1545)
    page.wait_for_url(f"**/admin/flights/flight/{flight.pk}/change/**")
    expect(page.get_by_label("Flight number")).to_have_value("1545")


def test_the_admin_finds_an_airport_as_one_types(page: Page) -> None:
    make_reference_rows()
    log_in(page)
    page.goto("/admin/flights/flight/add/")
    page.locator(".field-origin .select2-selection").click()
    page.locator(".select2-search__field").fill("JF")

    options = page.locator(".select2-results__option:not(.loading-results)")
    options.filter(has_text="JFK John F Kennedy Intl").click()

    expect(page.locator(".field-origin .select2-selection__rendered")).to_contain_text(
        "JFK John F Kennedy Intl"
    )
    assert page.locator("#id_origin").input_value() == "JFK"


def test_the_admin_leads_through_a_large_list(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_lists, "SHALLOW_ROWS", 10)
    make_tomes(100)
    estimate_tomes(-1)
    whole = [tome.title for tome in Tome.objects.order_by("-added", "-pk")]
    log_in(page)
    page.goto("/admin/testapp/tome/?_facets")
    shown, bottom = page.locator("#result_list .field-__str__"), page.locator(".paginator")
    expect(page.locator(".messagelist .warning")).to_contain_text("counts beside the filters are left out")
    for number in (4, 7, 10, 9):
        bottom.get_by_role("link", name=str(number), exact=True).or_(
            bottom.get_by_role("button", name=str(number), exact=True)
        ).click()
        expect(shown).to_have_text(whole[(number - 1) * 5 : number * 5])
    expect(bottom).to_contain_text("20+ tomes")
    assert "p=9~0~" in page.url
    page.locator("#action-toggle").check()
    page.get_by_text("Select all 20+ tomes").click()
    expect(page.locator(".actions .all")).to_have_text("All 20+ selected")
    bottom.get_by_text("last", exact=True).click()
    expect(shown).to_have_text(whole[-5:])
    page.get_by_role("textbox", name="kind").fill("K1")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**kind=K1**")
    expect(bottom).to_contain_text("20+ tomes")
    expect(page.locator("#changelist-filter li.selected").get_by_text("K1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_admin_imports_what_was_looked_at(page: Page) -> None:
    Airline.objects.create(code="UA", name="Untied")
    log_in(page)
    page.goto("/admin/flights/airline/")
    page.get_by_role("link", name="Import").click()
    content = b"Carrier,Name,Fleet\nUA,United,900\nDL,Delta,800\nXXX,Nobody,1\n"
    upload = {"name": "airlines.csv", "mimeType": "text/csv", "buffer": content}
    page.get_by_label("CSV file").set_input_files(upload)  # type: ignore[arg-type]  # as its docs have it
    page.get_by_role("button", name="Upload").click()
    page.get_by_label("Carrier").select_option("Code")
    page.get_by_label("Update the rows that have the same code").check()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("row", name="4 Carrier")).to_be_visible()
    expect(page.get_by_role("button", name="Confirm and write")).to_have_count(0)
    page.go_back()
    page.get_by_label("Leave out the rows that are refused").check()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("row", name="changed UA Untied → United")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert Airline.objects.get(pk="UA").name == "Untied"

    page.get_by_role("button", name="Confirm and write").click()
    page.get_by_text("were left out").wait_for()
    page.goto("/admin/flights/airline/")
    page.get_by_text("DL Delta").or_(page.get_by_role("link", name="DL")).first.wait_for()
    assert sorted(Airline.objects.values_list("code", "name")) == [("DL", "Delta"), ("UA", "United")]
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.path().read_text() == "code,name\nDL,Delta\nUA,United\n"


def test_the_admin_imports_what_is_named_by_more_than_keys(page: Page) -> None:
    acme, bolt = (
        Maker.objects.create(name=name, license=n, secret=name) for n, name in enumerate(["A&B", "B"])
    )
    Crate.objects.create(number=1, maker=acme)
    log_in(page)
    page.goto("/admin/testapp/crate/import/")
    content = b"number,maker__name,from,by\n1,A&B,B,demo\n2,C,,\n"
    upload = {"name": "crates.csv", "mimeType": "text/csv", "buffer": content}
    page.get_by_label("CSV file").set_input_files(upload)  # type: ignore[arg-type]  # as its docs have it
    page.get_by_role("button", name="Upload").click()
    page.get_by_label("from").select_option("Origin, by name")
    page.get_by_label("by:").select_option("Keeper, by username")
    page.get_by_label("Leave out the rows that are refused").check()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("row", name="3 maker__name There is no maker with this name")).to_be_visible()
    expect(page.get_by_role("row", name="changed 1 A&B - → B - → demo")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    page.get_by_role("button", name="Confirm and write").click()
    page.get_by_text("were left out").wait_for()
    crate = Crate.objects.get()
    assert (crate.origin, crate.keeper) == (bolt, User.objects.get())


def test_the_admin_imports_relations_to_many(page: Page) -> None:
    fragile, urgent = (Sticker.objects.create(name=name) for name in ("fragile", "<i>urgent"))
    Parcel.objects.create(code="A").stickers.set([fragile])
    log_in(page)
    page.goto("/admin/testapp/parcel/import/")
    expect(page.get_by_text("Not imported, to be set by hand: parts.")).to_be_visible()
    content = b"code,stickers\nA,<i>urgent\nB,fragile|<i>urgent\n"
    upload = {"name": "parcels.csv", "mimeType": "text/csv", "buffer": content}
    page.get_by_label("CSV file").set_input_files(upload)  # type: ignore[arg-type]  # as its docs have it
    page.get_by_role("button", name="Upload").click()
    page.get_by_label("stickers").select_option("Stickers, by name")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("row", name="changed A fragile → <i>urgent")).to_be_visible()
    expect(page.get_by_role("row", name="new B <i>urgent, fragile")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    page.get_by_role("button", name="Confirm and write").click()
    page.get_by_text("parcels.csv: 1 created, 1 updated, 0 left as they were.").wait_for()
    assert list(Parcel.objects.get(code="A").stickers.all()) == [urgent]
    assert set(Parcel.objects.get(code="B").stickers.all()) == {fragile, urgent}


def test_the_admin_shows_the_cache_and_voids_a_model(page: Page) -> None:
    Airline.objects.create(code="UA", name="United")
    log_in(page)
    for _ in range(3):
        Airline.objects.get(pk="UA")
    list(Airline.objects.order_by("?"))
    page.get_by_role("link", name="Cache", exact=True).first.click()
    page.wait_for_url("**/admin/perfkit/cache/")
    reads = page.locator("#reads")
    expect(reads.get_by_role("rowheader", name="flights.Airline")).to_be_visible()
    expect(page.locator("#bypasses")).to_contain_text("random order")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    reads.get_by_role("link", name="Misses").click()
    expect(reads.get_by_role("columnheader", name="Misses")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("link", name="Last 24 hours").click()
    expect(page.locator(".windows [aria-current]")).to_have_text("Last 24 hours")
    page.get_by_role("link", name="Count them").click()
    expect(page.locator("#store").get_by_role("link")).to_have_count(0)

    page.get_by_label("Model or tag").fill("flights.Airlin")
    page.get_by_role("button", name="Invalidate").click()
    expect(page.locator(".errorlist")).to_contain_text("Did you mean 'flights.Airline'?")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_label("Model or tag").fill("flights.Airline")
    page.get_by_role("button", name="Invalidate").click()
    expect(page.locator(".messagelist .success")).to_contain_text("Invalidated flights.Airline")


def test_jobs_are_shown_with_bars_at_any_width(page: Page) -> None:
    now = timezone.now()
    Job.objects.create(
        name="shop.jobs.make_report",
        queue="heavy",
        arguments=[["secret"], {}],
        state=JobState.RUNNING,
        fence=2,
        lease_seconds=30,
        enqueued_at=now,
        started_at=now,
        current=40,
        total=100,
    )
    log_in(page, is_staff=True, is_superuser=True)
    page.goto("/admin/perfkit/job/")
    bar = page.locator("#result_list progress")
    expect(bar).to_have_js_property("value", 40)
    expect(page.locator("#result_list")).to_contain_text("40 %")
    expect(page.locator("#action-toggle")).to_be_visible()
    page.get_by_role("link", name="shop.jobs.make_report").first.click()
    expect(page.get_by_text("argument 0=str of 6")).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from perfkit.indexing.advisor.keeping import keep
from perfkit.models import IndexAdvice
from tests.indexing.advisor.test_keeping import SHAPE, TO_ADD, TO_DROP, report, workload

pytestmark = pytest.mark.django_db

BASE = "/admin/perfkit/indexadvice/"
EVIL = "<b>evil</b>"

Person = Callable[..., Client]


@pytest.fixture
def person() -> Person:
    """A function that returns a client of somebody of the staff, with permissions."""

    def person(*names: str) -> Client:
        user = User.objects.create_user("ada", password="only-for-tests", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(user)
        return client

    return person


@pytest.fixture
def row() -> IndexAdvice:
    keep(report(replace(TO_ADD, reason=EVIL), TO_DROP), workload(0.5))
    return IndexAdvice.objects.get(kind="missing")


def page_of(row: IndexAdvice, action: str = "change") -> str:
    return f"{BASE}{row.pk}/{action}/"


def test_the_list_and_the_page_show_what_was_found(person: Person, row: IndexAdvice) -> None:
    client = person("view_indexadvice")
    listed = client.get(BASE).content.decode()
    assert row.index_name in listed
    assert "25.0%" in listed
    shown = client.get(page_of(row)).content.decode()
    assert EVIL not in shown
    assert "&lt;b&gt;evil" in shown
    for part in ("Index Scan", row.statement.replace('"', "&quot;"), "flights.Airline", "Cost 100 before"):
        assert part in shown
    assert page_of(row, "accept") not in shown


def test_what_has_ended_is_listed_after_what_is_open(person: Person, row: IndexAdvice) -> None:
    names = []
    for place, state in enumerate(["gone", "applied", "dismissed", "written", "accepted", "open"]):
        row.pk, row.index_name, row.state, row.gain = f"key{place}", f"{state}_one", state, 0.9 - place / 10
        row.save(force_insert=True)
        names.append(row.index_name)
    listed = person("view_indexadvice").get(BASE).content.decode()
    order = sorted(names, key=listed.index)
    assert order == [
        *("written_one", "accepted_one", "open_one"),
        *("applied_one", "dismissed_one", "gone_one"),
    ]


def test_nobody_sees_it_without_permission(person: Person, row: IndexAdvice) -> None:
    client = person("view_job")
    for address in (BASE, page_of(row), page_of(row, "accept"), page_of(row, "dismiss")):
        assert client.get(address).status_code == 403


def test_who_may_only_look_decides_nothing(person: Person, row: IndexAdvice) -> None:
    client = person("view_indexadvice")
    assert client.post(page_of(row, "accept")).status_code == 403
    assert client.post(page_of(row, "dismiss"), {"reason": "x"}).status_code == 403
    assert client.get(f"{BASE}add/").status_code == 403
    assert client.post(page_of(row), {"state": "accepted"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "open"


def test_it_is_accepted_once_that_is_confirmed(person: Person, row: IndexAdvice) -> None:
    client = person("view_indexadvice", "decide_indexadvice")
    assert page_of(row, "accept") in client.get(page_of(row)).content.decode()
    assert "Shall this be accepted?" in client.get(page_of(row, "accept")).content.decode()
    row.refresh_from_db()
    assert row.state == "open"
    answer = client.post(page_of(row, "accept"), follow=True)
    assert answer.redirect_chain == [(page_of(row), 302)]
    row.refresh_from_db()
    assert (row.state, row.decided_by) == ("accepted", "ada")
    assert LogEntry.objects.get().object_id == row.pk
    text = client.post(page_of(row, "accept"), follow=True).content.decode()
    assert "Nothing is decided" in text


def test_it_is_dismissed_with_a_reason(person: Person, row: IndexAdvice) -> None:
    client = person("view_indexadvice", "decide_indexadvice")
    answer = client.post(page_of(row, "dismiss"), {"reason": " "})
    assert "This field is required" in answer.content.decode()
    row.refresh_from_db()
    assert row.state == "open"
    client.post(page_of(row, "dismiss"), {"reason": "It is small."})
    row.refresh_from_db()
    assert (row.state, row.note) == ("dismissed", "It is small.")
    shown = client.get(page_of(row)).content.decode()
    assert page_of(row, "accept") in shown
    assert page_of(row, "dismiss") not in shown


def test_a_form_of_another_site_decides_nothing(row: IndexAdvice) -> None:
    User.objects.create_superuser("root", password="only-for-tests")
    client = Client(enforce_csrf_checks=True)
    client.login(username="root", password="only-for-tests")
    assert client.post(page_of(row, "accept")).status_code == 403


def test_what_is_not_there_is_404(person: Person) -> None:
    client = person("view_indexadvice", "decide_indexadvice")
    assert client.get(f"{BASE}nothing/accept/").status_code == 404


def test_it_shows_what_came_of_it(person: Person, row: IndexAdvice) -> None:
    IndexAdvice.objects.update(state="applied", outcome={SHAPE: 0.002})
    shown = person("view_indexadvice").get(page_of(row)).content.decode()
    assert "500.00 ms" in shown
    assert "2.00 ms" in shown


def test_the_overview_leads_to_what_is_open(person: Person, row: IndexAdvice) -> None:
    overview = "/admin/perfkit/monitoring/"
    client = person("view_monitoring", "view_indexadvice")
    text = client.get(overview).content.decode()
    assert "Open index advice" in text
    assert page_of(row) in text
    IndexAdvice.objects.update(state="accepted")
    assert "Open index advice" not in client.get(overview).content.decode()


def test_the_overview_hides_it_from_who_may_not_see_it(person: Person, row: IndexAdvice) -> None:
    assert row.index_name not in person("view_monitoring").get("/admin/perfkit/monitoring/").content.decode()

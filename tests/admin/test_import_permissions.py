"""Nobody brings by a file what they may not bring by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tests.admin.conftest import TWO, Importing, errors, stored, text_of, told
from tests.testapp.imported import Owned

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_lets_nobody_in_without_one(person: Callable[..., Client]) -> None:
    client = person("ware", "view")
    assert client.get("/admin/testapp/ware/import/").status_code == 403
    assert "import/" not in client.get("/admin/testapp/ware/").content.decode()
    assert Client().get("/admin/testapp/ware/import/").status_code == 302


def test_it_offers_what_somebody_may(person: Callable[..., Client]) -> None:
    def offered(*permissions: str) -> list[str]:
        page = Importing(person("ware", *permissions, name="-".join(permissions)), "ware")
        form = page.upload(TWO).context["form"]
        return [value for value, _ in form.fields["way"].choices]

    assert offered("add", "view") == ["insert"]
    assert offered("change", "view") == ["update"]
    assert offered("add", "change", "view") == ["insert", "update", "upsert:sku"]


def test_it_asks_again_when_it_writes(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="upsert:sku")
    user = page.wsgi_request.user
    user.user_permissions.set(user.user_permissions.filter(codename="add_ware"))
    assert "Select a valid choice" in text_of(wares.confirm(page))
    assert stored() == []


def test_it_gives_nobody_the_file_of_another(wares: Importing, person: Callable[..., Client]) -> None:
    wares.upload(TWO)
    page = wares.check(way="insert")
    wares.client = person("ware", name="eve")
    assert "upload it again" in told(wares.client.get(wares.columns_url, follow=True))[0]
    assert "upload it again" in told(wares.confirm(page))[0]
    assert stored() == []


def test_it_changes_no_row_that_somebody_cannot_see(person: Callable[..., Client]) -> None:
    theirs = Owned.objects.create(owner="bob", title="theirs")
    own = Owned.objects.create(owner="ann", title="own")
    page = Importing(person("owned"), "owned")
    form = page.upload(f"id,title\n{own.pk},a\n{theirs.pk},b\n").context["form"]
    assert [value for value, _ in form.fields["way"].choices] == ["insert", "update"]
    assert [error[:2] for error in errors(page.check(way="update"))] == [(3, "id")]
    page.confirm(page.check(way="update", skips_bad_rows="on"))
    assert sorted(Owned.objects.values_list("title", flat=True)) == ["a", "theirs"]
    assert page.client.get(f"{page.base}import/").context["names"] == ["id", "title"]

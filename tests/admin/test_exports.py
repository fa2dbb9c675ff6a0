"""The export of what an admin's list shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from perfkit.bulk import bulk_insert
from tests.admin.conftest import Importing
from tests.testapp.imported import Bin, Owned, Ware, as_dict

pytestmark = pytest.mark.django_db(transaction=True)

WARES = "/admin/testapp/ware/"


@pytest.fixture(autouse=True)
def _wares(db: None) -> None:
    Bin.objects.create(code="S1")
    rows = [("A", "t", 'say "tea",\nnow'), ("B", "c", "café"), ("C", "t", "")]
    bulk_insert(
        Ware, [{"sku": s, "name": s, "kind": k, "note": n, "price": 1, "bin_id": "S1"} for s, k, n in rows]
    )


def content(answer: Any) -> str:
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return b"".join(answer.streaming_content).decode()


def names(text: str) -> list[str]:
    return [line.split(",")[1] for line in text.splitlines() if "," in line and line[0].isdigit()]


def test_it_exports_all_that_the_filters_find_and_not_one_page(wares: Importing) -> None:
    assert sorted(names(content(wares.client.get(f"{WARES}export/")))) == ["A", "B", "C"]
    assert sorted(names(content(wares.client.get(f"{WARES}export/?kind__exact=t")))) == ["A", "C"]
    assert names(content(wares.client.get(f"{WARES}export/?q=b"))) == ["B"]
    page = wares.client.get(f"{WARES}?kind__exact=t").content.decode()
    assert f'href="{WARES}export/?kind__exact=t"' in page


def test_it_exports_the_selected_rows(wares: Importing) -> None:
    pks = Ware.objects.filter(sku__in="AB").values_list("pk", flat=True)
    answer = wares.client.post(WARES, {"action": "export_selected", "_selected_action": list(pks)})
    assert sorted(names(content(answer))) == ["A", "B"]


def test_it_exports_what_the_form_shows(wares: Importing) -> None:
    head = content(wares.client.get(f"{WARES}export/")).partition("\n")[0]
    assert head == "id,sku,name,kind,price,bin,note,count,is_sold,since,photo"


def test_it_exports_what_the_import_reads_back(wares: Importing) -> None:
    before = [as_dict(ware) for ware in Ware.objects.order_by("pk")]
    text = content(wares.client.get(f"{WARES}export/"))
    Ware.objects.update(note="changed", kind="c", bin=None)
    wares.write(text, way="update")
    assert [as_dict(ware) for ware in Ware.objects.order_by("pk")] == before


def test_it_goes_back_to_the_list_where_a_filter_is_wrong(wares: Importing) -> None:
    answer = wares.client.get(f"{WARES}export/?kind__exact__x=t&bin__code__year=x")
    assert answer.status_code == 302


def test_it_shows_nobody_what_they_may_not_see(person: Callable[..., Client]) -> None:
    Owned.objects.create(owner="ann", title="own")
    Owned.objects.create(owner="bob", title="theirs")
    client = person("owned", "view")
    assert "theirs" not in content(client.get("/admin/testapp/owned/export/"))
    assert client.get(f"{WARES}export/").status_code == 403
    assert Client().get(f"{WARES}export/").status_code == 302

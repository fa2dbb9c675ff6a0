"""The bulk calls as methods of a manager and its querysets."""

from __future__ import annotations

import io
from unittest import mock

import pytest

from perfkit.bulk import manager
from tests.testapp.bulk import Managed

pytestmark = pytest.mark.django_db


def test_a_manager_has_them() -> None:
    result = Managed.objects.bulk_insert([{"name": "a"}, {"name": "b"}], return_ids=True)
    assert result.rows == 2
    assert Managed.objects.bulk_update_rows([(result.ids[0], {"count": 5})]).updated == 1
    assert Managed.objects.bulk_upsert([{"name": "b", "count": 7}], conflict_columns=["name"]).updated == 1
    assert list(Managed.objects.order_by("name").values_list("name", "count")) == [("a", 5), ("b", 7)]


def test_what_concerns_a_querysets_rows_concerns_no_others() -> None:
    Managed.objects.bulk_insert([{"name": name, "count": len(name)} for name in ("a", "bb", "ccc")])
    file = io.BytesIO()
    assert Managed.objects.filter(count__gt=1).order_by("name").bulk_copy_out(file, fields=["name"]).rows == 2
    assert file.getvalue() == b"name\nbb\nccc\n"
    assert Managed.objects.filter(count__gt=1).bulk_delete_rows().rows == 2
    assert Managed.objects.get().name == "a"


def test_djangos_own_methods_stay() -> None:
    rows = Managed.objects.bulk_create([Managed(name="a"), Managed(name="b")])
    for row in rows:
        row.count = 3
    assert Managed.objects.bulk_update(rows, ["count"]) == 2


@pytest.mark.parametrize("name", ["bulk_insert", "bulk_upsert", "bulk_update"])
def test_they_write_to_the_querysets_database(name: str) -> None:
    method = f"{name}_rows" if name == "bulk_update" else name
    with mock.patch.object(manager, name) as called:
        getattr(Managed.objects.using("other"), method)([])
        getattr(Managed.objects.all(), method)([], using="given")
    assert [call.kwargs["using"] for call in called.call_args_list] == ["other", "given"]

"""Tests with transactions of their own leave nothing behind, whatever they change."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("turn", range(3))
def test_what_an_earlier_one_has_changed_is_as_it_was(turn: int) -> None:
    assert not Group.objects.exists()
    assert not Permission.objects.filter(codename="left").exists()
    added = Permission.objects.get(codename="add_group")
    Group.objects.create(name="left").permissions.add(added)
    Permission.objects.create(codename="left", name=str(turn), content_type=ContentType.objects.all()[0])


@pytest.mark.parametrize("turn", range(2))
def test_what_an_earlier_one_has_renamed_has_its_name(turn: int) -> None:
    assert Permission.objects.filter(codename="add_group").update(codename=f"odd_group_{turn}") == 1

"""Values, checked as a form's field and the model's would check them together."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from perfkit.admin.values import clean_value
from perfkit.bulk.files import csv_rows
from perfkit.bulk.plan import UnreadableRow, compile_plan
from tests.testapp.imported import Ware


def cleaned(field: Any, value: Any) -> Any:
    field.set_attributes_from_name("value")
    return clean_value(field, field.formfield(), value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (ArrayField(models.IntegerField(), null=True, blank=True), None, None),
        (ArrayField(models.IntegerField()), [1, 2], [1, 2]),
        (models.CharField(max_length=5), " a ", "a"),
        (models.CharField(max_length=5, null=True, blank=True), "  ", None),
        (models.CharField(max_length=5, blank=True), "  ", ""),
        (models.JSONField(blank=True), {}, {}),
        (models.BooleanField(null=True), None, None),
        (models.BooleanField(), False, False),
        (models.IntegerField(), 0, 0),
        (models.DurationField(), "1 00:00:01", dt.timedelta(days=1, seconds=1)),
    ],
)
def test_it_takes(field: Any, value: Any, expected: Any) -> None:
    assert cleaned(field, value) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (models.CharField(max_length=5), "  "),
        (models.CharField(max_length=5, null=True), None),
        (models.JSONField(), {}),
        (models.BooleanField(), None),
        (models.FloatField(), float("nan")),
        (models.PositiveSmallIntegerField(), -1),
        (models.EmailField(), "nobody"),
        (models.DecimalField(max_digits=3, decimal_places=1), "1.25"),
        (models.CharField(max_length=1, choices=[("group", [("a", "A")])]), "b"),
        (ArrayField(models.IntegerField()), []),
    ],
)
def test_it_refuses(field: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        cleaned(field, value)


@pytest.mark.parametrize("moment", ["2020-03-29 02:30", "2020-10-25 02:30"])
def test_no_moment_is_read_that_no_clock_shows_or_one_shows_twice(moment: str, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    (row,) = csv_rows(["since\n", f"{moment}\n"], compile_plan(Ware))
    assert isinstance(row, UnreadableRow)
    (row,) = csv_rows(["since\n", f"{moment}+01:00\n"], compile_plan(Ware))
    assert isinstance(row, dict)

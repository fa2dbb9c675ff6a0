"""Whatever a schema reads, its rows serialise to what those of the plain queryset do, in the planned queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.loading import from_schema, schema_plan
from tests.loading.schemas import ROOTS, as_json, make_rows, schemas
from tests.testapp.loading import Book

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("library", ["ninja", "pydantic", "msgspec"])
def test_it_answers_what_the_plain_queryset_answers_in_the_planned_queries(library: str) -> None:
    make_rows()
    ContentType.objects.get_for_model(Book)  # which Django asks for once

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), model=st.sampled_from(ROOTS))
    def check(data: Any, model: type[models.Model]) -> None:
        schema = data.draw(schemas(model, library))
        plain = model._base_manager.order_by("pk")
        assert as_json(from_schema(plain[:6], schema), schema) == as_json(plain[:6], schema)
        for count in (1, 50):
            with CaptureQueriesContext(connection) as captured:
                told = as_json(from_schema(plain[:count], schema), schema)
            assert len(told) == min(count, model._base_manager.count())
            assert len(captured) == schema_plan(model, schema).query_count

    check()

"""Which quoted names are known, and what becomes of the others where SQLite takes them for strings."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import ProgrammingError, connection, transaction
from django.db.models import Count

from perfkit.watching import quoted_names
from perfkit.watching.sql import normalised

pytestmark = pytest.mark.django_db

IS_SQLITE = connection.vendor == "sqlite"


def test_only_sqlite_takes_a_quoted_name_for_a_string() -> None:
    names = quoted_names("default")
    if IS_SQLITE:
        assert names is not None
        assert {"auth_user", "username", "auth_user_groups", "user_id"} <= set(names)
    else:
        assert names is None


def test_what_django_writes_stays_whole() -> None:
    people = User.objects.annotate(n=Count("groups")).filter(n__gt=0).order_by("-n")
    for queryset in (
        people,
        User.objects.filter(groups__in=people.values("groups")),
        people.order_by().union(people.order_by()),
    ):
        sql = str(queryset.values("pk").query)
        assert normalised(sql, names=quoted_names("default")) == normalised(sql)


def test_a_slow_query_with_a_text_in_double_quotes_tells_no_value(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0}
    sql = 'SELECT "username" FROM "auth_user" WHERE "username" = "hunter2-of-ann"'
    refused = nullcontext() if IS_SQLITE else pytest.raises(ProgrammingError)  # elsewhere it is a name
    with caplog.at_level(logging.WARNING, "perfkit.queries"), refused, transaction.atomic():
        connection.cursor().execute(sql)
    assert ('WHERE "username" = ?' in caplog.text) is IS_SQLITE
    assert ("hunter2" in caplog.text) is not IS_SQLITE

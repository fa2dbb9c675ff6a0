from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F, QuerySet
from django.template import Context, Template
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.translation import ngettext, override

from perfkit.admin.rough_counts import RoughCount, is_whole_table, rows_of
from tests.admin.tomes import estimate_tomes, make_tomes
from tests.testapp.large import Tome

ABOUT = RoughCount(336_776, is_estimate=True)
MORE = RoughCount(10_000, is_estimate=False)


@pytest.fixture
def tomes(db: None) -> None:
    make_tomes(30)
    estimate_tomes(-1)


class TestText:
    def test_it_says_what_it_is(self) -> None:
        text = "All %(n)s selected"  # as Django has it
        assert (str(ABOUT), f"{ABOUT}", text % {"n": ABOUT}) == (
            "about 336,776",
            "about 336,776",
            "All about 336,776 selected",
        )
        assert str(MORE) == "10,000+"

    @pytest.mark.parametrize("separates", [False, True])
    @pytest.mark.parametrize(("language", "text"), [("en", "about 336,776"), ("de", "about 336.776")])
    def test_it_says_so_in_a_template(self, separates: bool, language: str, text: str) -> None:
        template = Template(
            "{% load i18n %}{{ n }}|"
            "{% blocktranslate count counter=n %}{{ counter }} row{% plural %}{{ counter }} rows"
            "{% endblocktranslate %}"
        )
        with override_settings(USE_THOUSAND_SEPARATOR=separates), override(language):
            assert template.render(Context({"n": ABOUT})) == f"{text}|{text} rows"

    def test_it_is_the_number_otherwise(self) -> None:
        assert ABOUT == 336_776
        assert ABOUT != 336_777
        assert ABOUT > MORE > 9_999
        assert len({ABOUT, 336_776}) == 1
        assert ngettext("one", "many", ABOUT) == "many"
        copy = pickle.loads(pickle.dumps(ABOUT))  # noqa: S301  # our own
        assert (copy, str(copy)) == (336_776, "about 336,776")


@pytest.mark.usefixtures("tomes")
class TestRows:
    def counted(self, rows: QuerySet[Any], cap: int) -> tuple[int, list[str]]:
        with CaptureQueriesContext(connection) as queries:
            count = rows_of(rows, cap=cap)
        return count, [query["sql"] for query in queries if "COUNT(" in query["sql"]]

    def test_it_counts_a_short_list(self) -> None:
        count, sent = self.counted(Tome.objects.all(), 30)
        assert (type(count), count, len(sent)) == (int, 30, 1)
        assert self.counted(Tome.objects.filter(kind="K1"), 20)[0] == 10
        assert self.counted(Tome.objects.none(), 20)[0] == 0

    def test_it_stops_counting_a_long_one(self) -> None:
        rows = Tome.objects.select_related("rack").annotate(n=Count("marginals")).filter(rank__gt=0)
        count, (sent,) = self.counted(rows, 20)
        assert (count, str(count)) == (20, "20+")
        assert "LIMIT 21" in sent
        assert "ORDER BY" not in sent
        assert "testapp_rack" not in sent

    @pytest.mark.postgres
    def test_it_takes_the_estimate_for_a_whole_table(self) -> None:
        estimate_tomes(300)
        count, sent = self.counted(Tome.objects.select_related("rack"), 20)
        assert (count, str(count), sent) == (300, "about 300", [])
        assert str(self.counted(Tome.objects.filter(rank__gt=0), 20)[0]) == "20+"

    @pytest.mark.postgres
    def test_it_counts_where_the_estimate_is_small(self) -> None:
        estimate_tomes(3)
        assert str(self.counted(Tome.objects.all(), 20)[0]) == "20+"
        assert self.counted(Tome.objects.all(), 40)[0] == 30


@pytest.mark.parametrize(
    ("queryset", "is_whole"),
    [
        (Tome.objects.all, True),
        (lambda: Tome.objects.select_related("rack").order_by("rack__label"), True),
        (lambda: Tome.objects.annotate(n=F("rank") + 1), True),
        (lambda: Tome.objects.filter(rank=1), False),
        (lambda: Tome.objects.exclude(rank=1), False),
        (Tome.objects.none, False),
        (lambda: Tome.objects.all()[:5], False),
        (Tome.objects.distinct, False),
        (lambda: Tome.objects.annotate(n=Count("marginals")), False),
        (lambda: Tome.objects.annotate(text=F("marginals__text")), False),
        (lambda: Tome.objects.all().union(Tome.objects.all()), False),
    ],
)
def test_it_knows_a_whole_table(queryset: Any, is_whole: bool) -> None:
    assert is_whole_table(queryset()) is is_whole

"""The list of an admin with `LargeTableAdmin`, as people see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.contrib.postgres.indexes import OpClass
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Count, F, Index, QuerySet
from django.http import HttpRequest, QueryDict
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from perfkit.admin import open_lists
from perfkit.loading import needs
from tests.admin.conftest import told
from tests.admin.tomes import TOMES, bottom, estimate_tomes, links, make_tomes, statements, titles
from tests.testapp.large import Marginal, Rack, Tome, Topic

pytestmark = pytest.mark.django_db

ADMIN_OF = Callable[..., None]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("staff"))
    return client


@pytest.fixture(autouse=True)
def places(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages named by their places from the second on; nobody knows how many tomes there are."""
    monkeypatch.setattr(open_lists, "SHALLOW_ROWS", 5)
    estimate_tomes(-1)


def in_order() -> list[str]:
    return [tome.title for tome in Tome.objects.order_by("-added", "-pk")]


class TestCount:
    def test_it_says_how_many_there_are(self, staff: Client) -> None:
        make_tomes(20)
        page = staff.get(TOMES)
        assert bottom(page) == "1 2 3 4 20 tomes"
        assert len(titles(page)) == 5

    def test_it_says_that_there_are_more(self, staff: Client) -> None:
        make_tomes(60)
        assert bottom(staff.get(TOMES)) == "1 2 3 4 … last 20+ tomes"
        assert "20+ results" in staff.get(f"{TOMES}?q=Tome").content.decode()

    @pytest.mark.postgres
    @pytest.mark.parametrize("estimate", [30, 60, 5_000_000])
    def test_it_says_about_how_many_however_wrong_the_estimate(self, staff: Client, estimate: int) -> None:
        make_tomes(60)
        estimate_tomes(estimate)
        page = staff.get(TOMES)
        assert bottom(page) == f"1 2 3 4 … last about {estimate:,} tomes"
        assert titles(staff.get(TOMES + links(page)["last"])) == in_order()[-5:]

    def test_it_counts_once_and_no_more_than_it_says(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, list_filter=("rack",))
        for address in ("", "?p=3", "?p=-1", "?q=Tome", "?rack__isnull=True", "?kind=K1", "?o=3"):
            counts = [sql for sql in statements(staff, TOMES + address) if "COUNT(" in sql]
            assert len(counts) == 1
            assert "LIMIT 21" in counts[0]

    def test_it_says_of_how_many_where_that_is_wanted(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, show_full_result_count=True)
        page = staff.get(f"{TOMES}?q=Tome+59").content.decode()
        assert "1 result" in page
        assert "20+ total" in page
        counts = [sql for sql in statements(staff, f"{TOMES}?q=Tome+59") if "COUNT(" in sql]
        assert all("LIMIT 21" in sql for sql in counts)

    def test_it_never_shows_all_of_a_long_list(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, list_max_show_all=1000)
        assert len(titles(staff.get(f"{TOMES}?all="))) == 5
        Tome.objects.filter(pk__in=Tome.objects.values("pk")[:45]).delete()
        assert len(titles(staff.get(f"{TOMES}?all="))) == 15
        admin_of(Tome, list_per_page=1000)
        make_tomes(60)
        assert len(titles(staff.get(TOMES))) == 75

    def test_it_shows_an_empty_list(self, staff: Client) -> None:
        assert bottom(staff.get(TOMES)) == "0 tomes"
        assert staff.get(f"{TOMES}?p=-1").status_code == 200


class TestPages:
    def walked(self, staff: Client, address: str, names: Callable[[Any], str | None]) -> list[list[str]]:
        found = []
        while True:
            page = staff.get(TOMES + address)
            assert page.status_code == 200
            found.append(titles(page))
            name = names(page)
            if name is None or name not in links(page):
                return found
            address = links(page)[name]

    @pytest.mark.parametrize("rows", [60, 61, 64])
    def test_it_is_walked_forward_by_its_links(self, staff: Client, rows: int) -> None:
        make_tomes(rows)
        pages = self.walked(staff, "", lambda page: str(page.context["cl"].page_num + 1))
        assert [title for page in pages for title in page] == in_order()

    def test_it_is_walked_backward_from_the_end(self, staff: Client) -> None:
        make_tomes(60)
        pages = self.walked(staff, "?p=-1", lambda page: f"last\N{MINUS SIGN}{-page.context['cl'].page_num}")
        assert [title for page in reversed(pages) for title in page] == in_order()

    def test_it_jumps_as_far_as_its_links_do(self, staff: Client) -> None:
        make_tomes(100)
        page = staff.get(TOMES)
        for number in (4, 7, 10, 8, 5, 2):
            page = staff.get(TOMES + links(page)[str(number)])
            assert page.context["cl"].page_num == number
            assert titles(page) == in_order()[(number - 1) * 5 : number * 5]

    @pytest.mark.parametrize("sort", ["3", "-3", "3.-2", "4", "-4.2", "6.1"])
    def test_it_is_walked_in_each_order(self, staff: Client, sort: str) -> None:
        make_tomes(60)
        pages = self.walked(staff, f"?o={sort}", lambda page: str(page.context["cl"].page_num + 1))
        whole = staff.get(f"{TOMES}?o={sort}").context["cl"].queryset
        assert [title for page in pages for title in page] == [tome.title for tome in whole]
        assert len(pages) == 12

    def test_it_keeps_filters_search_and_order(self, staff: Client) -> None:
        make_tomes(200)
        page = staff.get(f"{TOMES}?q=Tome&rack__isnull=True&o=3&p=6")
        for text in ("9", "3", "1", "last"):
            query = QueryDict(links(page)[text][1:])
            assert {name: query[name] for name in query if name != "p"} == {
                "q": "Tome",
                "rack__isnull": "True",
                "o": "3",
            }

    def test_it_starts_anew_with_another_order_or_filter(self, staff: Client) -> None:
        make_tomes(60)
        page = staff.get(TOMES + links(staff.get(f"{TOMES}?p=4"))["5"]).content.decode()
        assert "p=5" not in "".join(part for part in page.split('"') if "?kind" in part or "?o=" in part)

    @pytest.mark.parametrize(
        "text", ["p=6", "p=6~0~forged", "p=999", "p=0", "p=x", "p=-999", f"p={10**30}", "p=1.5"]
    )
    def test_it_survives_any_address(self, staff: Client, text: str) -> None:
        make_tomes(60)
        page = staff.get(f"{TOMES}?{text}")
        if page.status_code == 302:
            assert page["Location"] == f"{TOMES}?e=1"
        else:
            assert page.status_code == 200
            expected = 6 if "6" in text else 1
            assert titles(page) == in_order()[(expected - 1) * 5 : expected * 5]

    def test_it_reads_keys_before_rows(self, staff: Client) -> None:
        make_tomes(60)
        address = links(staff.get(f"{TOMES}?p=8"))["9"]
        for each in (address, "?p=8", "?p=-1", "?p=-8"):
            rows = [
                sql
                for sql in statements(staff, TOMES + each)
                if 'FROM "testapp_tome"' in sql and "COUNT(" not in sql
            ]
            keys, whole = rows[0], rows[-1]
            assert len(rows) == 2
            assert "JOIN" not in keys
            assert ("OFFSET" in keys) is (each in {"?p=8", "?p=-8"})
            assert "OFFSET" not in whole
            assert "JOIN" in whole

    def test_it_stays_where_it_was_after_a_row_was_changed(self, staff: Client) -> None:
        make_tomes(60)
        page = staff.get(TOMES + links(staff.get(f"{TOMES}?p=6"))["7"])
        shown = page.context["cl"].result_list[0]
        assert page.context["preserved_filters"]
        change = reverse("admin:testapp_tome_change", args=[shown.pk])
        answer = staff.get(f"{change}?{page.context['preserved_filters']}")
        back = answer.context["preserved_filters"]
        again = staff.get(f"{TOMES}?{QueryDict(back)['_changelist_filters']}")
        assert titles(again) == titles(page)

    @pytest.mark.postgres
    def test_it_goes_on_where_the_estimate_ends(self, staff: Client) -> None:
        make_tomes(60)
        estimate_tomes(25)
        page = staff.get(f"{TOMES}?p=9")
        assert titles(page) == in_order()[40:45]
        assert bottom(page) == "1 2 … 6 7 8 9 10 11 12 … last about 25 tomes"
        assert bottom(staff.get(f"{TOMES}?p=12")) == "1 2 … 9 10 11 12 about 25 tomes"

    @pytest.mark.postgres
    def test_it_ends_before_the_estimate_does(self, staff: Client) -> None:
        make_tomes(11)
        estimate_tomes(1_000)
        assert bottom(staff.get(TOMES)) == "1 2 3 about 1,000 tomes"
        assert titles(staff.get(f"{TOMES}?p=3")) == in_order()[10:]
        assert titles(staff.get(f"{TOMES}?p=-1")) == in_order()[-5:]
        assert staff.get(f"{TOMES}?p=4").status_code == 302
        Tome.objects.all().delete()
        assert staff.get(TOMES, follow=True).status_code == 200


class TestRelations:
    def count(self, staff: Client, rows: int, address: str = "") -> int:
        make_tomes(rows)
        return len(statements(staff, TOMES + address))

    @pytest.mark.parametrize("cap", [20, 1_000])
    def test_it_asks_as_often_for_many_rows_as_for_one(
        self, staff: Client, admin_of: ADMIN_OF, cap: int
    ) -> None:
        admin_of(Tome, list_per_page=50, count_cap=cap)
        few = self.count(staff, 2)
        assert self.count(staff, 50) <= few + (cap == 20)  # the keys of a long list

    def test_it_loads_what_methods_declare_and_what_they_do_not(
        self, staff: Client, admin_of: ADMIN_OF
    ) -> None:
        @needs("previous__rack__hall")
        def declared(self: Any, tome: Tome) -> str:
            rack = tome.previous and tome.previous.rack
            return str(rack.hall) if rack else ""

        def undeclared(self: Any, tome: Tome) -> str:
            return f"{tome.rack.hall if tome.rack else ''} {tome.marginals.count()}"

        admin_of(Tome, list_per_page=50, count_cap=1000, declared=declared, undeclared=undeclared)
        admin_of(Tome, list_display=("title", "declared"), list_autoload=False)
        few = self.count(staff, 3)
        assert self.count(staff, 40) == few
        admin_of(Tome, list_display=("title", "undeclared"), list_autoload=True)
        many = len(statements(staff, TOMES))
        Tome.objects.filter(pk__in=Tome.objects.values("pk")[:38]).delete()
        assert len(statements(staff, TOMES)) == many

    def test_it_joins_no_more_than_the_columns_read(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(3)
        admin_of(Tome, list_display=("title", "rack__label"))
        (rows,) = [
            sql for sql in statements(staff, TOMES) if "LIMIT" not in sql and '"testapp_tome"."title"' in sql
        ]
        assert rows.count("JOIN") == 1

    @pytest.mark.parametrize("joined", [("previous",), True])
    def test_it_keeps_what_the_project_joins(self, staff: Client, admin_of: ADMIN_OF, joined: Any) -> None:
        make_tomes(3)
        admin_of(Tome, list_display=("title", "rack__label"), list_select_related=joined)
        (rows,) = [
            sql for sql in statements(staff, TOMES) if "LIMIT" not in sql and '"testapp_tome"."title"' in sql
        ]
        assert ('JOIN "testapp_tome"' in rows) is (joined is not True)  # which joins what is never NULL alone

    def test_it_keeps_what_the_admins_queryset_loads(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(3)
        Marginal.objects.bulk_create(Marginal(tome=tome, text="x") for tome in Tome.objects.all())

        def get_queryset(self: Any, request: HttpRequest) -> QuerySet[Any]:
            return (
                Tome.objects.annotate(n=Count("marginals"))
                .select_related("previous")
                .prefetch_related("marginals")
            )

        def texts(self: Any, tome: Any) -> str:
            return f"{tome.n} {[each.text for each in tome.marginals.all()]} {tome.previous}"

        admin_of(Tome, get_queryset=get_queryset, texts=texts, list_display=("title", "texts", "rack"))
        admin_of(Tome, ordering=(F("n").desc(),))
        assert "1 [&#x27;x&#x27;] " in staff.get(TOMES).content.decode()
        many = len(statements(staff, TOMES))
        make_tomes(2)
        assert len(statements(staff, TOMES)) == many
        make_tomes(50)
        assert bottom(staff.get(f"{TOMES}?p=7")).endswith("20+ tomes")


class TestFilters:
    def test_it_shows_few_rows_of_a_relation_as_choices(self, staff: Client) -> None:
        make_tomes(4)
        page = staff.get(TOMES).content.decode()
        assert page.count("?rack__id__exact=") == 4
        assert 'name="rack__id__exact"' not in page

    def test_it_asks_as_often_for_many_choices_as_for_one(self, staff: Client) -> None:
        make_tomes(1)
        many = len(statements(staff, TOMES))
        Rack.objects.exclude(label="R0").delete()
        assert len(statements(staff, TOMES)) == many

    def test_it_asks_for_the_key_where_there_are_many(self, staff: Client) -> None:
        tomes = make_tomes(4)
        hall = tomes[1].rack.hall
        Rack.objects.bulk_create(Rack(label=f"More {n}", hall=hall) for n in range(200))
        page = staff.get(f"{TOMES}?kind=K1&q=Tome&p=1")
        html = page.content.decode()
        assert "More 1" not in html
        assert 'name="rack__id__exact" value=""' in html
        assert (
            '<input type="hidden" name="kind" value="K1"><input type="hidden" name="q" value="Tome">' in html
        )
        chosen = staff.get(f"{TOMES}?rack__id__exact={tomes[1].rack_id}")
        assert titles(chosen) == ["Tome 1"]
        assert f'<a href="">{tomes[1].rack}</a>' in chosen.content.decode()
        assert titles(staff.get(f"{TOMES}?rack__isnull=True")) == ["Tome 3", "Tome 0"]
        assert staff.get(f"{TOMES}?rack__id__exact=x").status_code == 302
        assert "LIMIT 101" in next(sql for sql in statements(staff, TOMES) if "More" in sql or "rack" in sql)

    def test_it_asks_for_a_value_where_the_table_is_large(self, staff: Client) -> None:
        make_tomes(9)
        assert staff.get(TOMES).content.decode().count("?kind=") == 3
        make_tomes(60)
        page = staff.get(TOMES).content.decode()
        assert 'name="kind" value=""' in page
        assert not [sql for sql in statements(staff, TOMES) if "DISTINCT" in sql]
        assert '<a href="">K1</a>' in staff.get(f"{TOMES}?kind=K1").content.decode()

    def test_it_asks_for_a_value_though_a_search_finds_little(self, staff: Client) -> None:
        make_tomes(60)
        assert not [sql for sql in statements(staff, f"{TOMES}?q=Tome+59") if "DISTINCT" in sql]
        assert 'name="kind" value=""' in staff.get(f"{TOMES}?q=Tome+59").content.decode()

    def test_it_asks_for_a_value_where_there_are_many(self, staff: Client, admin_of: ADMIN_OF) -> None:
        admin_of(Tome, count_cap=1_000, list_filter=("title", "rack__label"))
        make_tomes(120)
        page = staff.get(f"{TOMES}?title=Tome+7")
        assert titles(page) == ["Tome 7"]
        assert page.content.decode().count("?title=") <= 3
        assert 'name="title" value="Tome 7"' in page.content.decode()
        assert page.content.decode().count("rack__label=R") == 4

    @pytest.mark.parametrize("many", [3, 150])
    def test_it_filters_by_relations_to_many(self, staff: Client, admin_of: ADMIN_OF, many: int) -> None:
        first, second, third = make_tomes(3)
        admin_of(Tome, list_filter=("topics", "marginals", "previous"))
        topics = Topic.objects.bulk_create(Topic(name=f"Topic {n}") for n in range(many))
        marginals = Marginal.objects.bulk_create(Marginal(tome=third, text=f"{n}") for n in range(many))
        second.topics.add(topics[-1])
        assert ("Topic 1" in staff.get(TOMES).content.decode()) is (many == 3)
        assert titles(staff.get(f"{TOMES}?topics__id__exact={topics[-1].pk}")) == [second.title]
        assert titles(staff.get(f"{TOMES}?marginals__id__exact={marginals[-1].pk}")) == [third.title]
        assert titles(staff.get(f"{TOMES}?previous__id__exact={first.pk}")) == [second.title]

    def test_it_leaves_the_projects_own_filters_alone(self, staff: Client, admin_of: ADMIN_OF) -> None:
        class Own(admin.SimpleListFilter):
            title, parameter_name = "own", "own"

            def lookups(self, *args: Any) -> list[tuple[str, str]]:
                return [("x", "X")]

            def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
                return queryset.filter(kind="K1") if self.value() else queryset

        make_tomes(9)
        admin_of(Tome, list_filter=(Own, ("rack", admin.RelatedOnlyFieldListFilter), "rank", "added"))
        assert len(titles(staff.get(f"{TOMES}?own=x"))) == 3


class TestFacets:
    def test_it_counts_where_that_is_cheap(self, staff: Client) -> None:
        make_tomes(9)
        page = staff.get(f"{TOMES}?_facets").content.decode()
        assert "K1 (3)" in page
        assert "Hide counts" in page
        assert told(staff.get(f"{TOMES}?_facets")) == []

    @pytest.mark.parametrize("address", ["?_facets", "?_facets&kind=K1&q=Tome+1"])
    def test_it_leaves_counts_out_of_a_large_table_and_says_so(self, staff: Client, address: str) -> None:
        make_tomes(60)
        sent = statements(staff, TOMES + address)
        assert not [sql for sql in sent if "FILTER" in sql or "CASE" in sql]
        page = staff.get(TOMES + address)
        assert told(page)[0] == "The counts beside the filters are left out: there are too many tomes."
        assert "counts</a>" not in page.content.decode()

    def test_it_offers_no_counts_that_it_would_leave_out(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        page = staff.get(TOMES)
        assert "Show counts" not in page.content.decode()
        assert told(page) == []
        admin_of(Tome, show_facets=admin.ShowFacets.ALWAYS)
        assert len(told(staff.get(TOMES))) == 1


@pytest.mark.postgres
class TestSearch:
    def test_it_says_which_index_a_search_lacks(self, staff: Client) -> None:
        make_tomes(60)
        (notice,) = told(staff.get(f"{TOMES}?q=Tome"))
        assert notice.startswith(
            "No index serves this search, so it reads the whole table: title (containing). Add Gin"
        )
        assert told(staff.get(TOMES)) == []
        assert next(iter(staff.get(f"{TOMES}?q=Tome").context["messages"])).level == messages.WARNING

    def test_it_says_so_of_a_search_that_finds_little(self, staff: Client) -> None:
        make_tomes(60)
        estimate_tomes(60)
        page = staff.get(f"{TOMES}?q=Tome+59")
        assert (len(titles(page)), len(told(page))) == (1, 1)

    def test_it_says_nothing_where_the_table_is_small(self, staff: Client) -> None:
        make_tomes(10)
        assert told(staff.get(f"{TOMES}?q=Tome")) == []

    def test_it_says_nothing_where_an_index_serves(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, search_fields=("=nickname", "code__startswith"))
        assert told(staff.get(f"{TOMES}?q=Nick1")) == []
        admin_of(Tome, search_fields=("title__startswith",))
        assert len(told(staff.get(f"{TOMES}?q=Tome"))) == 1
        with connection.schema_editor(atomic=False) as editor:
            connection.check_constraints()  # which an index must not overtake
            editor.add_index(Tome, Index(OpClass("title", name="varchar_pattern_ops"), name="tome_title"))
        assert told(staff.get(f"{TOMES}?q=Tome")) == []

    def test_it_says_so_to_those_who_can_do_something(self, person: Callable[..., Client]) -> None:
        make_tomes(60)
        ann = person("tome", "view")
        assert told(ann.get(f"{TOMES}?q=Tome")) == []
        with override_settings(DEBUG=True):
            assert len(told(ann.get(f"{TOMES}?q=Tome"))) == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's")
def test_it_says_nothing_of_a_search_elsewhere(staff: Client) -> None:
    make_tomes(60)
    page = staff.get(f"{TOMES}?q=Tome")
    assert (len(titles(page)), told(page)) == (5, [])


class TestDoing:
    def selected(self, staff: Client, address: str, action: str, **data: Any) -> Any:
        shown = staff.get(TOMES + address).context["cl"].result_list
        keys = [str(tome.pk) for tome in shown]
        return staff.post(TOMES + address, {"action": action, "_selected_action": keys, **data})

    def test_it_acts_on_the_rows_of_a_deep_page(self, staff: Client) -> None:
        make_tomes(60)
        address = links(staff.get(f"{TOMES}?p=6"))["7"]
        gone = titles(staff.get(TOMES + address))
        self.selected(staff, address, "delete_selected", post="yes")
        assert Tome.objects.count() == 55
        assert not Tome.objects.filter(title__in=gone).exists()

    def test_it_acts_on_all_rows(self, staff: Client) -> None:
        make_tomes(60)
        page = staff.get(f"{TOMES}?kind=K1").content.decode()
        assert page.count("All 20 selected") == 1
        assert "Select all 20+ tomes" in staff.get(TOMES).content.decode()
        self.selected(staff, "?kind=K1", "delete_selected", post="yes", select_across="1")
        assert (Tome.objects.count(), Tome.objects.filter(kind="K1").count()) == (40, 0)
        self.selected(staff, "?p=3", "delete_selected", post="yes", select_across="1")
        assert Tome.objects.count() == 0

    def test_it_edits_the_rows_of_a_deep_page(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, list_editable=("rank",))
        address = TOMES + links(staff.get(f"{TOMES}?p=6"))["7"]
        formset = staff.get(address).context["cl"].formset
        data: dict[str, Any] = {"form-TOTAL_FORMS": 5, "form-INITIAL_FORMS": 5, "_save": "Save"}
        for place, form in enumerate(formset.forms):
            data |= {f"form-{place}-id": form.instance.pk, f"form-{place}-rank": 100 + place}
        edited = titles(staff.get(address))
        assert staff.post(address, data).status_code == 302
        assert [tome.title for tome in Tome.objects.filter(rank__gte=100).order_by("rank")] == edited
        assert titles(staff.get(address)) == edited

    def test_it_asks_as_often_for_many_rows_that_are_edited(self, staff: Client, admin_of: ADMIN_OF) -> None:
        admin_of(Tome, list_editable=("rank",), list_per_page=50, count_cap=1000)
        make_tomes(2)
        few = len(statements(staff, TOMES))
        make_tomes(40)
        assert len(statements(staff, TOMES)) == few

    def test_it_follows_dates(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, date_hierarchy="added")
        assert "added__day=1" in staff.get(TOMES).content.decode()
        page = staff.get(f"{TOMES}?added__year=2020&added__month=1&added__day=2")
        assert bottom(page).endswith("12 tomes")

    def test_it_may_only_be_looked_at(self, person: Callable[..., Client]) -> None:
        make_tomes(60)
        page = person("tome", "view").get(f"{TOMES}?p=-1")
        assert titles(page) == in_order()[-5:]
        assert Client().get(TOMES).status_code == 302

    def test_it_opens_in_a_window_of_its_own(self, staff: Client) -> None:
        make_tomes(60)
        page = staff.get(f"{TOMES}?_popup=1&p=6")
        assert all("_popup=1" in address for address in links(page).values())


class TestAutocomplete:
    def ask(self, staff: Client, **data: str) -> tuple[dict[str, Any], list[str]]:
        given = {"app_label": "testapp", "model_name": "tome", "field_name": "rack", **data}
        with CaptureQueriesContext(connection) as queries:
            answer = staff.get(reverse("admin:autocomplete"), given)
        return answer.json(), [
            query["sql"]
            for query in queries
            if "testapp_rack" in query["sql"] or "testapp_hall" in query["sql"]
        ]

    def test_it_counts_nothing(self, staff: Client) -> None:
        hall = make_tomes(1)[0].pk and Rack.objects.first().hall
        Rack.objects.bulk_create(Rack(label=f"S{n:02}", hall=hall) for n in range(41))
        found, sent = self.ask(staff, term="S")
        assert (len(found["results"]), found["pagination"]) == (20, {"more": True})
        assert not [sql for sql in sent if "COUNT(" in sql]
        found, _ = self.ask(staff, term="S", page="3")
        assert (len(found["results"]), found["pagination"]) == (1, {"more": False})
        assert self.ask(staff, term="nothing")[0]["results"] == []

    def test_it_asks_as_often_for_many_rows_as_for_one(self, staff: Client) -> None:
        make_tomes(1)
        few = self.ask(staff, term="R")[1]
        Rack.objects.exclude(label="R0").delete()
        assert len(self.ask(staff, term="R")[1]) == len(few) == 1


class TestProjects:
    def test_it_works_with_a_paginator_of_the_projects(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, paginator=Paginator)
        page = staff.get(f"{TOMES}?p=12")
        assert bottom(page).endswith("11 12 60 tomes")
        assert titles(page) == in_order()[55:]
        admin_of(Tome, list_autoload=False)
        assert (
            len([sql for sql in statements(staff, f"{TOMES}?p=2") if "testapp_rack" in sql]) == 2
        )  # and the filter

    def test_it_works_with_a_list_of_the_projects(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, get_changelist=lambda self, request, **kwargs: ChangeList)
        page = staff.get(f"{TOMES}?p=9")
        assert titles(page) == in_order()[40:45]
        assert "20+ tomes" in bottom(page)

    def test_it_works_with_an_order_of_expressions(self, staff: Client, admin_of: ADMIN_OF) -> None:
        make_tomes(60)
        admin_of(Tome, ordering=(F("rank").desc(nulls_last=True), "code"))
        page = staff.get(f"{TOMES}?p=8")
        page = staff.get(TOMES + links(page)["9"])
        whole = [tome.title for tome in Tome.objects.order_by(F("rank").desc(nulls_last=True), "code")]
        assert titles(page) == whole[40:45]

from __future__ import annotations

import pytest
from django.db.models import Model, Q

from perfkit.errors import RelationPathError
from perfkit.loading import RelatedRows, plan_for
from perfkit.loading.relations import relations_of
from tests.testapp.loading import Book, Label, Person, Profile, Publisher, Review


@pytest.mark.parametrize(
    ("model", "paths", "joins", "queries"),
    [
        (Book, ("publisher",), ("publisher",), ()),
        (Book, ("authors",), (), ("authors",)),
        (Book, ("review_set",), (), ("review_set",)),
        (Profile, ("person",), ("person",), ()),
        (Person, ("profile",), ("its_profile",), ()),
        (Person, ("mentor__mentor",), ("mentor", "mentor__mentor"), ()),
        (Label, ("target",), (), ("target",)),
        (Book, ("labels",), (), ("labels",)),
        (Review, ("book__publisher", "book__authors"), ("book", "book__publisher"), ("book__authors",)),
        (Book, ("publisher", "publisher"), ("publisher",), ()),
        (Book, (), (), ()),
    ],
)
def test_it_joins_what_leads_to_one_row_and_queries_what_leads_to_many(
    model: type[Model], paths: tuple[str, ...], joins: tuple[str, ...], queries: tuple[str, ...]
) -> None:
    plan = plan_for(model, paths)

    assert plan.joins == joins
    assert tuple(path for path, _ in plan.queries) == queries


def test_it_plans_the_rows_below_a_to_many_relation_by_themselves() -> None:
    plan = plan_for(Publisher, ("books__review_set__critic", "books__editor"))

    [(path, books)] = plan.queries
    assert (path, books.model, books.joins) == ("books", Book, ("editor",))
    [(path, reviews)] = books.queries
    assert (path, reviews.model, reviews.joins) == ("review_set", Review, ("critic",))
    assert plan.query_count == 3


def test_it_prints_itself() -> None:
    assert str(plan_for(Book, ("publisher", "review_set__critic"))) == (
        "testapp.Book\n  join publisher\n  query review_set\n    testapp.Review\n      join critic"
    )


def test_it_is_made_once_for_the_same_paths() -> None:
    assert plan_for(Book, ("publisher",)) is plan_for(Book, ("publisher",))


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        (Book, "publishr", "testapp.Book has no relation 'publishr'. Did you mean 'publisher'?"),
        (Book, "title", "testapp.Book has no relation 'title'."),
        (
            Book,
            "review_set__critc",
            "testapp.Review has no relation 'critc' (in the path 'review_set__critc'). Did you mean 'critic'?",
        ),
        (
            Label,
            "target__publisher",
            "testapp.Label has no relation 'publisher' (in the path 'target__publisher').",
        ),
        (Book, "publisher__", "testapp.Publisher has no relation ''"),
    ],
)
def test_it_refuses_an_unknown_path_with_the_nearest_right_one(
    model: type[Model], path: str, message: str
) -> None:
    with pytest.raises(RelationPathError) as caught:
        plan_for(model, (path,))

    assert str(caught.value).startswith(message)


def test_it_leaves_out_hidden_reverse_relations() -> None:
    assert set(relations_of(Person)) == {"mentor", "pupils", "profile", "books", "reviews", "remarks"}


def test_it_explains_each_step() -> None:
    best = RelatedRows("review_set", "critic", filter=Q(stars=5), to_attr="top")

    assert plan_for(Book, ("publisher", "editor__profile", best, "labels")).explain().splitlines() == [
        "testapp.Book: 3 queries",
        "  all 4 columns",
        "  join publisher: foreign key, leads to one row",
        "    all 2 columns",
        "  join editor: foreign key, leads to one row",
        "    all 3 columns",
        "  join editor__profile: reverse one-to-one, leads to one row",
        "    all 3 columns",
        "  query review_set: reverse foreign key, leads to many rows; one more query for all of them",
        "    filter (AND: ('stars', 5)), as the list top",
        "    testapp.Review",
        "      all 4 columns",
        "      join critic: foreign key, leads to one row",
        "        all 3 columns",
        "  query labels: generic relation, leads to many rows; one more query for all of them",
        "    testapp.Label",
        "      all 4 columns",
    ]
    assert plan_for(Label, ("target",)).explain().splitlines()[-1] == (
        "  query target: generic foreign key, one more query for each model it leads to"
    )
    assert plan_for(Publisher, ()).explain() == "testapp.Publisher: 1 query\n  all 2 columns"

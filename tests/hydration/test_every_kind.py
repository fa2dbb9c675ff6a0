"""Objects made here beside Django's own, for models with every type of field and values of all kinds."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.postgres.fields import HStoreField
from django.db import connection, models, reset_queries, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, Concat
from django.db.models.signals import post_init, pre_init
from django.test.utils import CaptureQueriesContext, isolate_apps
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perfkit.hydration import shapes
from tests.hydration.comparison import fast, models_initialised, portrait
from tests.hydration.values import values_of
from tests.testapp.hydration import (
    EVENTS,
    EveryKind,
    EveryKindBelow,
    EveryKindHeard,
    EveryKindInParts,
    EveryKindProxy,
    Kind,
    OfPostgres,
)

pytestmark = pytest.mark.django_db

KINDS = ["a", "b"]
of_postgres = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's")
MODELS = [
    *(EveryKind, EveryKindProxy, EveryKindBelow, EveryKindHeard, EveryKindInParts),
    pytest.param(OfPostgres, marks=of_postgres),
]
drawn = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def rows_of(draw: st.DrawFn, model: type[models.Model]) -> list[models.Model]:
    """Return one to three instances that are not saved, with other keys each."""
    rows = []
    for number in range(draw(st.integers(1, 3))):
        values = {}
        for field in model._meta.concrete_fields:
            if field.generated or isinstance(field, models.AutoField) or field.remote_field:
                continue
            values[field.attname] = draw(values_of(field))
        if "only" in {field.name for field in model._meta.concrete_fields}:
            values["kind_id"] = draw(st.sampled_from([None, *KINDS]))
            values["only_id"] = [None, *KINDS][number]
        if values.get("framed"):  # a size that is not known is looked up in the picture
            values["width"], values["height"] = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        if "row" in values:
            values["row"] = str(number)
        rows.append(model(**values))
    return rows


def reads(model: type[models.Model]) -> Iterator[QuerySet[Any]]:
    """Yield querysets that load all columns, some of them, and more than them."""
    everything = QuerySet(model).order_by("pk")
    yield everything
    names = [field.name for field in model._meta.concrete_fields if not field.primary_key]
    yield everything.defer(*names[::2])
    yield everything.defer(*names[1::3])
    yield everything.only(*names[::3])
    yield everything.only("pk")
    yield everything.annotate(same=F(names[0]), again=Coalesce(names[0], names[0]), known=Value(1))
    yield everything.extra(select={"one": "1"})
    if "only" in names:
        yield everything.select_related("kind", "only")
        yield everything.select_related("only").defer("text", "only__code")
        yield everything.annotate(joined=Concat("short", Value("-"), "kind__code"))
    if model is EveryKind:
        yield everything.select_related("everykindbelow__kind")
    if model is EveryKindBelow:
        yield everything.defer("more", "blob", "everykind_ptr")


def save(rows: list[models.Model]) -> None:
    type(rows[0])._base_manager.all().delete()
    Kind.objects.bulk_create([Kind(code=code) for code in KINDS], ignore_conflicts=True)
    for row in rows:
        row.save(force_insert=True)


@pytest.fixture(autouse=True)
def _no_shapes() -> None:
    shapes._shapes.clear()


def made(queryset: QuerySet[Any]) -> list[Any]:
    """Return the objects of the second read, which Django has no part in."""
    first = list(fast(queryset))
    second = list(fast(queryset))
    assert portrait(first) == portrait(second)
    return second


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # made one line above


def loaded(instance: models.Model) -> Any:
    """Ask for what is there and some of what is deferred; return what there is then, files included."""
    deferred = sorted(instance.get_deferred_fields())[3:]
    for field in instance._meta.concrete_fields:
        if field.attname not in deferred:
            getattr(instance, field.name)
    return portrait(instance)


def statements_of(action: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        action()
        transaction.set_rollback(True)
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


@pytest.mark.parametrize("model", MODELS)
def test_objects_are_djangos_own(model: type[models.Model]) -> None:
    @drawn
    @given(rows=rows_of(model))
    def compare(rows: list[models.Model]) -> None:
        save(rows)
        for queryset in reads(model):
            ours, djangos = made(queryset), list(queryset.all())
            assert portrait(ours) == portrait(djangos)
            assert ours == djangos
            assert [*map(hash, ours)] == [*map(hash, djangos)]
            assert [*map(repr, ours)] == [*map(repr, djangos)]
            assert portrait(copied(ours)) == portrait(copied(djangos))
            assert copied(ours) == djangos
            assert [vars(each._state).keys() - {"fields_cache"} for each in ours] == [
                vars(each._state).keys() - {"fields_cache"} for each in djangos
            ]
            assert [each.get_deferred_fields() for each in ours] == [
                each.get_deferred_fields() for each in djangos
            ]

    compare()


@pytest.mark.parametrize("model", MODELS)
def test_objects_load_save_and_delete_as_djangos_own(model: type[models.Model]) -> None:
    @settings(drawn, max_examples=3)
    @given(rows=rows_of(model))
    def compare(rows: list[models.Model]) -> None:
        for row in rows:
            if isinstance(row, EveryKindHeard):
                row.framed = None  # a picture that is set again is opened
        save(rows)
        reset_queries()
        for queryset in reads(model):
            for ours, djangos in zip(made(queryset), queryset.all(), strict=True):
                saved = statements_of(ours.save)
                assert saved == statements_of(djangos.save)
                assert any(statement.startswith("UPDATE") for statement in saved) or not _changes(ours)
                with CaptureQueriesContext(connection) as captured:
                    seen = loaded(ours)
                with CaptureQueriesContext(connection) as captured_djangos:
                    assert seen == loaded(djangos)
                assert [each["sql"] for each in captured] == [each["sql"] for each in captured_djangos]
                assert statements_of(ours.save) == statements_of(djangos.save)
                ours.refresh_from_db()
                djangos.refresh_from_db()
                assert portrait(ours) == portrait(djangos)
        [ours, *_], [djangos, *_] = made(queryset), queryset.all()
        assert statements_of(ours.delete) == statements_of(djangos.delete)

    compare()


def _changes(instance: models.Model) -> bool:
    """Say whether a save has any column to write."""
    deferred = instance.get_deferred_fields()
    fields = instance._meta.concrete_fields
    keys = {*instance._meta.pk_fields, *(each for each in fields if each.primary_key)}
    return any(each not in keys and not each.generated and each.attname not in deferred for each in fields)


@pytest.mark.parametrize("model", MODELS)
def test_signals_are_djangos_own(model: type[models.Model]) -> None:
    def receive(sender: type[models.Model], signal: Any, **given: Any) -> None:
        instance = given.pop("instance", None)
        name = "pre_init" if signal is pre_init else "post_init"
        EVENTS.append((name, sender, portrait(instance) if instance else None, repr(given)))

    def events(read: Callable[[], Any]) -> list[Any]:
        EVENTS.clear()
        for _ in read():
            EVENTS.append(("given",))
        return EVENTS[:]

    @drawn
    @given(rows=rows_of(model), senders=st.sets(st.sampled_from([model, Kind])))
    def compare(rows: list[models.Model], senders: set[type[models.Model]]) -> None:
        save(rows)
        for sender in senders:
            pre_init.connect(receive, sender=sender)
            post_init.connect(receive, sender=sender)
        try:
            for queryset in reads(model):
                expected = events(lambda queryset=queryset: queryset.all())
                assert len(expected) >= len(rows)
                lazily = events(lambda queryset=queryset: queryset.iterator(2))
                for _ in range(3):
                    assert events(lambda queryset=queryset: fast(queryset)) == expected
                    assert events(lambda queryset=queryset: fast(queryset).iterator(2)) == lazily
        finally:
            for sender in senders:
                pre_init.disconnect(receive, sender=sender)
                post_init.disconnect(receive, sender=sender)
            EVENTS.clear()

    compare()


@pytest.mark.parametrize("model", MODELS)
def test_values_are_djangos_own(model: type[models.Model]) -> None:
    @drawn
    @given(rows=rows_of(model))
    def compare(rows: list[models.Model]) -> None:
        save(rows)
        names = [field.name for field in model._meta.concrete_fields]
        everything = QuerySet(model).order_by("pk")
        for queryset in (
            everything.values(),
            everything.values("pk", *names[::2]),
            everything.values_list(),
            everything.values_list("pk", *names[1::2]),
            *(everything.values_list(name, flat=True) for name in names),
        ):
            for _ in range(2):
                assert portrait(list(fast(queryset))) == portrait(list(queryset.all()))
                assert portrait(list(fast(queryset).iterator(2))) == portrait(list(queryset.all()))

    compare()


def test_models_with_nothing_in_the_way_are_made_without_django() -> None:
    for model in (EveryKind, EveryKindProxy, EveryKindBelow, EveryKindInParts):
        model.plain.create(**({"column": 1, "row": "1"} if model is EveryKindInParts else {}))
        made(QuerySet(model))
        assert models_initialised(lambda model=model: list(model.objects.all())) == []
    EveryKindHeard.plain.create()
    made(QuerySet(EveryKindHeard))
    assert models_initialised(lambda: list(EveryKindHeard.objects.all())) == [EveryKindHeard]


@of_postgres
@pytest.mark.django_db(transaction=True)
def test_hstore_is_djangos_own() -> None:
    from django.contrib.postgres.signals import get_hstore_oids, register_type_handlers

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        get_hstore_oids.cache_clear()
        register_type_handlers(connection)

    with isolate_apps("tests.testapp"):

        class Stored(models.Model):
            pairs = HStoreField(null=True)

            class Meta:
                app_label = "testapp"

    run("CREATE EXTENSION hstore")
    try:
        with connection.schema_editor() as editor:
            editor.create_model(Stored)

        @drawn
        @given(rows=rows_of(Stored))
        def compare(rows: list[models.Model]) -> None:
            QuerySet(Stored).delete()
            for row in rows:
                row.save()
            for queryset in (QuerySet(Stored).order_by("pk"), QuerySet(Stored).order_by("pk").values()):
                assert portrait(made(queryset)) == portrait(list(queryset.all()))

        compare()
        with connection.schema_editor() as editor:
            editor.delete_model(Stored)
    finally:
        run("DROP EXTENSION hstore CASCADE")

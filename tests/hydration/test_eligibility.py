from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.test.utils import isolate_apps

from perfkit.hydration import instance_builder
from perfkit.hydration.eligibility import has_plain_columns, is_untouched
from tests.hydration.comparison import portrait

Called = list[str]


class Custom(models.Model):
    """What the models of these tests derive from: nothing in the way of Django's code."""

    number = models.IntegerField()

    class Meta:
        abstract = True
        app_label = "testapp"


def own_init(called: Called) -> type[models.Model]:
    class OwnInit(Custom):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            called.append("__init__")
            super().__init__(*args, **kwargs)

    return OwnInit


def own_new(called: Called) -> type[models.Model]:
    class OwnNew(Custom):
        def __new__(cls, *_: Any) -> Any:
            called.append("__new__")
            return super().__new__(cls)

    return OwnNew


def own_setattr(called: Called) -> type[models.Model]:
    class OwnSetattr(Custom):
        def __setattr__(self, name: str, value: Any) -> None:
            called.append(f"{name} is set")
            super().__setattr__(name, value)

    return OwnSetattr


def own_from_db(called: Called) -> type[models.Model]:
    class OwnFromDb(Custom):
        @classmethod
        def from_db(cls, *args: Any, **kwargs: Any) -> Any:
            called.append("from_db")
            return super().from_db(*args, **kwargs)

    return OwnFromDb


def static_from_db(called: Called) -> type[models.Model]:
    class StaticFromDb(Custom):
        @staticmethod
        def from_db(db: str, names: Any, values: Any) -> Any:
            called.append(f"from_db of {db}")
            return StaticFromDb(*values)

    return StaticFromDb


def mixin_after_model(called: Called) -> type[models.Model]:
    class Mixin:
        def __init__(self) -> None:
            called.append("__init__ of the mixin, which Django's calls")

    class MixinAfterModel(Custom, Mixin):
        pass

    return MixinAfterModel


def wrapped_by_a_parent(called: Called) -> type[models.Model]:
    class Wrapping(Custom):
        class Meta(Custom.Meta):
            abstract = True

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            inner = cls.__init__

            def init(self: Any, *args: Any) -> None:
                called.append("wrapper")
                inner(self, *args)

            cls.__init__ = init

    class Wrapped(Wrapping):
        pass

    return Wrapped


def own_metaclass(called: Called) -> type[models.Model]:
    class Calling(models.base.ModelBase):
        def __call__(self, *args: Any) -> Any:
            called.append("__call__ of the metaclass")
            return super().__call__(*args)

    class OwnMetaclass(Custom, metaclass=Calling):
        pass

    return OwnMetaclass


def own_descriptor(called: Called) -> type[models.Model]:
    class Telling(DeferredAttribute):
        def __set__(self, instance: Any, value: Any) -> None:
            called.append(f"descriptor takes {value}")
            instance.__dict__[self.field.attname] = value

    class TellingField(models.IntegerField):
        descriptor_class = Telling

    class OwnDescriptor(Custom):
        told = TellingField()

    return OwnDescriptor


def own_foreign_key(called: Called) -> type[models.Model]:
    class WatchingKey(models.ForeignKey):
        def is_cached(self, instance: Any) -> bool:
            called.append("is_cached")
            return super().is_cached(instance)

    class OwnForeignKey(Custom):
        other = WatchingKey("self", models.CASCADE)

    return OwnForeignKey


def own_state(called: Called) -> type[models.Model]:
    class OwnState(Custom):
        @property
        def _state(self) -> Any:
            return self.__dict__["_state"]

        @_state.setter
        def _state(self, value: Any) -> None:
            called.append("_state is set")
            self.__dict__["_state"] = value

    return OwnState


def measured_image(called: Called) -> type[models.Model]:
    class Picture(models.ImageField):
        def update_dimension_fields(self, *args: Any, **kwargs: Any) -> None:
            called.append("dimensions")

    class MeasuredImage(Custom):
        width = models.IntegerField()
        image = Picture(width_field="width")

    return MeasuredImage


def values_of(model: type[models.Model]) -> tuple[tuple[str, ...], list[int]]:
    names = tuple(field.attname for field in model._meta.concrete_fields)
    return names, list(range(1, len(names) + 1))


@pytest.mark.parametrize(
    "define",
    [
        own_init, own_new, own_setattr, own_from_db, static_from_db, mixin_after_model, wrapped_by_a_parent,
        own_metaclass, own_descriptor, own_foreign_key, own_state, measured_image,
    ],
)  # fmt: skip
def test_it_runs_what_a_model_has_of_its_own(define: Callable[[Called], type[models.Model]]) -> None:
    called: Called = []
    with isolate_apps("tests.testapp"):
        model = define(called)
    names, values = values_of(model)
    build = instance_builder(model, names)
    called.clear()
    djangos = portrait(model.from_db("default", names, values))
    by_django = list(called)
    called.clear()

    ours = portrait(build("default", values))

    assert ours == djangos
    assert by_django
    assert called == by_django


def test_it_passes_over_nothing_that_is_not_there() -> None:
    with isolate_apps("tests.testapp"):

        class Harmless(Custom):
            """Has methods, properties and fields of other classes, none of which an instance is made by."""

            file = models.FileField()
            image = models.ImageField()
            other = models.OneToOneField("self", models.CASCADE)

            @property
            def twice(self) -> int:
                return self.number * 2

            def __getattribute__(self, name: str) -> Any:
                return super().__getattribute__(name)

    names, values = values_of(Harmless)

    assert is_untouched(Harmless)
    assert has_plain_columns(Harmless, names)
    ours, djangos = (
        instance_builder(Harmless, names)("default", values),
        Harmless.from_db("default", names, values),
    )
    assert list(vars(ours).items())[1:] == list(vars(djangos).items())[1:]


@pytest.mark.parametrize("name", ["it's", "class"])
def test_a_name_that_is_no_identifier_stands_in_no_source(name: str) -> None:
    with isolate_apps("tests.testapp"):
        model = type(Custom)("Odd", (Custom,), {"__module__": __name__, name: models.IntegerField()})
    names, values = values_of(model)

    assert not has_plain_columns(model, names)
    assert portrait(instance_builder(model, names)("default", values)) == portrait(
        model.from_db("default", names, values)
    )

"""Models for the tests of the room `hydration`."""

from __future__ import annotations

from django.db import models

from tests.testapp.caching import Loud


class Square(models.Model):
    """Its key has two parts."""

    pk = models.CompositePrimaryKey("column", "row")
    column = models.IntegerField()
    row = models.IntegerField()
    piece = models.CharField(max_length=10, blank=True)


class Speaker(models.Model):
    name = models.CharField(max_length=20)


class Speech(models.Model):
    """Leads to a model that makes its instances in a way of its own, and to one that does not."""

    text = models.CharField(max_length=20)
    speaker = models.ForeignKey(Speaker, models.CASCADE, related_name="speeches")
    loud = models.OneToOneField(Loud, models.DO_NOTHING, null=True, related_name="speech")

    @property
    def length(self) -> int | None:
        """What an annotation of this name is taken by."""
        return self.__dict__.get("measured")

    @length.setter
    def length(self, value: int) -> None:
        self.measured = value

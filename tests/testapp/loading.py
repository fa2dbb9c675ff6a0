"""Every kind of relation that a path may lead along."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.functions import RowNumber
from django.utils.functional import cached_property

from perfkit.loading import needs


class Publisher(models.Model):
    name = models.CharField(max_length=20)


class Person(models.Model):
    name = models.CharField(max_length=20)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")

    @needs("name", "mentor__name")
    @property
    def signature(self) -> str:
        return f"{self.name}, pupil of {self.mentor.name if self.mentor else 'nobody'}"

    @property
    def shout(self) -> str:
        return self.name.upper()


class Profile(models.Model):
    person = models.OneToOneField(
        Person, models.CASCADE, related_name="profile", related_query_name="its_profile"
    )
    city = models.CharField(max_length=20)


class Label(models.Model):
    # The test tables are made before those of the migrated apps.
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.PositiveIntegerField()
    target = GenericForeignKey("content_type", "object_id")
    text = models.CharField(max_length=20)


class Book(models.Model):
    title = models.CharField(max_length=20)
    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    authors = models.ManyToManyField(Person, related_name="books")
    labels = GenericRelation(Label)

    @cached_property
    @needs("title", "editor__signature", "review_set__stars")
    def blurb(self) -> str:
        editor = self.editor.signature if self.editor else ""
        return f"{self.title} ({editor}): {sum(review.stars for review in self.review_set.all())}"

    @needs("labels__text")
    def tags(self) -> list[str]:
        return sorted(label.text for label in self.labels.all())


class FirstOfEach(models.Manager["Chapter"]):
    """Reads one chapter: the first of all that are asked for."""

    def get_queryset(self) -> models.QuerySet[Chapter]:
        place = models.Window(RowNumber(), order_by=models.F("pk").asc())
        return super().get_queryset().annotate(place=place).filter(place=1)


class Chapter(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="chapters")

    objects = FirstOfEach()


class ByKnownPeople(models.Manager["Remark"]):
    def get_queryset(self) -> models.QuerySet[Remark]:
        return super().get_queryset().exclude(author__name="nobody").select_related("author")


class Remark(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="remarks")
    author = models.ForeignKey(Person, models.CASCADE, related_name="remarks")

    objects = ByKnownPeople()


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)  # no related_name: review_set
    critic = models.ForeignKey(Person, models.CASCADE, related_name="reviews")
    stars = models.SmallIntegerField()


class OpenPlaces(models.Manager["Place"]):
    """Hides rows and columns, as default managers of projects do."""

    def get_queryset(self) -> models.QuerySet[Place]:
        return super().get_queryset().exclude(name="closed").defer("name")


class Place(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=20)
    above = models.ForeignKey("self", models.CASCADE, null=True, related_name="parts", to_field="code")

    objects = OpenPlaces()


class Inn(Place):
    """In a table of its own, beside that of places."""

    stars = models.SmallIntegerField()


class Guest(models.Model):
    inn = models.ForeignKey(Inn, models.CASCADE, related_name="guests")
    home = models.ForeignKey(Place, models.CASCADE, to_field="code", related_name="dwellers")
    name = models.CharField(max_length=20)

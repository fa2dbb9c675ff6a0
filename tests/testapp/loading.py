"""Every kind of relation that a path may lead along."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Publisher(models.Model):
    name = models.CharField(max_length=20)


class Person(models.Model):
    name = models.CharField(max_length=20)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")


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


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)  # no related_name: review_set
    critic = models.ForeignKey(Person, models.CASCADE, related_name="reviews")
    stars = models.SmallIntegerField()

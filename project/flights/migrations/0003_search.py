"""Trigrams, by which the search for airports finds a part of a name; see `models.py`."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations

from perfkit.indexing import AddIndexSafely


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("flights", "0002_indexes")]

    operations = [
        TrigramExtension(),
        AddIndexSafely(
            model_name="airport",
            index=GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="airport_name_trigrams"),
        ),
    ]

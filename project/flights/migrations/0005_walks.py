"""Indexes for walks by cursor, to whose order the primary key is added."""

from django.db import migrations, models

from perfkit.indexing import AddIndexSafely, RemoveIndexSafely


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("flights", "0004_api_token")]

    operations = [
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["airline", "id"], name="flight_airline"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["number", "id"], name="flight_number_id"),
        ),
        RemoveIndexSafely(model_name="flight", name="flight_number"),
    ]

"""The list of an airline's flights can be sorted by their number, which sorted all of them for each page."""

from django.db import migrations, models

from perfkit.indexing import AddIndexSafely


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("flights", "0007_advised_indexes")]

    operations = [
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["airline", "number", "id"], name="flight_airline_number"),
        ),
    ]

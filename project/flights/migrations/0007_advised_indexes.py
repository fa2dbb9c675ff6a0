"""What `perfkit_advise` said: the list of the weather lacks an index, one of the flights was half empty."""

from django.db import migrations, models

from perfkit.indexing import AddIndexSafely, ReplaceIndexSafely


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("flights", "0006_activity_day")]

    operations = [
        AddIndexSafely(
            model_name="weather",
            index=models.Index(fields=["time_hour", "id"], name="weather_time"),
        ),
        ReplaceIndexSafely(
            model_name="flight",
            old_name="flight_time",
            index=models.Index(fields=["time_hour", "id"], name="flight_time"),
        ),
    ]

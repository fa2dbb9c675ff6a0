"""Indexes for what the admin and the API list, built without blocking writes; see `models.py`."""

from django.db import migrations, models

from perfkit.indexing import AddIndexSafely, PortableIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("flights", "0001_initial")]

    operations = [
        AddIndexSafely(
            model_name="activitylog",
            index=models.Index(fields=["user", "-created_at"], name="activity_user_created"),
        ),
        AddIndexSafely(
            model_name="activitylog",
            index=models.Index(fields=["-created_at"], name="activity_created"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["-time_hour", "-id"], name="flight_time"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["airline", "-time_hour"], name="flight_airline_time"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["origin", "-time_hour"], name="flight_origin_time"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["dest_code", "-time_hour"], name="flight_dest_code_time"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["plane", "-time_hour"], name="flight_plane_time"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["destination"], name="flight_destination"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["number"], name="flight_number"),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(fields=["tailnum"], name="flight_tailnum", opclasses=["varchar_pattern_ops"]),
        ),
        AddIndexSafely(
            model_name="flight",
            index=PortableIndex(
                models.F("dep_delay").desc(nulls_last=True), models.F("id"), name="flight_dep_delay"
            ),
        ),
        AddIndexSafely(
            model_name="flight",
            index=models.Index(
                condition=models.Q(("dep_time__isnull", True)), fields=["-time_hour"], name="flight_cancelled"
            ),
        ),
        AddIndexSafely(
            model_name="statusreport",
            index=models.Index(fields=["flight", "-created_at"], name="report_flight_created"),
        ),
        AddIndexSafely(
            model_name="statusreport",
            index=models.Index(fields=["author", "kind"], name="report_author_kind"),
        ),
        AddIndexSafely(
            model_name="statusreport",
            index=models.Index(fields=["kind", "-created_at"], name="report_kind_created"),
        ),
        AddIndexSafely(
            model_name="statusreport",
            index=models.Index(fields=["-created_at"], name="report_created"),
        ),
    ]

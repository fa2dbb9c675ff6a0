import django.db.models.deletion
from django.db import migrations, models

from perfkit.indexing import (
    AddConstraintSafely,
    AddForeignKeySafely,
    AddIndexSafely,
    AlterForeignKeySafely,
    RemoveConstraintSafely,
    RemoveIndexSafely,
    RenameIndexSafely,
    ReplaceIndexSafely,
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0001_initial")]
    operations = [
        ReplaceIndexSafely(
            "order", "order_status", models.Index(fields=["status", "-made"], name="order_status_made")
        ),
        AddIndexSafely(
            "order", models.Index(fields=["made"], condition=models.Q(status="open"), name="order_open")
        ),
        RenameIndexSafely("order", "order_open_made", "order_open"),
        RemoveIndexSafely("order", "order_made"),
        AddConstraintSafely("order", models.UniqueConstraint(fields=["number"], name="order_number_once")),
        AddConstraintSafely(
            "order", models.CheckConstraint(condition=models.Q(number__gt=0), name="order_number_positive")
        ),
        RemoveConstraintSafely("order", "order_number"),
        AddForeignKeySafely(
            "order",
            "customer",
            models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to="orders.customer"),
        ),
        AlterForeignKeySafely(
            "order",
            "payer",
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="orders.customer"
            ),
        ),
    ]

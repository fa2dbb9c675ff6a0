import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from perfkit.indexing import AddIndexSafely


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0001_initial")]
    operations = [
        migrations.AddIndex("order", models.Index(fields=["number"], name="order_plain")),
        AddIndexSafely("order", models.Index(fields=["-number"], name="order_safe")),
        AddIndexConcurrently("order", models.Index(fields=["-made"], name="order_concurrent")),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AddConstraint(
                    "order", models.UniqueConstraint(fields=["number"], name="order_unique")
                )
            ]
        ),
        migrations.AddField("order", "note", models.TextField(default="")),
        migrations.AddField(
            "order",
            "customer",
            models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to="orders.customer"),
        ),
        migrations.AlterField("order", "status", models.CharField(db_index=True, max_length=10)),
        migrations.AlterField("order", "status", models.CharField(db_index=True, default="", max_length=10)),
        migrations.CreateModel("Refund", [("id", models.BigAutoField(primary_key=True))]),
        migrations.AddIndex("refund", models.Index(fields=["id"], name="refund_plain")),
        migrations.RemoveIndex("order", "order_made"),
    ]

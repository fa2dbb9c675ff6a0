from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.CreateModel(
            "Customer",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=40)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("status", models.CharField(max_length=10)),
                ("made", models.DateTimeField()),
                ("payer", models.BigIntegerField(db_column="payer_id", null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["status"], name="order_status"),
                    models.Index(fields=["made"], name="order_made"),
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(number__gte=0), name="order_number")
                ],
            },
        ),
    ]

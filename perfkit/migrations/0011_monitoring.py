from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("perfkit", "0010_job_origin"),
    ]

    operations = [
        migrations.CreateModel(
            name="Monitoring",
            fields=[],
            options={
                "verbose_name": "monitoring",
                "verbose_name_plural": "monitoring",
                "permissions": (
                    ("explain_monitoring", "Can have statements explained"),
                    ("warm_monitoring", "Can warm the cache"),
                ),
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("perfkit.pendinginvalidation",),
        ),
    ]

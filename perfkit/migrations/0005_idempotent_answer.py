from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("perfkit", "0004_cache"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdempotentAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "scope",
                    models.CharField(help_text="SHA-256 of who sent it, and to which route.", max_length=64),
                ),
                ("key", models.CharField(max_length=255)),
                (
                    "request_digest",
                    models.CharField(help_text="SHA-256 of its address and its body.", max_length=64),
                ),
                ("status", models.SmallIntegerField()),
                ("headers", models.JSONField(default=dict)),
                ("content", models.BinaryField()),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("scope", "key"), name="perfkit_idempotent_answer_key")
                ],
            },
        ),
    ]

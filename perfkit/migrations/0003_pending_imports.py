import secrets

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("perfkit", "0002_notices"),
    ]

    operations = [
        migrations.CreateModel(
            name="PendingImport",
            fields=[
                (
                    "token",
                    models.CharField(
                        default=secrets.token_urlsafe, max_length=43, primary_key=True, serialize=False
                    ),
                ),
                ("user_key", models.CharField(help_text="The primary key of the user.", max_length=64)),
                ("model_label", models.CharField(help_text="Such as flights.Airline.", max_length=255)),
                ("file_name", models.CharField(max_length=255)),
                ("content", models.BinaryField()),
                ("delimiter", models.CharField(max_length=1)),
                (
                    "choices",
                    models.JSONField(help_text="What was checked last, of the form of columns.", null=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("perfkit", "0006_job"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="job",
            options={
                "permissions": (
                    ("replay_job", "Can queue jobs once more"),
                    ("cancel_job", "Can cancel jobs"),
                ),
            },
        ),
    ]

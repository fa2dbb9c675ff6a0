from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("perfkit", "0001_outbox")]

    operations = [
        migrations.AddField(
            model_name="pendinginvalidation",
            name="holds_until",
            field=models.DateTimeField(help_text="When a notice ends, on the database's clock.", null=True),
        ),
    ]

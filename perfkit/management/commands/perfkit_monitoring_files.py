"""`manage.py perfkit_monitoring_files`: the Grafana dashboard and the rules for Prometheus, as files."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.resources import files
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Copies what perfkit brings; nothing that is there is replaced without being asked for."""

    help = (
        "Write dashboard.json for Grafana, and rules.yml with its unit tests rules_test.yml for Prometheus, "
        "into a folder. Files that are there and differ are an error unless --force is given."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("folder", type=Path, help="It is made where it is not there.")
        parser.add_argument("--force", action="store_true", help="Replace files that differ.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write the files, or none of them.

        Raises:
            CommandError: One is there and differs, or cannot be written.
        """
        folder: Path = options["folder"]
        found = {
            each.name: each.read_text("utf-8")
            for each in (files("perfkit.monitoring") / "files").iterdir()
            if each.name.endswith((".json", ".yml"))
        }
        try:
            changed = [
                name
                for name, text in sorted(found.items())
                if not (folder / name).exists() or (folder / name).read_text("utf-8") != text
            ]
            differ = [name for name in changed if (folder / name).exists()]
            if differ and not options["force"]:
                raise CommandError(f"{folder} has other files of these names: {', '.join(differ)}.")
            folder.mkdir(parents=True, exist_ok=True)
            for name in changed:
                (folder / name).write_text(found[name], encoding="utf-8")
        except OSError as error:
            raise CommandError(f"The files cannot be written: {error}") from error
        for name in sorted(found):
            self.stdout.write(f"{folder / name}{'' if name in changed else ' (is there)'}")

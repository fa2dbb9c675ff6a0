#!/usr/bin/env python
"""Django's command line for the demo project."""

import os
import sys

# These serve many requests at once, or show the settings of what does.
# Any other command ends soon and needs one connection, not a pool of them.
WITH_POOL = {"check", "perfkit_pool", "runserver", "testserver"}


def main() -> None:
    """Run the command that the arguments name; what the reader can mend is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if not WITH_POOL.intersection(sys.argv[1:2]):
        os.environ.setdefault("DATABASE_POOL_SIZE", "0")

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, connection

    from project.services import unreachable_database

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(str(error))
    except OperationalError:
        problem = unreachable_database(connection.settings_dict)
        if problem is None or "--traceback" in sys.argv:
            raise
        sys.exit(problem)


if __name__ == "__main__":
    main()

"""`python -m tests.indexing.client URL`: runs an operation in a process of its own, which may be killed.

It reads a line for each: `forwards NAME`, `backwards NAME` or `hasty NAME`,
and says the number of the process that runs it, and then how that one ended.
"""

from __future__ import annotations

import logging
import os
import sys

import django
from django.conf import settings

SET_BEFORE = {"lock_timeout": "7s", "statement_timeout": "77s"}
DONE, FAILED, LOCKED, CHANGED = 0, 1, 2, 3


def main(url: str) -> None:
    from perfkit.postgres import database_settings

    settings.configure(DATABASES={"default": database_settings(url, pool_size=0)}, USE_TZ=True)
    django.setup()
    logging.disable(logging.WARNING)
    from tests.indexing.kills import run  # loaded once, for all processes

    for line in sys.stdin:
        way, name = line.split()
        pid = os.fork()
        if pid == 0:
            code = FAILED
            try:
                code = run(way, name)
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

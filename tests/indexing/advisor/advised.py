"""`python -m tests.indexing.advisor.advised URL`: advises again and again, until it is killed."""

from __future__ import annotations

import sys

import django
from django.conf import settings


def main(url: str) -> None:
    from perfkit.postgres import database_settings

    settings.configure(DATABASES={"default": database_settings(url, pool_size=0)}, USE_TZ=True)
    django.setup()
    from perfkit.indexing.advisor.advising import advise
    from tests.indexing.advisor.shop import BY_CUSTOMER, LATEST, LINES, workload

    while True:
        print(len(advise(workload(BY_CUSTOMER, LATEST, LINES)).findings), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""A process that serves requests: `python -m tests.api.writing.caller DATABASE_URL NAME STOP`.

For each line it reads, `{"path": …, "key": …, "body": …}`, it answers one, and writes its status, its body and
whether it was kept. At the point STOP of a view, see `views.stops`, it writes `stopped` and stands still.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["DATABASE_URL"] = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.db import connection  # noqa: E402
from django.test import Client, override_settings  # noqa: E402

from tests.api.writing import views  # noqa: E402


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stand_still() -> None:
    say("stopped")
    time.sleep(600)


def main() -> None:
    connection.settings_dict["NAME"] = sys.argv[2]
    views.stops[sys.argv[3]] = stand_still
    client = Client(raise_request_exception=False)
    connection.ensure_connection()
    with override_settings(ROOT_URLCONF="tests.api.writing.views", ALLOWED_HOSTS=["testserver"]):
        say("ready")
        for line in sys.stdin:
            asked = json.loads(line)
            response = client.post(
                asked["path"],
                asked["body"],
                content_type="application/json",
                headers={"Idempotency-Key": asked["key"]},
            )
            answer = [response.status_code, response.json(), "Idempotent-Replayed" in response.headers]
            say(json.dumps(answer))


if __name__ == "__main__":
    main()

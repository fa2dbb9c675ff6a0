"""Settings of that site."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.api.writing.site"
MIDDLEWARE = ["perfkit.api.after_response_middleware"]

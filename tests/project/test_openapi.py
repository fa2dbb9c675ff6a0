"""The demo's API is asked what its document allows, and what it does not: none of it is a server's error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from perfkit.conf import configured
from project.flights.jobs import describe_delays
from project.flights.tokens import make_token
from project.wsgi import application
from tests.flights.factories import make_flights
from tests.jobs.conftest import _no_beats_outlive_their_test  # noqa: F401  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 25

schema = schemathesis.openapi.from_wsgi("/api/openapi.json", application).exclude(
    path_regex="/events$"  # a stream that does not end while a task may still come
)
OPERATIONS = [found.ok() for found in schema.get_all_operations()]


@dataclass(frozen=True)
class Staff:
    """One who may do all, with a session and with a token; and what the addresses of rows may name."""

    headers: dict[str, str]
    cookies: dict[str, str]
    known: dict[str, dict[str, Any]]


@pytest.fixture
def staff(settings: Any) -> Staff:
    settings.PERFKIT = {**configured(), "RATE_LIMIT_ENABLED": False, "JOB_BACKEND": "immediate"}
    settings.MODEL_SERVER_URL = ""
    flight = make_flights(3)[0]
    user = User.objects.create_superuser("demo", password="only-for-tests")
    client = Client()
    client.force_login(user)
    return Staff(
        # Its client says that it takes every coding, and reads none.
        headers={"Authorization": f"Bearer {make_token(user, 'tests')}", "Accept-Encoding": "identity"},
        cookies={settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value},
        known={
            "/api/flights/{flight_id}": {"flight_id": flight.pk},
            "/api/flights/{flight_id}/reports": {"flight_id": flight.pk},
            "/api/airports/{code}": {"code": "JFK"},
            "/api/airports/{code}/stats": {"code": "JFK"},
            "/api/airports/{code}/descriptions": {"code": "EWR"},
            "/api/descriptions/{description_id}": {
                "description_id": str(describe_delays.enqueue("EWR", "0").id)
            },
            "/api/airlines/{code}": {"code": "UA"},
            "/api/airlines/{code}/stats": {"code": "UA"},
        },
    )


def test_the_document_names_operations() -> None:
    assert len(OPERATIONS) >= 11


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_it_answers_as_its_document_says(operation: Any, mode: GenerationMode, staff: Staff) -> None:
    statuses = set()

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode), strategies.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters.update(staff.known.get(operation.path, {}))
        answer = case.call(headers=staff.headers, cookies=staff.cookies)
        statuses.add(answer.status_code)
        checks = [not_a_server_error]
        if "fields" not in case.query:  # of an answer in part the schema says too much
            checks.append(response_schema_conformance)
        case.validate_response(answer, checks=checks)

    ask()
    assert 401 not in statuses
    assert mode.is_negative or statuses & ({422} if "bulk" in operation.path else {200, 201, 202})

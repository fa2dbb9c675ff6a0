from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client, override_settings
from django.test.client import encode_multipart
from django.utils import timezone

from perfkit.api import idempotent
from perfkit.api.writing.requests import default_scope
from perfkit.conf import configured
from perfkit.errors import UsageError
from perfkit.models import IdempotentAnswer
from project import services
from tests.api.writing import views
from tests.testapp.bulk import City, Country

pytestmark = [pytest.mark.urls("tests.api.writing.views"), pytest.mark.django_db]

LIMA = {"name": "Lima"}


def post(
    client: Client, path: str = "cities", body: Any = None, *, key: str | None = "k", **headers: str
) -> Any:
    if key is not None:
        headers["Idempotency-Key"] = key
    return client.post(f"/api/{path}", body or LIMA, content_type="application/json", headers=headers)


@pytest.mark.usefixtures("peru")
class TestAnswers:
    def test_the_same_request_gets_the_same_answer_and_runs_once(self, client: Client) -> None:
        first, second = post(client), post(client)
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        assert second["Content-Type"] == first["Content-Type"]
        assert first["X-Made"] == second["X-Made"] == "Lima"
        assert "Idempotent-Replayed" not in first.headers
        assert second["Idempotent-Replayed"] == "true"
        assert views.calls == ["Lima"]
        assert City.objects.count() == 1

    def test_cookies_are_not_kept(self, client: Client) -> None:
        assert "seen" in post(client).cookies
        assert "seen" not in post(client).cookies

    def test_without_a_key_each_request_runs(self, client: Client) -> None:
        assert post(client, key=None).status_code == 201
        assert post(client, body={"name": "Cusco"}, key=None).status_code == 201
        assert City.objects.count() == 2
        assert not IdempotentAnswer.objects.exists()

    def test_another_key_is_another_request(self, client: Client) -> None:
        post(client)
        assert post(client, body={"name": "Cusco"}, key="other").status_code == 201
        assert views.calls == ["Lima", "Cusco"]

    def test_another_body_under_the_same_key_is_refused(self, client: Client) -> None:
        post(client)
        response = post(client, body={"name": "Cusco"})
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == ["header", "Idempotency-Key"]
        assert problem["type"] == "idempotency_key_reused"
        assert views.calls == ["Lima"]

    def test_another_address_of_the_same_route_is_refused(self, client: Client) -> None:
        headers = {"X-Key": "ann"}
        assert post(client, "countries/PE/cities", **headers).status_code == 201
        assert post(client, "countries/AR/cities", **headers).status_code == 422
        assert post(client, "countries/PE/cities?note=x", **headers).status_code == 422
        assert post(client, "countries/PE/cities", **headers)["Idempotent-Replayed"] == "true"

    def test_another_caller_or_route_has_keys_of_its_own(self, client: Client) -> None:
        assert post(client, "countries/PE/cities", **{"X-Key": "ann"}).status_code == 201
        other = post(client, "countries/PE/cities", {"name": "Cusco"}, **{"X-Key": "bob"})
        assert other.status_code == 201
        assert post(client, "cities", {"name": "Ica"}).status_code == 201
        assert views.calls == ["Lima", "Cusco", "Ica"]

    def test_a_scope_of_ones_own_tells_callers_apart(self, client: Client) -> None:
        assert post(client, "scoped", **{"X-Tenant": "a"}).status_code == 201
        assert post(client, "scoped", {"name": "Cusco"}, **{"X-Tenant": "b"}).status_code == 201
        assert post(client, "scoped", **{"X-Tenant": "b"}).status_code == 422

    def test_users_of_a_session_are_told_apart_by_key_and_model(self) -> None:
        request = HttpRequest()
        assert default_scope(request) == ""
        user = get_user_model().objects.create_user("ann")
        request.auth = user  # type: ignore[attr-defined]
        assert default_scope(request) == f"auth.user {user.pk}"
        request.auth = "a token"  # type: ignore[attr-defined]
        assert default_scope(request) == "str a token"
        request.auth = AnonymousUser()  # type: ignore[attr-defined]
        assert default_scope(request) == ""

    def test_the_claims_of_a_token_are_told_apart_by_their_subject(self) -> None:
        request = HttpRequest()
        names = set()
        for claims in ({"sub": "7", "exp": 1}, {"sub": "7", "exp": 2}, {"sub": "8", "exp": 1}):
            request.auth = claims  # type: ignore[attr-defined]
            names.add(default_scope(request))
        assert len(names) == 2

    @pytest.mark.parametrize("auth", [True, object()])
    def test_an_authentication_that_tells_nobody_apart_wants_a_scope(self, auth: object) -> None:
        request = HttpRequest()
        request.auth = auth  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="give @idempotent a scope="):
            default_scope(request)

    @pytest.mark.parametrize(("sent", "means"), [('"k"', "k"), (" k ", "k"), ('"a\\"b"', 'a"b')])
    def test_quotation_marks_do_not_matter(self, client: Client, sent: str, means: str) -> None:
        post(client, key=sent)
        assert IdempotentAnswer.objects.get().key == means
        assert post(client, key=means)["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, "\xe9", "a\tb"])
    def test_what_is_no_key_is_refused(self, client: Client, key: str) -> None:
        response = post(client, key=key)
        assert response.status_code == 400
        assert response.json()["detail"][0]["type"] == "idempotency_key_invalid"
        assert views.calls == []

    def test_the_longest_key_is_one(self, client: Client) -> None:
        assert post(client, key="x" * 255).status_code == 201
        assert post(client, key="x" * 255)["Idempotent-Replayed"] == "true"

    def test_a_key_can_be_required(self, client: Client) -> None:
        assert post(client, "required", key=None).json()["detail"][0]["type"] == "idempotency_key_missing"
        assert post(client, "required", key=None).status_code == 400
        assert post(client, "required").status_code == 201

    def test_an_answer_of_the_view_itself_is_kept_as_it_is(self, client: Client) -> None:
        first, second = post(client, "plain-response"), post(client, "plain-response")
        assert (
            (second.status_code, second.content) == (first.status_code, first.content) == (202, b"made Lima")
        )
        assert second["Content-Type"] == "text/plain"

    def test_an_answer_without_a_body_is_kept(self, client: Client) -> None:
        answers = [post(client, "empty") for _ in range(2)]
        assert [(each.status_code, each.content) for each in answers] == [(204, b"")] * 2
        assert answers[1]["Idempotent-Replayed"] == "true"
        assert views.calls == ["Lima"]

    def test_a_router_that_is_mounted_twice_answers_at_both(self, client: Client) -> None:
        for mount, name in (("api", "Lima"), ("other", "Cusco")):
            answers = [
                client.post(
                    f"/{mount}/cities",
                    {"name": name},
                    content_type="application/json",
                    headers={"Idempotency-Key": "k"},
                )
                for _ in range(2)
            ]
            assert [each.status_code for each in answers] == [201, 201]
            assert "Idempotent-Replayed" in answers[1].headers
        assert views.calls == ["Lima", "Cusco"]

    def test_a_form_is_the_same_whatever_its_boundary(self, client: Client) -> None:
        def send(content: bytes, boundary: str) -> Any:
            file = SimpleUploadedFile("a.txt", content)
            return client.post(
                "/api/upload",
                encode_multipart(boundary, {"note": "n", "file": file}),
                content_type=f"multipart/form-data; boundary={boundary}",
                headers={"Idempotency-Key": "k"},
            )

        assert send(b"abc", "one").json() == 3
        again = send(b"abc", "two")
        assert (again.json(), again["Idempotent-Replayed"]) == (3, "true")
        assert send(b"xyz", "three").status_code == 422
        assert views.calls == ["n"]

    def test_an_expired_answer_is_forgotten(self, client: Client) -> None:
        post(client)
        day_ago = timezone.now() - timedelta(seconds=86_401)
        IdempotentAnswer.objects.update(created_at=day_ago)
        City.objects.all().delete()
        assert "Idempotent-Replayed" not in post(client).headers
        assert views.calls == ["Lima", "Lima"]
        assert post(client)["Idempotent-Replayed"] == "true"

    def test_the_option_says_how_long_it_holds(self, client: Client) -> None:
        post(client)
        IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(seconds=86_401))
        with override_settings(PERFKIT={**configured(), "IDEMPOTENCY_TTL": 90_000}):
            assert post(client)["Idempotent-Replayed"] == "true"

    def test_the_command_removes_what_has_expired(self, client: Client) -> None:
        post(client)
        post(client, body={"name": "Cusco"}, key="young")
        IdempotentAnswer.objects.filter(key="k").update(created_at=timezone.now() - timedelta(days=2))
        out = StringIO()
        call_command("clear_idempotency_keys", stdout=out)
        assert out.getvalue() == "1 answers removed.\n"
        assert [each.key for each in IdempotentAnswer.objects.all()] == ["young"]

    @pytest.mark.parametrize("rows", [1, 50])
    def test_it_costs_the_same_however_many_are_kept(
        self, client: Client, django_assert_num_queries: Any, rows: int
    ) -> None:
        for number in range(rows):
            post(client, body={"name": f"n{number}"}, key=f"k{number}")
        with django_assert_num_queries(6):  # savepoint, lock, look, the view's own, answer, release
            post(client, body={"name": "new"}, key="new")
        with django_assert_num_queries(4):
            post(client, body={"name": "new"}, key="new")


@pytest.mark.usefixtures("peru")
class TestFailures:
    def test_what_the_view_raises_is_not_kept_and_leaves_nothing(self, client: Client) -> None:
        for _ in range(2):
            assert post(client, "failing/404?raises=true").status_code == 404
        assert views.calls == ["Lima", "Lima"]
        assert not City.objects.exists()
        assert not IdempotentAnswer.objects.exists()

    def test_a_server_error_is_not_kept_and_leaves_nothing(self, client: Client) -> None:
        for _ in range(2):
            assert post(client, "failing/503").status_code == 503
        assert views.calls == ["Lima", "Lima"]
        assert not City.objects.exists()

    def test_a_refusal_that_the_view_answers_is_kept_with_what_it_wrote(self, client: Client) -> None:
        assert [post(client, "failing/409").status_code for _ in range(2)] == [409, 409]
        assert views.calls == ["Lima"]
        assert City.objects.count() == 1

    def test_an_answer_that_does_not_fit_its_schema_leaves_nothing(self, client: Client) -> None:
        client.raise_request_exception = False
        assert post(client, "unserializable").status_code == 500
        assert not City.objects.exists()

    def test_what_ninja_refuses_uses_no_key(self, client: Client) -> None:
        assert post(client, body={"name": 7}).status_code == 422
        assert post(client).status_code == 201

    def test_a_stream_is_refused(self, client: Client) -> None:
        with pytest.raises(UsageError, match="streams its answer"):
            post(client, "streaming")
        assert not City.objects.exists()

    def test_a_coroutine_is_refused(self) -> None:
        async def view(request: HttpRequest) -> None: ...

        with pytest.raises(UsageError, match="is a coroutine"):
            idempotent(view)


def test_the_schema_names_the_header() -> None:
    paths = views.api.get_openapi_schema()["paths"]
    (parameter,) = [
        each for each in paths["/api/required"]["post"]["parameters"] if each["name"] == "Idempotency-Key"
    ]
    assert parameter["required"] is True
    assert {400, 409} <= paths["/api/required"]["post"]["responses"].keys()
    declared = paths["/api/failing/{status}"]["post"]["responses"][409]
    assert "still running" not in declared["description"]


class Caller:
    """A process that serves requests; see `tests.api.writing.caller`."""

    def __init__(self, stop: str = "") -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.api.writing.caller"),
                *(services.database_url(), str(connection.settings_dict["NAME"]), stop),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def begin(self, key: str = "k", body: Any = None) -> None:
        assert self.process.stdin
        asked = {"path": "/api/cities", "key": key, "body": body or LIMA}
        self.process.stdin.write(json.dumps(asked) + "\n")

    def post(self, key: str = "k", body: Any = None) -> tuple[int, Any, bool]:
        self.begin(key, body)
        status, answer, is_kept = json.loads(self.line())
        return status, answer, is_kept

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[..., Caller]]:
    callers: list[Caller] = []

    def start(stop: str = "") -> Caller:
        callers.append(Caller(stop))
        return callers[-1]

    yield start
    for each in callers:
        each.kill()


def backends() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def wait_for_others_to_end() -> int:
    """Return how many sessions there are, once none of those that another test has killed is about to go."""
    found, since = backends(), time.monotonic()
    while time.monotonic() < since + 0.3:
        now = backends()
        if now != found:
            found, since = now, time.monotonic()
        time.sleep(0.02)
    return found


def wait_until_its_session_is_gone(others: int) -> None:
    deadline = time.monotonic() + 20
    while backends() > others:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestProcesses:
    @pytest.fixture(autouse=True)
    def _peru(self, transactional_db: None) -> None:
        Country.objects.create(code="PE")

    def test_eight_at_once_write_one_row(self, start: Callable[..., Caller]) -> None:
        callers = [start() for _ in range(8)]
        for round_ in range(10):
            key, body = f"k{round_}", {"name": f"n{round_}"}
            for caller in callers:
                caller.begin(key, body)
            told = [json.loads(caller.line()) for caller in callers]
            made = [each for each in told if each[0] == 201 and not each[2]]
            assert len(made) == 1, told
            assert {status for status, _, _ in told} <= {201, 409}
            assert {json.dumps(answer) for status, answer, _ in told if status == 201} == {
                json.dumps(made[0][1])
            }
            assert callers[0].post(key, body) == (201, made[0][1], True)
        assert City.objects.count() == IdempotentAnswer.objects.count() == 10

    @pytest.mark.pgbouncer
    def test_it_holds_behind_pgbouncer_in_transaction_mode(self, pgbouncer: int) -> None:
        def send(number: int) -> tuple[int, bool]:
            response = post(Client(), body={"name": f"n{number % 5}"}, key=f"k{number % 5}")
            connection.close()
            return response.status_code, "Idempotent-Replayed" in response.headers

        with ThreadPoolExecutor(8) as threads:
            told = list(threads.map(send, range(100)))
        assert {status for status, _ in told} <= {201, 409}
        assert told.count((201, False)) == City.objects.count() == 5
        assert connection.settings_dict["PORT"] == pgbouncer

    def test_a_request_that_still_runs_is_a_409_for_others(
        self, client: Client, start: Callable[..., Caller]
    ) -> None:
        caller = start("before COMMIT")
        caller.begin()
        assert caller.line() == "stopped"
        response = post(client)
        assert (response.status_code, response["Retry-After"]) == (409, "1")
        assert post(client, body={"name": "Cusco"}, key="other").status_code == 201
        assert views.calls == ["Cusco"]

    @pytest.mark.parametrize("point", ["before the write", "before COMMIT"])
    def test_a_process_killed_before_commit_leaves_the_request_to_the_next(
        self, client: Client, start: Callable[..., Caller], point: str
    ) -> None:
        ended = wait_for_others_to_end()
        caller = start(point)
        caller.begin()
        assert caller.line() == "stopped"
        assert backends() > ended
        caller.kill()
        wait_until_its_session_is_gone(ended)
        assert not City.objects.exists()
        response = post(client)
        assert response.status_code == 201
        assert "Idempotent-Replayed" not in response.headers
        assert City.objects.count() == 1

    def test_a_process_killed_after_commit_has_run_the_request(
        self, client: Client, start: Callable[..., Caller]
    ) -> None:
        caller = start("after COMMIT")
        caller.begin()
        assert caller.line() == "stopped"
        caller.kill()
        response = post(client)
        assert response["Idempotent-Replayed"] == "true"
        assert response.json() == {"id": City.objects.get().pk, "name": "Lima"}
        assert views.calls == []

    def test_a_session_that_ends_before_commit_leaves_the_request_to_the_next(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = str(connection.settings_dict["NAME"])

        def end_session() -> None:
            pid = connection.connection.info.backend_pid
            with psycopg.connect(services.database_url(), dbname=name) as direct:
                direct.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        monkeypatch.setitem(views.stops, "before COMMIT", end_session)
        client = Client(raise_request_exception=False)
        assert post(client).status_code == 503
        monkeypatch.undo()
        connection.close()
        assert not City.objects.exists()
        assert "Idempotent-Replayed" not in post(client).headers
        assert post(client)["Idempotent-Replayed"] == "true"
        assert City.objects.count() == 1

    def test_processes_killed_at_random_write_each_request_once(
        self, client: Client, start: Callable[..., Caller]
    ) -> None:
        """Clients that get no answer send their requests again, elsewhere, until they have one."""
        chance = random.Random("kills")
        answers = {}
        for number in range(8):
            key, body = f"k{number}", {"name": f"n{number}"}
            if number % 4 == 0:
                callers = [start() for _ in range(4)]
            caller = callers[number % 4]
            caller.begin(key, body)
            time.sleep(chance.uniform(0, 0.02))
            caller.kill()
            deadline = time.monotonic() + 20
            while (response := post(client, body=body, key=key)).status_code == 409:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            answers[response.json()["name"]] = response.json()["id"]
        assert answers == dict(City.objects.values_list("name", "pk"))
        assert len(answers) == 8

    def test_a_transaction_that_reads_an_older_snapshot_does_not_run_it_twice(self) -> None:
        """Its look does not see the answer that another one has just kept; the unique constraint does."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT 1")
            other = Caller()
            try:
                assert other.post()[0] == 201
            finally:
                other.kill()
            # What else would refuse the second one is taken away.
            with psycopg.connect(services.database_url(), dbname=connection.settings_dict["NAME"]) as direct:
                direct.execute("DELETE FROM testapp_city")
            response = post(Client())
            assert response.status_code == 409
            assert views.calls == ["Lima"]
        assert not City.objects.exists()

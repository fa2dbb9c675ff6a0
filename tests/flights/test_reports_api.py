from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.utils import timezone

from perfkit.api.writing.workers import workers
from perfkit.conf import configured
from project.flights.models import ActivityLog, ApiToken, Flight, StatusReport
from project.flights.tokens import digest_of, make_token
from tests.flights.factories import make_flights

pytestmark = pytest.mark.django_db

BULK = "/api/flights/reports/bulk"


@pytest.fixture(autouse=True)
def no_rate_limit() -> Iterator[None]:
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        yield
    workers.drain()


@pytest.fixture
def ann() -> Any:
    return get_user_model().objects.create_user("ann")


@pytest.fixture
def token(ann: Any) -> str:
    return make_token(ann, "tests")


@pytest.fixture
def flights() -> list[Flight]:
    return make_flights(3)


def post(url: str, body: Any, token: str = "", key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if key:
        headers["Idempotency-Key"] = key
    # A program has no CSRF token; a site that checks for one must not ask it.
    client = Client(enforce_csrf_checks=True)
    return client.post(url, body, content_type="application/json", headers=headers)


def gates(flights: list[Flight], count: int = 3) -> list[dict[str, Any]]:
    return [
        {"flight_id": flights[number % len(flights)].pk, "kind": "gate", "gate": f"B{number}"}
        for number in range(count)
    ]


class TestBulk:
    def test_it_writes_all_reports_of_the_tokens_user(
        self, flights: list[Flight], token: str, ann: Any
    ) -> None:
        response = post(BULK, gates(flights, 1000), token)
        assert response.status_code == 201
        answer = response.json()
        assert answer["created"] == len(answer["ids"]) == StatusReport.objects.count() == 1000
        assert set(StatusReport.objects.values_list("author", flat=True)) == {ann.pk}
        assert StatusReport.objects.get(pk=answer["ids"][7]).gate == "B7"

    def test_it_names_what_is_wrong_by_place_and_writes_nothing(
        self, flights: list[Flight], token: str
    ) -> None:
        reports = gates(flights, 5)
        reports[1]["flight_id"] = 10**30
        reports[4]["flight_id"] = flights[-1].pk + 1
        response = post(BULK, reports, token)
        assert response.status_code == 422
        assert [each["loc"] for each in response.json()["detail"]] == [
            ["body", 1, "flight_id"],
            ["body", 4, "flight_id"],
        ]
        reports[3]["gate"] = "much too long"
        reports[2] = {"flight_id": flights[0].pk, "kind": "delay"}
        response = post(BULK, reports, token)
        assert [each["loc"] for each in response.json()["detail"]] == [["body", 2], ["body", 3, "gate"]]
        assert not StatusReport.objects.exists()

    def test_it_takes_no_more_than_a_thousand_and_no_fewer_than_one(
        self, flights: list[Flight], token: str
    ) -> None:
        assert post(BULK, gates(flights, 1001), token).json()["detail"][0]["type"] == "too_long"
        assert post(BULK, [], token).json()["detail"][0]["type"] == "too_short"
        note = {**gates(flights, 1)[0], "note": "x" * 1_000_000}
        assert post(BULK, [note], token).status_code == 413

    def test_a_key_makes_it_once(self, flights: list[Flight], token: str) -> None:
        first, second = (post(BULK, gates(flights), token, "k") for _ in range(2))
        assert second.content == first.content
        assert second["Idempotent-Replayed"] == "true"
        assert StatusReport.objects.count() == 3
        assert post(BULK, gates(flights, 2), token, "k").status_code == 422

    def test_it_refuses_strangers(self, flights: list[Flight]) -> None:
        response = Client().post(BULK, gates(flights), content_type="application/json")
        assert response.status_code == 401
        assert not StatusReport.objects.exists()


class TestOne:
    def test_a_token_and_a_key_make_one_report(self, flights: list[Flight], token: str) -> None:
        url = f"/api/flights/{flights[0].pk}/reports"
        answers = [post(url, {"kind": "cancellation"}, token, "k") for _ in range(3)]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert StatusReport.objects.count() == 1

    def test_a_session_with_a_csrf_token_still_does(self, flights: list[Flight], ann: Any) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(ann)
        client.get("/api/docs")
        client.cookies["csrftoken"] = "a" * 32
        response = client.post(
            f"/api/flights/{flights[0].pk}/reports",
            {"kind": "cancellation"},
            content_type="application/json",
            headers={"X-CSRFToken": "a" * 32},
        )
        assert response.status_code == 201


class TestList:
    def test_it_shows_what_is_reported_the_latest_first(
        self, client: Client, flights: list[Flight], token: str
    ) -> None:
        post(BULK, gates(flights), token)
        post(f"/api/flights/{flights[0].pk}/reports", {"kind": "cancellation"}, token)
        answer = client.get("/api/reports?page_size=1").json()
        (report,) = answer["items"]
        assert (report["flight_id"], report["kind"], report["author"]) == (
            flights[0].pk,
            "cancellation",
            "ann",
        )
        assert answer["has_next"]
        rest = client.get("/api/reports", {"page_size": 1, "cursor": answer["next"]}).json()["items"]
        assert rest[0]["gate"] == "B2"

    def test_it_filters(self, client: Client, flights: list[Flight], token: str) -> None:
        post(BULK, gates(flights, 6), token)
        post(f"/api/flights/{flights[0].pk}/reports", {"kind": "cancellation"}, token)
        for query, count in [("kind=gate", 6), (f"flight={flights[0].pk}", 3), ("kind=delay", 0)]:
            assert len(client.get(f"/api/reports?{query}&fields=id").json()["items"]) == count
        for query in ("kind=lost", "flight=first", "author=ann"):
            assert client.get(f"/api/reports?{query}").status_code == 422

    @pytest.mark.parametrize("rows", [1, 50])
    def test_it_takes_one_query_however_many_rows(
        self,
        client: Client,
        flights: list[Flight],
        token: str,
        rows: int,
        django_assert_num_queries: Any,
    ) -> None:
        post(BULK, gates(flights, rows), token)
        with django_assert_num_queries(1):
            assert len(client.get("/api/reports?page_size=100").json()["items"]) == rows


class TestTokens:
    def test_only_the_digest_is_kept(self, token: str) -> None:
        (kept,) = ApiToken.objects.values()
        assert kept["digest"] == digest_of(token)
        assert token not in str(kept)

    @pytest.mark.parametrize("change", ["", "x", "-"])
    def test_another_one_is_refused(self, flights: list[Flight], token: str, change: str) -> None:
        wrong = change and token + change
        assert post(BULK, gates(flights), wrong or "flights_").status_code == 401

    def test_it_holds_until_it_expires(self, flights: list[Flight], token: str) -> None:
        ApiToken.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
        assert post(BULK, gates(flights), token).status_code == 201
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert post(BULK, gates(flights), token).status_code == 401

    def test_a_user_who_may_not_log_in_has_none(self, flights: list[Flight], token: str, ann: Any) -> None:
        ann.is_active = False
        ann.save()
        assert post(BULK, gates(flights), token).status_code == 401

    def test_the_command_makes_one_and_shows_it_once(self, flights: list[Flight], ann: Any) -> None:
        out = StringIO()
        call_command("demo_token", "ann", "--name", "a script", "--days", "30", stdout=out)
        assert post(BULK, gates(flights), out.getvalue().strip()).status_code == 201
        (kept,) = ApiToken.objects.all()
        assert kept.name == "a script"
        assert kept.expires_at is not None
        assert timedelta(days=29) < kept.expires_at - timezone.now() < timedelta(days=31)

    @pytest.mark.parametrize("arguments", [["nobody"], ["ann", "--days", "0"]])
    def test_the_command_refuses_what_cannot_be(self, ann: Any, arguments: list[str]) -> None:
        with pytest.raises(CommandError):
            call_command("demo_token", *arguments)


class TestActivity:
    @pytest.mark.django_db(transaction=True)
    def test_what_was_written_is_logged_after_the_answer(
        self, flights: list[Flight], token: str, ann: Any
    ) -> None:
        report = post(f"/api/flights/{flights[0].pk}/reports", {"kind": "cancellation"}, token).json()
        post(BULK, gates(flights), token, "k")
        post(BULK, gates(flights), token, "k")  # the kept answer: nothing was done
        post(BULK, [{}], token)
        workers.drain()
        logged = ActivityLog.objects.order_by("pk").values_list("user", "action", "detail")
        assert list(logged) == [
            (ann.pk, "report", {"flight": flights[0].pk, "report": report["id"]}),
            (ann.pk, "report_many", {"reports": 3}),
        ]

    @pytest.fixture
    def staff(self, client: Client) -> Client:
        client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
        return client

    def test_staff_see_it_the_latest_first(self, staff: Client, ann: Any) -> None:
        for action, user in (("first", ann), ("second", None)):
            ActivityLog.objects.create(user=user, action=action, detail={"a": 1})
        answer = staff.get("/api/activity").json()
        assert [(each["user"], each["action"]) for each in answer["items"]] == [
            (None, "second"),
            ("ann", "first"),
        ]
        assert answer["total"] == 2

    def test_others_do_not(self, client: Client, ann: Any) -> None:
        assert client.get("/api/activity").status_code == 401
        client.force_login(ann)
        assert client.get("/api/activity").status_code == 401

    @pytest.mark.redis
    @pytest.mark.django_db(transaction=True)
    def test_it_is_read_from_the_cache_until_something_is_done(
        self, staff: Client, ann: Any, django_assert_num_queries: Any
    ) -> None:
        ActivityLog.objects.create(user=ann, action="first")
        staff.get("/api/activity")
        with django_assert_num_queries(2):  # the session and its user
            assert len(staff.get("/api/activity").json()["items"]) == 1
        ActivityLog.objects.create(user=ann, action="second")
        assert len(staff.get("/api/activity").json()["items"]) == 2
        ann.username = "anna"
        ann.save()
        assert {each["user"] for each in staff.get("/api/activity").json()["items"]} == {"anna"}

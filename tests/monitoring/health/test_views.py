"""The probes over HTTP: what they answer, to whom, and whatever stands before them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.test import AsyncClient, Client

from perfkit.monitoring.health import HealthMiddleware, degraded

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.monitoring.health.site")]

EARLY = f"{HealthMiddleware.__module__.removesuffix('.middleware')}.{HealthMiddleware.__name__}"
SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
STRICT = [
    "django.middleware.security.SecurityMiddleware",
    *SESSIONS,
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "perfkit.api.RateLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
]
SECRET = "only-the-operator-knows"


@pytest.fixture(params=["views", "middleware"])
def site(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.MIDDLEWARE = [EARLY, *SESSIONS] if request.param == "middleware" else SESSIONS
    kind: str = request.param
    return kind


@pytest.fixture
def broken(declare: Callable[..., None], configure: Callable[..., None]) -> None:
    def broken() -> None:
        raise OSError(f"cannot reach 10.1.2.3 with {SECRET}")

    declare("broken", broken)
    configure(HEALTH_READY=["broken"])


def get(path: str, **options: Any) -> Any:
    return Client().get(path, **options)


def aget(path: str, **options: Any) -> Any:
    return async_to_sync(AsyncClient().get)(path, **options)


@pytest.fixture(params=[get, aget], ids=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    asking: Callable[..., Any] = request.param
    return asking


@pytest.fixture(params=["health", "ahealth"])
def root(request: pytest.FixtureRequest) -> str:
    return f"/{request.param}/"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("probe", ["live", "ready", "workers", "all"])
def test_everybody_is_told_the_status_alone(
    ask: Callable[..., Any], root: str, probe: str, configure: Callable[..., None]
) -> None:
    configure(HEALTH_TIMEOUT=1.0)
    answer = ask(root + probe)
    told = answer.json()
    assert list(told) == ["status"]
    assert answer.status_code == (503 if told["status"] == "failed" else 200)
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.usefixtures("site")
def test_it_is_ready_where_all_is_well(
    ask: Callable[..., Any], root: str, configure: Callable[..., None]
) -> None:
    configure(HEALTH_READY=["database", "migrations", "cache", "outbox"])
    answer = ask(root + "ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "Retry-After" not in answer


@pytest.mark.usefixtures("site", "broken")
def test_it_is_a_503_where_something_has_failed(ask: Callable[..., Any], root: str) -> None:
    answer = ask(root + "ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
    assert answer["Retry-After"] == "5"
    assert SECRET not in str(answer.headers)


@pytest.mark.usefixtures("site")
def test_it_is_a_200_where_something_is_degraded(
    ask: Callable[..., Any], declare: Callable[..., None], configure: Callable[..., None]
) -> None:
    declare("worse", lambda: degraded("one left"))
    configure(HEALTH_READY=["worse"])
    answer = ask("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded"})


@pytest.mark.usefixtures("site", "broken")
def test_the_token_shows_what_was_found(
    ask: Callable[..., Any], root: str, configure: Callable[..., None]
) -> None:
    configure(HEALTH_TOKEN="t0ken-of-ours")
    shown = ask(root + "ready", headers={"Authorization": "Bearer t0ken-of-ours"}).json()
    assert [(check["name"], check["status"]) for check in shown["checks"]] == [("broken", "failed")]
    assert shown["checks"][0]["message"].startswith("OSError: cannot reach")
    for wrong in ("Bearer t0ken-of-others", "Bearer", "Basic t0ken-of-ours", "t0ken-of-ours", ""):
        assert "checks" not in ask(root + "ready", headers={"Authorization": wrong}).json()


@pytest.mark.usefixtures("site", "broken")
def test_without_a_token_none_is_right(ask: Callable[..., Any], root: str) -> None:
    for guess in ("Bearer ", "Bearer"):
        assert "checks" not in ask(root + "ready", headers={"Authorization": guess}).json()


@pytest.mark.usefixtures("site", "broken")
def test_an_address_of_ours_is_shown_it_unless_a_proxy_stands_in_between(
    configure: Callable[..., None],
) -> None:
    assert "checks" not in get("/health/ready").json()
    configure(HEALTH_ADDRESSES=["10.0.0.0/8", "fd00::/8"])
    assert "checks" in get("/health/ready", REMOTE_ADDR="10.9.8.7").json()
    assert "checks" in get("/health/ready", REMOTE_ADDR="fd00::7").json()
    assert "checks" not in get("/health/ready", REMOTE_ADDR="11.9.8.7").json()
    assert "checks" not in get("/health/ready", REMOTE_ADDR="").json()
    assert "checks" in get("/health/ready", REMOTE_ADDR="::ffff:10.9.8.7").json()
    assert "checks" not in get("/health/ready", REMOTE_ADDR="::ffff:11.9.8.7").json()
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        headers = {name: "10.9.8.7"}
        assert "checks" not in get("/health/ready", REMOTE_ADDR="10.9.8.7", headers=headers).json()


@pytest.mark.usefixtures("site", "broken")
def test_an_address_may_be_named_in_the_form_that_a_server_on_ipv6_has_it_in(
    configure: Callable[..., None],
) -> None:
    configure(HEALTH_ADDRESSES=["::ffff:10.0.0.0/104"])
    assert "checks" in get("/health/ready", REMOTE_ADDR="::ffff:10.9.8.7").json()
    assert "checks" not in get("/health/ready", REMOTE_ADDR="::ffff:11.9.8.7").json()


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("root", ["/health/", "/ahealth/"])
@pytest.mark.parametrize(("is_staff", "is_shown"), [(True, True), (False, False)])
def test_staff_are_shown_it_and_other_users_are_not(
    root: str, is_staff: bool, is_shown: bool, configure: Callable[..., None]
) -> None:
    configure(HEALTH_READY=["database"])
    client = Client()
    client.force_login(User.objects.create_user("ann", is_staff=is_staff))
    assert ("checks" in client.get(root + "ready").json()) is is_shown


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("root", ["/health/", "/ahealth/"])
def test_staff_are_shown_it_under_asgi(root: str, configure: Callable[..., None]) -> None:
    configure(HEALTH_READY=["database"])
    user = User.objects.create_user("ann", is_staff=True)

    async def ask() -> Any:
        client = AsyncClient()
        await client.aforce_login(user)
        return await client.get(root + "ready")

    assert "checks" in async_to_sync(ask)().json()


@pytest.mark.usefixtures("site", "broken")
def test_nobody_is_staff_where_no_database_says_so() -> None:
    client = Client()
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert "checks" not in client.get("/health/ready").json()


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("live", {}, "application/json"),
        ("live", {"Accept": "*/*"}, "application/json"),
        ("live", {"Accept": "text/plain"}, "text/plain; charset=utf-8"),
        ("live?format=text", {}, "text/plain; charset=utf-8"),
        ("live?format=json", {"Accept": "text/plain"}, "application/json"),
        ("live?format=xml", {"Accept": "text/html"}, "application/json"),
    ],
)
def test_it_has_the_form_that_is_wanted(path: str, headers: dict[str, str], kind: str) -> None:
    answer = get(f"/health/{path}", headers=headers)
    assert answer["Content-Type"] == kind
    assert answer.content == (b"ok\n" if kind.startswith("text") else b'{"status": "ok"}')
    assert "Accept" in answer["Vary"]


@pytest.mark.usefixtures("site", "broken")
def test_head_tells_the_same_without_a_body(ask: Callable[..., Any]) -> None:
    answer = Client().head("/health/ready")
    assert (answer.status_code, answer["Retry-After"], answer.content) == (503, "5", b"")


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("root", ["/health/", "/ahealth/"])
def test_other_methods_are_refused(root: str) -> None:
    answer = Client().post(root + "live")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_other_pages_go_past_the_middleware(site: str, ask: Callable[..., Any]) -> None:
    assert ask("/page").content == b"page"
    assert ask("/health/other").status_code == 404


def test_a_site_without_the_routes_is_left_alone(settings: Any) -> None:
    settings.MIDDLEWARE = [EARLY]
    settings.ROOT_URLCONF = "tests.postgres.outage_views"
    assert get("/asks-nobody").content == b"well"
    assert get("/health/live").status_code == 404


class TestStrictSites:
    """What refuses requests refuses no probe where the middleware comes first."""

    @pytest.fixture(autouse=True)
    def strict(self, settings: Any, configure: Callable[..., None]) -> None:
        settings.MIDDLEWARE = [EARLY, *STRICT]
        settings.ALLOWED_HOSTS = ["site.example"]
        settings.SECURE_SSL_REDIRECT = True
        settings.LOGIN_URL = "/login"
        configure(RATE_LIMIT_PER_MINUTE=1, HEALTH_READY=["database"])

    @pytest.mark.parametrize("probe", ["live", "ready"])
    def test_no_host_redirect_login_or_limit(self, ask: Callable[..., Any], probe: str) -> None:
        for _ in range(3):
            answer = ask(f"/health/{probe}", headers={"Host": "10.0.0.7:8000"})
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_a_cookie_does_not_send_live_through_them(self) -> None:
        client = Client(headers={"Host": "10.0.0.7:8000"})
        client.cookies["sessionid"] = "whatever"
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 400

    def test_the_views_alone_need_no_login(self, settings: Any) -> None:
        settings.MIDDLEWARE = [*SESSIONS, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        settings.ALLOWED_HOSTS = ["*"]
        assert get("/page").status_code == 302
        for root in ("/health/", "/ahealth/"):
            assert get(root + "ready").json() == {"status": "ok"}


@pytest.mark.parametrize("root", ["/health/", "/ahealth/"])
def test_atomic_requests_begin_no_transaction(
    settings: Any, root: str, monkeypatch: pytest.MonkeyPatch, declare: Any, configure: Any
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.MIDDLEWARE = []
    seen = []
    declare("here", lambda: seen.append(connection.in_atomic_block))
    configure(HEALTH_READY=["here"])
    with monkeypatch.context() as patch:
        patch.setattr(
            type(connections["default"]), "set_autocommit", lambda *_: pytest.fail("a transaction began")
        )
        assert get(root + "ready").status_code == 200
    assert seen == [False]


def test_the_command_and_the_views_tell_the_same(configure: Any, capsys: Any) -> None:
    configure(HEALTH_READY=["database"], HEALTH_ADDRESSES=["127.0.0.1"])
    with pytest.raises(SystemExit) as ended:
        call_command("perfkit_health", "--json")
    assert ended.value.code == 0
    shown = get("/health/ready").json()
    told = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in told["checks"]] == [check["name"] for check in shown["checks"]]

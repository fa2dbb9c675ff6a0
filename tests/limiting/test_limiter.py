from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings

from perfkit.caching.breaker import Breaker
from perfkit.conf import configured, options
from perfkit.errors import LimiterUnavailableError, RateError, UsageError
from perfkit.limiting.counters import Counter, LocalCounter, current_counter
from perfkit.limiting.limiter import Limiter, Verdict, breaker
from perfkit.limiting.rules import NEVER, Standing
from perfkit.rates import Rate
from tests.api.limiting.conftest import limits
from tests.plugins.valkey import DisposableValkey


@pytest.mark.usefixtures("local")
class TestLimiter:
    def test_it_counts_for_code_without_a_request(self) -> None:
        limiter = Limiter("2/hour", scope="mails")
        assert [limiter.take("ann").is_admitted for _ in range(3)] == [True, True, False]
        verdict = limiter.take("ann")
        assert verdict.retry_after_seconds in {3599, 3600}
        assert verdict.tightest == (Rate(2, 3600), verdict.standings[0])
        assert limiter.take("ben").is_admitted

    def test_it_counts_for_async_code(self) -> None:
        limiter = Limiter(Rate(2, 3600), scope="mails")

        async def ask() -> list[bool]:
            return [(await limiter.atake("ann")).is_admitted for _ in range(3)]

        assert asyncio.run(ask()) == [True, True, False]

    def test_limiters_share_counts_by_scope_and_rates(self) -> None:
        assert Limiter("1/hour", scope="a").take("ann").is_admitted
        assert not Limiter(Rate(1, 3600), scope="a").take("ann").is_admitted
        assert Limiter("1/hour", scope="b").take("ann").is_admitted

    @pytest.mark.parametrize("client", ["", "a{b}c", "ü\n", "\udcff", "x" * 100_000])
    def test_any_text_names_a_client(self, client: str) -> None:
        limiter = Limiter("1/hour", scope="{odd}")
        assert [limiter.take(client).is_admitted for _ in range(2)] == [True, False]

    def test_it_says_nothing_where_nothing_is_counted(self) -> None:
        limiter = Limiter("1/hour", scope="mails")
        assert limiter.take("ann", cost=0) is None
        with limits(RATE_LIMIT_ENABLED=False):
            assert limiter.take("ann") is None
        with pytest.raises(UsageError, match="must not be negative"):
            limiter.take("ann", cost=-1)

    def test_it_finds_faults_where_it_is_made(self) -> None:
        with pytest.raises(UsageError, match="at least one rate"):
            Limiter(scope="mails")
        with pytest.raises(RateError):
            Limiter("often", scope="mails")


def standing(
    *, is_admitted: bool = True, remaining: int = 0, refill_us: int = 0, retry_us: int = 0
) -> Standing:
    return Standing(is_admitted, remaining, refill_us, retry_us)


def verdict_of(told: tuple[tuple[Rate, Standing], ...]) -> Verdict:
    rates, standings = zip(*told, strict=True)
    return Verdict(all(each.is_admitted for each in standings), rates, list(standings))


class TestVerdict:
    def test_the_tightest_is_who_refuses_longest_then_who_has_least_left(self) -> None:
        a, b, c = Rate(1, 60), Rate(2, 60), Rate(3, 60)
        refusing = ((a, standing(remaining=0)), (b, standing(is_admitted=False, remaining=2, retry_us=5)))
        assert verdict_of(refusing).tightest[0] == b
        longer = (*refusing, (c, standing(is_admitted=False, remaining=3, retry_us=6)))
        assert verdict_of(longer).tightest[0] == c
        admitting = (
            (a, standing(remaining=9, refill_us=1)),
            (b, standing(remaining=2)),
            (c, standing(remaining=3)),
        )
        assert verdict_of(admitting).tightest[0] == b

    @pytest.mark.parametrize(
        ("waits_us", "seconds"),
        [
            ([], None),
            ([1], 1),
            ([1_000_000], 1),
            ([1_000_001], 2),
            ([5_000_000, 9_500_000], 10),
            ([5, NEVER], None),
        ],
    )
    def test_it_waits_for_all_who_refuse(self, waits_us: list[int], seconds: int | None) -> None:
        refusing = [(Rate(1, 60), standing(is_admitted=False, retry_us=wait)) for wait in waits_us]
        verdict = verdict_of((*refusing, (Rate(2, 60), standing(remaining=1))))
        assert verdict.retry_after_seconds == seconds


@pytest.mark.redis
@pytest.mark.urls("tests.api.limiting.views")
class TestOutage:
    @pytest.fixture
    def server(self, valkey_server: Callable[[], DisposableValkey], settings: Any) -> DisposableValkey:
        server = valkey_server()
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        settings.PERFKIT = {
            **configured(),
            "RATE_LIMIT_ENABLED": True,
            "CACHE_TIMEOUT": 1.0,
            "CACHE_RETRY_AFTER": 60.0,
        }
        return server

    @pytest.fixture
    def own_clock(self) -> tuple[Callable[..., Limiter], list[float]]:
        """What makes a limiter with a breaker whose time is the number in the list."""
        now = [100.0]

        def made(*rates: str) -> Limiter:
            own = Breaker(
                retry_after_seconds=lambda: options.CACHE_RETRY_AFTER,
                on_change=breaker._on_change,
                clock=lambda: now[0],
            )
            return Limiter(*rates, scope="outage", breaker=own)

        return made, now

    def test_it_admits_while_the_server_is_down_and_says_so_once(
        self,
        server: DisposableValkey,
        own_clock: tuple[Callable[..., Limiter], list[float]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        made, now = own_clock
        limiter = made("2/hour")
        with caplog.at_level(logging.INFO, "perfkit.limiting"):
            assert [limiter.take("ann").is_admitted for _ in range(3)] == [True, True, False]
            server.kill()
            assert [limiter.take("ann") for _ in range(20)] == [None] * 20
            now[0] += 61
            assert limiter.take("ann") is None  # asked again, still down
            server.start()
            assert limiter.take("ann") is None  # left alone for another minute
            now[0] += 61
            assert [limiter.take("ann").is_admitted for _ in range(3)] == [True, True, False]
        found = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert [level for level, _ in found] == ["WARNING", "INFO"]
        assert found[0][1].startswith("The cache server does not answer, so requests are not limited:")

    def test_it_refuses_while_the_server_is_down_where_the_setting_says_so(
        self,
        server: DisposableValkey,
        own_clock: tuple[Callable[..., Limiter], list[float]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        made, now = own_clock
        limiter = made("2/hour")
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_OUTAGE": "closed"}):
            assert limiter.take("ann").is_admitted
            server.kill()
            for _ in range(20):
                with pytest.raises(LimiterUnavailableError):
                    limiter.take("ann")
            server.start()
            now[0] += 61
            assert limiter.take("ann").is_admitted
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert "so requests are refused" in warnings[0]

    def test_a_server_that_hangs_is_waited_for_once(
        self, server: DisposableValkey, own_clock: tuple[Callable[..., Limiter], list[float]]
    ) -> None:
        made, _ = own_clock
        limiter = made("2/hour")
        assert limiter.take("ann").is_admitted
        server.pause()
        assert [limiter.take("ann") for _ in range(50)] == [None] * 50
        server.resume()

    def test_a_restart_between_two_requests_is_no_outage(self, server: DisposableValkey) -> None:
        limiter = Limiter("2/hour", scope="outage")
        assert [limiter.take("ann").is_admitted for _ in range(3)] == [True, True, False]
        server.stop()
        server.start()
        assert [limiter.take("ann").is_admitted for _ in range(3)] == [True, True, False], "it kept nothing"
        assert not breaker.is_open

    PATHS = (
        *(
            "/plain",
            "/plain-async",
            "/api/limited",
            "/api/limited-async",
            "/api/default",
            "/api/default-async",
        ),
        *("/bare/limited", "/bare/limited-async", "/own/limited", "/own/limited-async"),
    )

    @pytest.mark.parametrize("path", PATHS)
    def test_an_open_limit_lets_requests_pass(
        self, server: DisposableValkey, client: Client, path: str
    ) -> None:
        server.kill()
        responses = [client.get(path) for _ in range(6)]
        assert {response.status_code for response in responses} == {200}
        assert not any("RateLimit" in response or "Retry-After" in response for response in responses)

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("debug", [False, True])
    def test_a_closed_limit_is_a_503(
        self,
        server: DisposableValkey,
        client: Client,
        path: str,
        debug: bool,
        settings: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.DEBUG = debug
        server.kill()
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_OUTAGE": "closed"}):
            for _ in range(3):
                response = client.get(path)
                assert response.status_code == 503
                assert response.json() == {"detail": "Temporarily unavailable."}
                assert response["Retry-After"] == "60"
        own = [record for record in caplog.records if record.name == "perfkit.limiting"]
        assert [record.levelname for record in own] == ["WARNING"]

    def test_a_closed_limit_is_a_503_on_an_event_loop_too(self, server: DisposableValkey) -> None:
        async def ask() -> list[int]:
            return [(await AsyncClient().get(path)).status_code for path in self.PATHS]

        server.kill()
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_OUTAGE": "closed"}):
            assert asyncio.run(ask()) == [503] * len(self.PATHS)

    @pytest.mark.parametrize("path", ["/bare/default", "/bare/default-async"])
    def test_a_closed_throttle_without_the_handlers_is_a_429(
        self, server: DisposableValkey, client: Client, path: str
    ) -> None:
        server.kill()
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_OUTAGE": "closed"}):
            response = client.get(path)
        assert (response.status_code, response["Retry-After"]) == (429, "60")

    @pytest.mark.parametrize("path", ["/free", "/free-async"])
    @pytest.mark.parametrize(("outage", "status"), [("open", 200), ("closed", 503)])
    def test_the_middleware_follows_the_setting(
        self, server: DisposableValkey, client: Client, path: str, outage: str, status: int, settings: Any
    ) -> None:
        settings.MIDDLEWARE = ["perfkit.api.RateLimitMiddleware"]
        server.kill()
        with override_settings(PERFKIT={**configured(), "RATE_LIMIT_OUTAGE": outage}):
            assert [client.get(path).status_code for _ in range(3)] == [status] * 3

            async def ask() -> list[int]:
                return [(await AsyncClient().get(path)).status_code for _ in range(3)]

            assert asyncio.run(ask()) == [status] * 3


def test_other_settings_are_another_server() -> None:
    breaker.failed("it is down")
    with override_settings(PERFKIT=configured()):
        assert not breaker.is_open


@pytest.mark.usefixtures("local")
def test_the_process_alone_needs_no_breaker() -> None:
    breaker.failed("another server is down")
    assert isinstance(current_counter(), LocalCounter)
    verdict = Limiter("1/hour", scope="alone").take("ann")
    assert verdict is not None
    assert breaker.is_open
    breaker.succeeded()


def test_a_limiter_counts_where_it_is_told() -> None:
    counter: Counter = LocalCounter()
    with limits():
        limiter = Limiter("1/hour", scope="told", counter=lambda: counter)
        assert [limiter.take("ann").is_admitted for _ in range(2)] == [True, False]

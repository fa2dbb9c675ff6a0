"""`ModelCache`: a limit, then the cache, then one call for all who ask the same, then the cache again.

# Note [Steps of a prompt]
What happens to a prompt is one generator for plain and async code, whole answers and streams.
It yields what is to be done (`streams.Step`) and is sent what came of it, or the error that did, so that it cleans
up by steps too.
Who reads no further has AbandonedError thrown into it.
GeneratorExit comes only where it is collected as a part of a cycle before what drives it, and then nothing can be
yielded any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from decimal import Decimal
from functools import partial
from time import perf_counter
from typing import Any, Final, Literal

from asgiref.sync import sync_to_async

from perfkit import errors
from perfkit.caching.flights import waits
from perfkit.caching.named.cache import cache as kept_values
from perfkit.caching.named.names import path_part
from perfkit.caching.named.offers import Offer
from perfkit.caching.named.ttl import TTL
from perfkit.caching.store import StoreError
from perfkit.errors import (
    CacheUnreachableError,
    ModelAnswerError,
    ModelBudgetError,
    ModelLimitError,
    ModelRefusedError,
    ModelRequestError,
    ModelUnavailableError,
    SamplingPolicyError,
    UnavailableError,
)
from perfkit.inference.adapters import ModelAdapter
from perfkit.inference.answers import ModelAnswer, TokenUsage
from perfkit.inference.flights import GOES_ON, GONE, Flight
from perfkit.inference.prompts import Messages, Prompt, prompt_of
from perfkit.inference.retries import CallRetries, is_passing
from perfkit.inference.spending import Ledger, ModelPrices, ModelStatistics, Reservation
from perfkit.inference.streams import (
    ENDED,
    AbandonedError,
    Ask,
    AsyncModelStream,
    Close,
    Do,
    ModelStream,
    Next,
    Open,
    Pause,
    Piece,
    Step,
    Steps,
)
from perfkit.limiting.limiter import Limiter
from perfkit.rates import Rate
from perfkit.signals import model_answered

LONGEST_NAME: Final = 36
MOST_OUTPUT_TOKENS: Final = 4096
"""Put aside, where there is no budget, for an answer whose prompt names no `max_tokens`."""

_TOLD: Final = (
    "ModelAnswerError",
    "ModelBudgetError",
    "ModelRefusedError",
    "ModelUnavailableError",
)
"""Errors that those who waited for a call get too."""


class ModelCache:
    """Asks a model, and keeps its answers: of all processes that ask the same, one does so.

    Kept are whole answers of up to a megabyte; never errors, nor answers that were cut, held back or refused.
    Who waited for a call gets what came of it, an error of the model too: nobody asks anew for that.
    Where the one who called is killed, or reads no further, another one calls.

    While the cache server does not answer each process asks for itself: nothing is kept or counted, prompts are
    limited as `PERFKIT["RATE_LIMIT_OUTAGE"]` says, and with a budget they are refused.

    Args:
        adapter: Speaks to the model.
        ttl: Seconds an answer is kept.
        limit: Prompts of each tenant, those with a kept answer too; None for no limit.
        when_limited: `"refuse"` raises ModelLimitError, `"wait"` waits for up to `longest_wait` seconds before.
        longest_wait: Also how long one waits for another one's call of the same prompt.
        cache: Whether answers above temperature 0 are kept; where None, each call must say.
        retries: After 429 and 5xx.
        prices: For `statistics` and the budget.
        daily_budget: Of all tenants together in a day (UTC), in the currency of the prices. What a call may cost
            at most is put aside before it, so each needs `max_tokens`. Texts are bounded by their length; images
            and the like, of which only the address is known, are not. A cache server that loses its memory
            begins to count anew.

    Raises:
        RateError: The limit is none.
        ModelRequestError: There is a budget without prices.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        *,
        ttl: int = TTL.VERY_LONG,
        limit: str | Rate | None = "100/minute",
        when_limited: Literal["refuse", "wait"] = "refuse",
        longest_wait: float = 120.0,
        cache: bool | None = None,
        retries: CallRetries = CallRetries(),  # noqa: B008  # it cannot be changed
        prices: ModelPrices | None = None,
        daily_budget: Decimal | None = None,
    ) -> None:
        if daily_budget is not None and prices is None:
            raise ModelRequestError("a budget needs prices")
        self.adapter = adapter
        self._ttl = ttl
        self._name = path_part(adapter.name, longest=LONGEST_NAME)
        self._limiter = None if limit is None else Limiter(limit, scope=f"model:{adapter.name}")
        self._waits = when_limited == "wait"
        self._longest_wait = longest_wait
        self._cache = cache
        self._retries = retries
        self._prices = prices
        self._ledger = Ledger(self._name, budget=daily_budget)

    def complete(
        self, messages: Messages, *, model: str, tenant: str = "", cache: bool | None = None, **params: Any
    ) -> ModelAnswer:
        """Return the answer to a prompt.

        Args:
            messages: Each with its role and content, or one text of the user's.
            model: Who is asked.
            tenant: For whom; one tenant never gets an answer that was made for another.
            cache: Whether the answer is kept, and may be a kept one; needed above temperature 0.
            params: Told to the model, such as `temperature` and `max_tokens`.

        Raises:
            ModelRequestError, SamplingPolicyError: The call is wrong.
            ModelLimitError, ModelBudgetError, LimiterUnavailableError: The model is not asked now.
            ModelUnavailableError, ModelRefusedError, ModelAnswerError: It was, in vain.
        """
        stream = ModelStream(
            self._steps(messages, model, _whole, tenant=tenant, cache=cache, params=params),
            self.adapter,
            model,
        )
        for _ in stream:
            pass
        return _answered(stream.answer)

    async def acomplete(
        self, messages: Messages, *, model: str, tenant: str = "", cache: bool | None = None, **params: Any
    ) -> ModelAnswer:
        """Return the answer to a prompt, as `complete` does."""
        stream = AsyncModelStream(
            self._steps(messages, model, _whole, tenant=tenant, cache=cache, params=params),
            self.adapter,
            model,
        )
        async for _ in stream:
            pass
        return _answered(stream.answer)

    def stream(
        self, messages: Messages, *, model: str, tenant: str = "", cache: bool | None = None, **params: Any
    ) -> ModelStream:
        """Return the text of an answer in pieces; one that is kept, or that another one asked for, is one piece.

        It is kept once its last piece was read. Arguments and errors are those of `complete`.
        """
        return ModelStream(
            self._steps(messages, model, _streamed, tenant=tenant, cache=cache, params=params),
            self.adapter,
            model,
        )

    def astream(
        self, messages: Messages, *, model: str, tenant: str = "", cache: bool | None = None, **params: Any
    ) -> AsyncModelStream:
        """Return the text of an answer in pieces, as `stream` does."""
        return AsyncModelStream(
            self._steps(messages, model, _streamed, tenant=tenant, cache=cache, params=params),
            self.adapter,
            model,
        )

    def peek(self, messages: Messages, *, model: str, tenant: str = "", **params: Any) -> ModelAnswer | None:
        """Return the answer that is kept, None where none is; nobody is asked, and nothing counted."""
        return self._kept(self._key(prompt_of(model, messages, params), tenant))

    def invalidate(self, *, model: str | None = None, tenant: str | None = None) -> None:
        """Void the answers of a model and those for a tenant, or where neither is named all of this adapter.

        A call that is under way goes on, and its answer is not kept, nor given to who asks from now on.
        """
        tags = [f"model:{model}"] if model is not None else []
        tags += [f"model-tenant:{tenant}"] if tenant is not None else []
        kept_values.invalidate_tags(*(tags or [f"model-adapter:{self._name}"]))

    async def ainvalidate(self, *, model: str | None = None, tenant: str | None = None) -> None:
        """Void answers as `invalidate` does."""
        await sync_to_async(self.invalidate)(model=model, tenant=tenant)

    def statistics(self, *, days: int = 1) -> ModelStatistics:
        """Return what the last days (UTC) came to, of all processes; 40 are kept.

        Raises:
            CacheUnreachableError: The cache server does not answer.
        """
        try:
            return self._ledger.statistics(days)
        except StoreError as error:
            raise CacheUnreachableError(str(error)) from error

    def _steps(
        self,
        messages: Messages,
        model: str,
        ask: Callable[[Prompt], Steps],
        *,
        tenant: str,
        cache: bool | None,
        params: dict[str, Any],
    ) -> Steps:
        prompt = prompt_of(model, messages, params)
        if self._ledger.has_budget and not _output_bounds(prompt):
            raise ModelRequestError("with a budget, name max_tokens, which bounds what the answer costs")
        found = self._found(prompt, tenant, self._is_kept(prompt, cache), ask)
        return self._told(prompt, self._counted(found, ask))

    def _told(self, prompt: Prompt, steps: Steps) -> Steps:
        """Tell what a prompt has come to."""
        begun = perf_counter()
        outcome, usage = "failure", None
        try:
            answer = yield from steps
        except (ModelLimitError, ModelBudgetError):
            outcome = "limited"
            raise
        except (AbandonedError, GeneratorExit):
            outcome = "abandoned"
            raise
        else:
            outcome, usage = "hit" if answer.is_cached else "miss", answer.usage
            return answer
        finally:
            model_answered.send_robust(
                type(self.adapter),
                model=prompt.model,
                outcome=outcome,
                seconds=perf_counter() - begun,
                usage=usage,
            )

    def _is_kept(self, prompt: Prompt, cache: bool | None) -> bool:
        wanted = self._cache if cache is None else cache
        temperature = prompt.params.get("temperature")
        if wanted is None and temperature != 0:
            told = "no temperature" if temperature is None else f"temperature {temperature}"
            raise SamplingPolicyError(told)
        return wanted is not False

    def _counted(self, steps: Steps, ask: Callable[[Prompt], Steps]) -> Steps:
        try:
            answer = yield from steps
        except UnavailableError:
            yield Do(partial(self._ledger.note, {"failures": 1}))
            raise
        if answer.is_cached and answer.text and ask is _streamed:
            yield Piece(answer.text)
        return answer

    def _found(self, prompt: Prompt, tenant: str, is_kept: bool, ask: Callable[[Prompt], Steps]) -> Steps:
        yield from self._admitted(tenant)
        if not is_kept:
            return (yield from self._called(prompt, ask))
        key = self._key(prompt, tenant)
        found = yield Do(partial(self._kept, key))
        if found is not None:
            yield Do(partial(self._note_saved, "hits", found))
            return found  # type: ignore[no-any-return]  # a step has no type of its own
        offer = Offer(key, tags=self._tags(prompt, tenant))
        yield Do(offer.begin)
        flight = Flight(f"{key}:{offer.standing}")  # nobody waits for an answer that was voided meanwhile
        while not (yield Do(flight.join)):
            outcome = GOES_ON
            for seconds in waits(self._longest_wait):
                yield Pause(seconds)
                outcome = yield Do(flight.look)
                if outcome != GOES_ON:
                    break
            if outcome == GOES_ON:
                return (yield from self._called(prompt, ask))  # no longer patient: it may hang
            if outcome != GONE:
                answer = _told(outcome)
                yield Do(partial(self._note_saved, "shared", answer))
                return answer
        return (yield from self._led(flight, key, offer, prompt, ask))

    def _led(
        self, flight: Flight, key: str, offer: Offer, prompt: Prompt, ask: Callable[[Prompt], Steps]
    ) -> Steps:
        try:
            found = yield Do(partial(self._kept, key))  # one who led before may have kept it just now
            if found is None:
                with flight.kept():
                    answer = yield from self._called(prompt, ask)
                if answer.is_complete:
                    yield Do(partial(offer.keep, answer.plain(), ttl_seconds=self._ttl))
            else:
                answer = found
                yield Do(partial(self._note_saved, "hits", answer))
        except GeneratorExit:
            flight.land("")  # see Note [Steps of a prompt]
            raise
        except BaseException as error:
            is_told = type(error).__name__ in _TOLD
            outcome = json.dumps({"error": [type(error).__name__, *error.args]}) if is_told else ""
            yield Do(partial(flight.land, outcome))
            raise
        yield Do(partial(flight.land, json.dumps({"answer": answer.plain()})))
        return answer

    def _admitted(self, tenant: str) -> Generator[Step, Any, None]:
        if self._limiter is None:
            return
        left = self._longest_wait if self._waits else 0.0
        while True:
            verdict = yield Do(partial(self._limiter.take, tenant))
            if verdict is None or verdict.is_admitted:
                return
            seconds = verdict.retry_after_seconds
            if seconds is None or seconds > left:
                raise ModelLimitError(", ".join(map(str, verdict.rates)), seconds)
            left -= seconds
            yield Pause(seconds)

    def _called(self, prompt: Prompt, ask: Callable[[Prompt], Steps]) -> Steps:
        """Call the model within the budget, again where that may help."""
        reserved = yield Do(partial(self._ledger.reserve, self._most_nano(prompt)))
        failures, has_spoken = 0, False
        while True:
            steps = ask(prompt)
            try:
                answer, has_spoken = yield from _spoken(steps)
                break
            except _Failed as failed:
                error, has_spoken = failed.error, failed.has_spoken
            failures += 1
            pause = None
            if isinstance(error, ModelUnavailableError) and not has_spoken:
                pause = self._retries.pause_seconds(error, failures=failures)
            if pause is None:
                if isinstance(error, ModelRefusedError) or (
                    isinstance(error, ModelUnavailableError) and is_passing(error)
                ):
                    yield Do(partial(self._ledger.settle, reserved, {}))  # nobody has worked for it
                raise error
            yield Pause(pause)
        answer = answer.named(prompt.model)
        yield Do(partial(self._ledger.settle, reserved, self._spent(answer, reserved)))
        return answer

    def _most_nano(self, prompt: Prompt) -> int:
        if self._prices is None:
            return 0
        output = max(_output_bounds(prompt), default=MOST_OUTPUT_TOKENS)
        return self._prices.nano(TokenUsage(prompt.most_input_tokens, output))

    def _spent(self, answer: ModelAnswer, reserved: Reservation) -> dict[str, int]:
        usage = answer.usage
        if usage is None:
            return {"misses": 1, "cost": reserved.nano}
        return {
            "misses": 1,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost": 0 if self._prices is None else self._prices.nano(usage),
        }

    def _note_saved(self, kind: str, answer: ModelAnswer) -> None:
        numbers = {kind: 1}
        if answer.usage is not None:
            numbers["saved_input_tokens"] = answer.usage.input_tokens
            numbers["saved_output_tokens"] = answer.usage.output_tokens
            numbers["saved_cost"] = 0 if self._prices is None else self._prices.nano(answer.usage)
        self._ledger.note(numbers)

    def _key(self, prompt: Prompt, tenant: str) -> str:
        return f"model:{self._name}:{path_part(tenant, longest=LONGEST_NAME)}:{prompt.digest}"

    def _tags(self, prompt: Prompt, tenant: str) -> list[str]:
        return [f"model:{prompt.model}", f"model-tenant:{tenant}", f"model-adapter:{self._name}"]

    def _kept(self, key: str) -> ModelAnswer | None:
        plain = kept_values.get(key)
        return None if plain is None else ModelAnswer.of_plain(plain)


def _output_bounds(prompt: Prompt) -> list[int]:
    told = [prompt.params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    return [each for each in told if type(each) is int and each >= 0]


class _Failed(Exception):  # noqa: N818  # it goes no further than the next loop
    def __init__(self, error: UnavailableError, has_spoken: bool) -> None:
        self.error = error
        self.has_spoken = has_spoken


def _spoken(steps: Steps) -> Generator[Step, Any, tuple[ModelAnswer, bool]]:
    """Run the steps of one call, and note whether a piece of its text was given away."""
    has_spoken = False
    result: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value, has_spoken
        except UnavailableError as problem:
            raise _Failed(problem, has_spoken) from problem
        has_spoken = has_spoken or isinstance(step, Piece)
        result, error = None, None
        try:
            result = yield step
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as problem:  # noqa: BLE001  # the steps clean up, and raise it again
            error = problem


def _whole(prompt: Prompt) -> Steps:
    return (yield Ask(prompt))  # type: ignore[no-any-return]


def _streamed(prompt: Prompt) -> Steps:
    pieces = yield Open(prompt)
    answer = None
    try:
        while answer is None and (piece := (yield Next(pieces))) is not ENDED:
            if isinstance(piece, ModelAnswer):
                answer = piece
            else:
                yield Piece(piece)
    except GeneratorExit:
        raise  # what it reads from is collected with it
    except BaseException:
        yield Close(pieces)
        raise
    yield Close(pieces)
    return _answered(answer)


def _told(outcome: str) -> ModelAnswer:
    """Return what another one's call has come to.

    Raises:
        UnavailableError: An error.
    """
    told = json.loads(outcome)
    if "answer" in told:
        return ModelAnswer.of_plain(told["answer"])
    name, *args = told["error"]
    if name not in _TOLD:
        raise ModelAnswerError("is not known")
    raise getattr(errors, name)(*args)


def _answered(answer: ModelAnswer | None) -> ModelAnswer:
    if answer is None:
        raise ModelAnswerError("was cut off")
    return answer

"""Equal meaning has one digest, and everything else another."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import ModelRequestError
from perfkit.inference import LocalDeterministicAdapter, ModelCache
from perfkit.inference.prompts import Prompt, prompt_of

texts = st.text(st.characters(exclude_categories=()), max_size=8)  # halves of characters too
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 3).map(float),
)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
names = texts.filter(lambda name: name not in {"stream", "stream_options", "n"})
params = st.dictionaries(names, plain, max_size=4)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": plain}),
    min_size=1,
    max_size=3,
)
models = texts.filter(bool)
prompts = st.builds(prompt_of, models, messages, params)


def meaning(value: Any) -> Any:
    """What JSON means by a value, told by other means than the code's: numbers by their worth, and no boolean."""
    if isinstance(value, dict):
        return frozenset((key, meaning(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(meaning, value))
    return isinstance(value, bool), isinstance(value, str), value


def meaning_of(prompt: Prompt) -> Any:
    return prompt.model, meaning(prompt.messages), meaning(prompt.params)


def said_otherwise(value: Any, chance: random.Random) -> Any:
    """Return the same in other words: keys in another order, whole numbers as the other kind, tuples for lists."""
    if isinstance(value, dict):
        pairs = [(key, said_otherwise(each, chance)) for key, each in value.items()]
        chance.shuffle(pairs)
        return dict(pairs)
    if isinstance(value, list):
        return tuple(said_otherwise(each, chance) for each in value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@given(models, messages, params, st.randoms(use_true_random=False))
def test_the_same_in_other_words_is_one_prompt(
    model: str, messages: Any, params: Any, chance: random.Random
) -> None:
    left_out = {name: None for name in ("top_p", "stop", "n", "stream") if name not in params}
    one = prompt_of(model, messages, params)
    other = prompt_of(model, said_otherwise(messages, chance), said_otherwise({**left_out, **params}, chance))
    assert one.digest == other.digest
    assert meaning_of(one) == meaning_of(other)


@given(prompts, prompts)
def test_two_have_one_digest_where_they_mean_the_same(one: Prompt, other: Prompt) -> None:
    assert (one.digest == other.digest) == (meaning_of(one) == meaning_of(other))


@given(prompts, st.data())
def test_any_change_is_another_prompt(prompt: Prompt, data: st.DataObject) -> None:
    model, messages, params = prompt.model, list(prompt.messages), dict(prompt.params)
    what = data.draw(st.sampled_from(["model", "message", "order", "more", "param"]))
    if what == "model":
        model = data.draw(models)
    elif what == "message":
        place = data.draw(st.integers(0, len(messages) - 1))
        messages[place] = {**messages[place], "content": data.draw(plain)}
    elif what == "order":
        messages = data.draw(st.permutations(messages))
    elif what == "more":
        messages.append({"role": "user", "content": ""})
    else:
        params[data.draw(names)] = data.draw(plain)
    changed = prompt_of(model, messages, params)
    assert (changed.digest == prompt.digest) == (meaning_of(changed) == meaning_of(prompt))


@given(prompts)
def test_the_digest_is_of_its_canonical_json(prompt: Prompt) -> None:
    whole = {"params": prompt.params, "messages": prompt.messages, "model": prompt.model}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    assert prompt.digest == hashlib.sha256(text.encode()).hexdigest()
    assert prompt.most_input_tokens >= sum(
        len(str(each["content"]).encode("utf-8", "surrogatepass"))
        for each in (message for message in prompt.messages if isinstance(message["content"], str))
    )


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("é", "e\u0301", False),
        ("ß", "SS", False),
        ("a", "a ", False),
        ("\U0001f600", "\U0001f600", True),
        ("\ud83d", "\ud83d", True),
    ],
)
def test_texts_are_one_where_their_characters_are(one: str, other: str, are_one: bool) -> None:
    assert (prompt_of("m", one, {}).digest == prompt_of("m", other, {}).digest) is are_one
    assert prompt_of("m", one, {}).digest == prompt_of("m", [{"content": one, "role": "user"}], {}).digest


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (1, True, False),
        (0, False, False),
        (0, None, False),
        (1, "1", False),
        (0.1, 1e-1, True),
        (0.1, 0.10000000000000002, False),
        (2**53, float(2**53), True),
        (2**53 + 1, float(2**53), False),
    ],
)
def test_numbers_are_one_where_they_are_worth_the_same(one: Any, other: Any, are_one: bool) -> None:
    digests = [prompt_of("m", "Hi", {"temperature": value}).digest for value in (one, other)]
    assert (digests[0] == digests[1]) is are_one


def deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


endless: list[Any] = []
endless.append(endless)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("", "Hi", {}), "name a model"),
        ((None, "Hi", {}), "name a model"),
        (("m", [], {}), "no messages"),
        (("m", ["Hi"], {}), "list of dictionaries"),
        (("m", b"Hi", {}), "list of dictionaries"),
        (("m", {"role": "user"}, {}), "list of dictionaries"),
        (("m", "Hi", {"n": 2}), "n cannot be given"),
        (("m", "Hi", {"stream": True}), r"call stream\(\)"),
        (("m", "Hi", {"temperature": float("nan")}), "no number that JSON has"),
        (("m", "Hi", {"stop": {"secret prompt"}}), "of type set"),
        (("m", [{1: "secret prompt"}], {}), "a key that is no text"),
        (("m", [{"content": deep(100_000)}], {}), "too deeply"),
        (("m", [{"content": endless}], {}), "too deeply"),
        (("m", "Hi", {"seed": 10**5000}), "too large a number"),
    ],
)
def test_what_json_cannot_hold_is_refused_without_its_text(arguments: Any, problem: str) -> None:
    with pytest.raises(ModelRequestError, match=problem) as caught:
        prompt_of(*arguments)
    assert "secret prompt" not in str(caught.value)


def test_it_shows_no_text() -> None:
    assert "secret" not in repr(prompt_of("m", "secret", {"user": "secret"}))


class Other(LocalDeterministicAdapter):
    name = "other"


@given(texts, texts)
def test_tenants_and_adapters_have_keys_of_their_own(one: str, other: str) -> None:
    prompt = prompt_of("m", "Hi", {})
    models = ModelCache(LocalDeterministicAdapter())
    assert (models._key(prompt, one) == models._key(prompt, other)) == (one == other)
    assert models._key(prompt, one) != ModelCache(Other())._key(prompt, one)
    assert models._key(prompt, one).endswith(prompt.digest)


def test_nobody_can_take_the_name_of_a_tenant() -> None:
    models = ModelCache(LocalDeterministicAdapter())
    prompt = prompt_of("m", "Hi", {})
    tenants = ["", "-", "everyone"]
    for number in range(
        200
    ):  # names that are too long for a key, and such as look like what stands for these
        long = f"{number}" + "x" * 100
        part = models._key(prompt, long).split(":")[2]
        tenants += [long, part, bytes.fromhex(part[1:3]).decode("latin-1") + part[3:]]
    assert len({models._key(prompt, tenant) for tenant in tenants}) == len(tenants)

"""What a scope knows of tokens, apart from any server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.scope import MOST_PROVED, TokenScope

names = st.sampled_from(["a", "b", "c"])
numbers = st.sampled_from([b"g1", b"g2"])


class TestProof:
    """What a scope has compared once it knows, until something changes."""

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("remember"), st.dictionaries(names, numbers, min_size=1)),
                st.tuples(st.just("forget"), st.sets(names, min_size=1)),
                st.tuples(st.just("forget all"), st.none()),
                st.tuples(st.just("ask"), st.none()),
            )
        )
    )
    def test_it_says_what_a_comparison_would(self, steps: list[tuple[str, Any]]) -> None:
        scope = TokenScope()
        entries = {
            f"{tags} {tokens}": (tags, tokens)
            for tags in (("a",), ("a", "b"), ("c", "b"))
            for tokens in ((b"g1", b"g1"), (b"g2", b"g1"))
        }
        for step, what in (*steps, ("ask", None)):
            if step == "remember":
                scope.remember(what, what.values(), moment=scope.moment)
            elif step == "forget":
                scope.forget(what)
            elif step == "forget all":
                scope.forget_all()
            else:
                for key, (tags, tokens) in entries.items():
                    assert scope.knows_of(key, tags, tokens) == scope.knows(tags, tokens)

    def test_it_knows_nothing_that_was_forgotten_while_it_compared(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scope, tokens = TokenScope(), (b"g1",)
        scope.remember(["a"], tokens, moment=scope.moment)
        knows = scope.knows

        def slowly(*args: Any) -> bool:
            known = knows(*args)
            scope.forget(["a"])
            return known

        monkeypatch.setattr(scope, "knows", slowly)
        assert scope.knows_of("e", ["a"], tokens), "it was so when it was asked"
        assert not scope.knows_of("e", ["a"], tokens)

    def test_it_keeps_few(self) -> None:
        scope, tokens = TokenScope(), (b"g1",)
        scope.remember(["a"], tokens, moment=scope.moment)
        for number in range(MOST_PROVED + 10):
            assert scope.knows_of(f"e:{number}", ["a"], tokens)
        assert len(scope._proved) <= MOST_PROVED

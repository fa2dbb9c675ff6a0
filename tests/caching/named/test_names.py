"""Key paths and their tags."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.named.names import (
    checked_path,
    is_named_tag,
    own_tag,
    path_part,
    project_tag,
    tag_of_pattern,
    tags_of_path,
    within_length,
)
from perfkit.errors import CacheKeyError

parts = st.text(min_size=1, max_size=12).map(path_part)
paths = st.lists(parts, min_size=1, max_size=6).map(":".join).filter(lambda path: len(path) <= 200)


def test_it_depends_on_its_own_tag_and_on_the_namespaces_it_is_in() -> None:
    assert tags_of_path("airport:stats:7") == ("k:airport:stats:7", "n:airport:stats", "n:airport", "n:")
    assert tags_of_path("airports") == ("k:airports", "n:")


@pytest.mark.parametrize(
    ("pattern", "tag"),
    [
        ("airport:stats:7", "k:airport:stats:7"),
        ("airport:*", "n:airport"),
        ("airport:stats:*", "n:airport:stats"),
        ("airport:*:7", "n:airport"),
        ("airport:st*", "n:airport"),
        ("airport:[ab]", "n:airport"),
        ("*", "n:"),
    ],
)
def test_a_pattern_is_one_tag(pattern: str, tag: str) -> None:
    assert tag_of_pattern(pattern) == tag


@given(paths, st.data())
def test_a_pattern_is_a_tag_of_every_path_that_it_matches(path: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(path)))
    end = data.draw(st.integers(start, len(path)))
    pattern = path[:start] + "*" + path[end:]
    assert fnmatchcase(path, pattern)
    if len(pattern) <= 200 and (":" in path[:start] or pattern == "*"):
        assert tag_of_pattern(pattern) in tags_of_path(path)
    assert tag_of_pattern(path) in tags_of_path(path)


@given(paths)
def test_it_takes_what_it_makes_itself(path: str) -> None:
    assert checked_path(path) == path
    assert all(map(is_named_tag, tags_of_path(path)))
    assert not any(" " in tag or "\n" in tag for tag in tags_of_path(path))


halves_too = st.text(st.characters(exclude_categories=()), max_size=80)


@given(halves_too, halves_too)
def test_different_texts_are_different_parts(one: str, other: str) -> None:
    assert (path_part(one) == path_part(other)) == (one == other)
    assert ":" not in path_part(one)
    assert not set("*?[") & set(path_part(one))


def test_a_deep_path_has_few_tags_and_its_patterns_too() -> None:
    path = ":".join("abcdefghijklmnop")
    assert len(tags_of_path(path)) == 10
    assert tag_of_pattern(f"{path[:-1]}*") in tags_of_path(path)


@pytest.mark.parametrize(
    "key", ["", "two words", "line\n", "ünicode", "a" * 201, "a:*", "a?", "a[b]", 7, None, b"a"]
)
def test_it_refuses_what_is_no_key(key: object) -> None:
    with pytest.raises(CacheKeyError, match="The cache cannot take the key"):
        checked_path(key)


@pytest.mark.parametrize("pattern", ["two words:*", "*" + "a" * 200, "ü:*", "air*", "?:x", "*:7", "[a]:b"])
def test_it_refuses_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(CacheKeyError):
        tag_of_pattern(pattern)


@given(paths.map(lambda path: path * 9))
def test_a_path_that_is_too_long_keeps_its_beginning(path: str) -> None:
    short = within_length(path)
    assert checked_path(short) == short
    assert short == path or within_length(f"{path}x") != short


@given(paths.map(lambda path: f"x:{path * 9}"))
def test_what_is_too_long_stays_in_its_namespaces(path: str) -> None:
    tags = tags_of_path(path)
    assert tags[0] == own_tag(within_length(path))
    assert tag_of_pattern(f"{path[:190].rpartition(':')[0]}:*") in tags


def test_tags_of_a_project_may_be_any_text() -> None:
    assert project_tag("stats") == "t:stats"
    assert project_tag("zwei Wörter") != project_tag("zwei  Wörter")
    assert " " not in project_tag("zwei Wörter")
    for wrong in ("", 7, None):
        with pytest.raises(CacheKeyError, match="a tag is a text"):
            project_tag(wrong)


@pytest.mark.parametrize("number", range(20))
def test_no_text_has_the_part_of_a_longer_one(number: int) -> None:
    part = path_part(str(number) * 100)
    begin, rest = part[1:3], part[3:]
    assert path_part(chr(int(begin, 16)) + rest) != part
    assert path_part(part) != part

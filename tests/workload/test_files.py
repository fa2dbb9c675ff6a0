from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import WorkloadFileError
from perfkit.workload import QueryShape, Workload, load_workload, save_workload

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
SHAPES = st.builds(
    QueryShape,
    fingerprint=TEXT.filter(bool),
    calls=st.integers(0, 2**60),
    total_seconds=FINITE,
    samples=st.lists(TEXT, max_size=3).map(tuple),
    callers=st.lists(TEXT, max_size=3).map(tuple),
    sources=st.lists(st.sampled_from(["capture", "pg_stat_statements"]), max_size=2).map(tuple),
    takings=st.integers(0, 2**60),
)
WORKLOADS = st.builds(
    Workload, alias=TEXT, shapes=st.lists(SHAPES, max_size=5).map(tuple), seconds=st.none() | FINITE
)
ONE = Workload("default", (QueryShape("SELECT %s", 2, 0.5, ("SELECT 's3cr3t'",), ("a.py:1",), (), 7),), 60.0)


@given(workload=WORKLOADS)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    file = tmp_path_factory.mktemp("workload") / "file.json"
    save_workload(workload, file)
    assert load_workload(file) == workload


def test_a_redacted_file_has_no_values(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    save_workload(ONE, file, redact=True)
    assert "s3cr3t" not in file.read_text("utf-8")
    (shape,) = load_workload(file).shapes
    assert (shape.calls, shape.samples, shape.callers, shape.takings) == (2, (), ("a.py:1",), 0)


def test_a_file_may_say_nothing_of_how_often_examples_were_taken(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    save_workload(ONE, file)
    file.write_text(file.read_text("utf-8").replace('"takings": 7', '"of_a_later_version": 7'), "utf-8")
    assert [shape.takings for shape in load_workload(file).shapes] == [0]


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.touch(mode=0o644)
    save_workload(ONE, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_it_is_as_documented(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    save_workload(ONE, file)
    assert json.loads(file.read_text("utf-8")) == {
        "format": "perfkit-workload",
        "version": 1,
        "alias": "default",
        "seconds": 60.0,
        "is_redacted": False,
        "shapes": [
            {
                "fingerprint": "SELECT %s",
                "calls": 2,
                "total_seconds": 0.5,
                "samples": ["SELECT 's3cr3t'"],
                "callers": ["a.py:1"],
                "sources": [],
                "takings": 7,
            }
        ],
    }


def head(**changed: object) -> str:
    file = {
        "format": "perfkit-workload",
        "version": 1,
        "alias": "default",
        "seconds": None,
        "is_redacted": False,
        "shapes": [],
    }
    return json.dumps({**file, **changed})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no workload"),
        ("[]", "no workload"),
        ("{", "no workload"),
        ("\x00", "no workload"),
        (head(format="other"), "no workload"),
        (head(version=2), "version 2 of the format; this perfkit reads version 1"),
        (head(shapes=[{"fingerprint": "s3cr3t"}]), "calls"),
        (head(shapes=[{"fingerprint": "", "calls": 1, "total_seconds": 1}]), "Shape 0"),
        (head(shapes=[{"fingerprint": "x", "calls": -1, "total_seconds": 1}]), "Shape 0"),
        (head(shapes=[{"fingerprint": "x", "calls": 1, "total_seconds": -1}]), "Shape 0"),
        (head(shapes=[{"fingerprint": "x", "calls": 1, "total_seconds": 1, "takings": -1}]), "Shape 0"),
        (head(shapes=[{"fingerprint": "x", "calls": 1, "total_seconds": 1, "samples": [5]}]), "samples"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content, "utf-8")
    with pytest.raises(WorkloadFileError, match=problem) as raised:
        load_workload(file)
    assert "s3cr3t" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkloadFileError, match="No such file"):
        load_workload(tmp_path / "missing.json")
    with pytest.raises(WorkloadFileError, match="cannot be written"):
        save_workload(ONE, tmp_path / "missing" / "file.json")

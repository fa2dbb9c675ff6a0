"""Modules that somebody may have imported, or is importing just now."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest

from perfkit.modules import loaded
from perfkit.signals import NOBODYS, work
from perfkit.tracing import spans

SLOW = "perfkit_test_slow_module"


def test_it_tells_what_is_imported_and_imports_nothing() -> None:
    assert loaded("sys") is sys
    assert loaded("perfkit.nothing") is None
    assert "antigravity" not in sys.modules
    assert loaded("antigravity") is None


def test_a_module_that_a_thread_is_importing_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{SLOW}.py").write_text("import builtins\nbuiltins.perfkit_goes_on()\ndone = True\n")
    has_begun, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        may_end.wait(10)

    monkeypatch.setattr("builtins.perfkit_goes_on", wait, raising=False)
    thread = threading.Thread(target=import_module, args=(SLOW,))
    thread.start()
    try:
        assert has_begun.wait(10)
        assert SLOW in sys.modules
        assert loaded(SLOW) is None
        may_end.set()
        thread.join()
        found = loaded(SLOW)
        assert found is not None
        assert found.done
    finally:
        may_end.set()
        thread.join()
        sys.modules.pop(SLOW, None)


def test_no_span_is_begun_while_a_thread_is_still_importing_opentelemetry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many first requests at once: one of them imports it, and the others met half a module."""
    half = type(sys)("opentelemetry.trace")
    half.__spec__ = type("Spec", (), {"_initializing": True})()
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", half)
    monkeypatch.setattr(work, "listener", spans._begin)
    assert work.begin("list", "x") is NOBODYS
    assert spans.current_traceparent() == ""

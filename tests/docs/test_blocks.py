"""Runs the code of the pages: each page's `python` and `pycon` blocks, in order, in one namespace.

A comment `<!-- not run: reason -->` in the line above a block leaves it out.
A page that makes files of the reader's own project is run in such a project, see test_projects.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.checks.registry import registry as system_checks

from perfkit.caching.store import current_store
from perfkit.monitoring.health import registry as health_checks
from tests.docs.code import code_of, run_page
from tests.docs.pages import MARK, name, pages, written


@pytest.fixture(autouse=True)
def empty_cache(settings: LazySettings) -> None:
    """Begin without entries; a busy machine must not look like an outage meanwhile."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0}
    store = current_store()
    assert store is not None
    store.clear()


@pytest.fixture(autouse=True)
def forgotten_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the checks that a page registers; other tests of this process count them."""
    health_checks._load()  # or perfkit's own would be forgotten too, where a page is the first to need them
    monkeypatch.setattr(health_checks, "_checks", dict(health_checks._checks))
    monkeypatch.setattr(system_checks, "registered_checks", set(system_checks.registered_checks))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", [page for page in pages() if code_of(page) and not written(page)], ids=name)
def test_it_runs_as_the_page_says(page: Path) -> None:
    run_page(page)


def test_it_gives_a_reason_for_each_block_that_does_not_run() -> None:
    bare = [
        f"{name(page)}:{number}"
        for page in pages()
        for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1)
        if line.startswith(("<!-- not run", "<!-- file", "<!-- append")) and not MARK.match(line)
    ]
    assert bare == []

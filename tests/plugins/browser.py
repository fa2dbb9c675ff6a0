"""The browser that tests of pages drive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SIZES = {"desk": (1280, 800), "phone": (390, 844)}

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Return the program that PERFKIT_CHROMIUM names, or else the first on the path; None where there is none."""
    return os.environ.get("PERFKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def is_done_without() -> bool:
    """Say whether this run leaves the tests of pages out; never in CI, where they fail instead."""
    return chromium() is None and os.environ.get("CI") != "true"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    if program is None:
        pytest.fail(
            f"There is no browser here, neither in PERFKIT_CHROMIUM nor as one of {', '.join(NAMES)}."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        # Playwright runs an event loop in this thread, in which Django would refuse the tests' own queries.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        yield browser
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        browser.close()

"""The browser that tests of pages drive."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Return the program that PERFKIT_CHROMIUM names, or else the first on the path; None where there is none."""
    return os.environ.get("PERFKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def is_done_without() -> bool:
    """Say whether this run leaves the tests of pages out; never in CI, where they fail instead."""
    return chromium() is None and os.environ.get("CI") != "true"

"""The panel in a real browser, at a desk and on a phone, light and dark."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.caching.conftest import wait_until
from tests.monitoring.panel.conftest import Toolbar
from tests.monitoring.panel.site import EVIL
from tests.plugins.browser import SIZES

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EXPECTED = ("favicon.ico", "404 (Not Found)")
"""The icon that browsers ask for where a page names none, and how they say so."""
SHOTS = os.environ.get("PERFKIT_SHOTS", "")
"""A folder for pictures, for people to look at."""


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["light", "dark"])
def page(
    browser: Browser, toolbar: Toolbar, size: str, request: pytest.FixtureRequest
) -> Iterator[tuple[Page, Callable[[str], None]]]:
    others = set(threading.enumerate())
    server = LiveServer("127.0.0.1")  # with the settings of this test
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, base_url=server.url, color_scheme=request.param
    )
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("response", lambda got: troubles.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    page.on("dialog", lambda dialog: troubles.append(f"a script has run: {dialog.message}"))

    def keep(name: str) -> None:
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{size}-{request.param}.png")

    yield page, keep
    page.close()
    # Each of them closes its connections when the browser's has ended, which the server must outlive.
    wait_until(lambda: not answering(others), seconds=60)
    server.stop()
    assert [each for each in troubles if not any(word in each for word in EXPECTED)] == []


def answering(others: set[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that answer the browser, without those that were there before."""
    return [each for each in threading.enumerate() if each not in others and "process_request" in each.name]


def opened(page: Page, address: str) -> Any:
    """Open an address, and the panel of its request; return the panel's content."""
    page.goto(address)
    button = page.locator("#djShowToolBarButton")
    if button.is_visible():
        button.click()
    page.locator("#djdt-PerfkitPanel a").click()
    content = page.locator("#PerfkitPanel .perfkit-panel")
    expect(content).to_be_visible()
    expect(content.locator("dl")).to_have_css("display", "grid")  # its style has come
    return content


def test_it_opens_on_a_page_with_a_strict_policy(page: Any) -> None:
    browser_page, keep = page

    content = opened(browser_page, "/flights/")

    expect(content.get_by_role("heading", name="Cached reads")).to_be_visible()
    expect(content.locator("dt", has_text="Queries")).to_be_visible()
    keep("flights")


@pytest.mark.parametrize("view", ["reads", "loops", "plans", "limits", "answers", "writes", "nothing"])
def test_it_fits_its_window_and_is_legible(page: Any, view: str) -> None:
    browser_page, keep = page

    content = opened(browser_page, f"/panel/{view}/")

    keep(view)
    wide, window = content.evaluate(
        "each => [Math.max(...[each, ...each.querySelectorAll(':scope > *')]"
        ".map(part => part.getBoundingClientRect().right)), window.innerWidth]"
    )
    assert wide <= window
    assert content.evaluate(CONTRASTS) == []
    for region in content.get_by_role("region").all():
        assert region.get_attribute("tabindex") == "0", "what scrolls can be scrolled by keys"


def test_markup_in_names_stays_text(page: Any) -> None:
    browser_page, _ = page

    content = opened(browser_page, "/panel/limits/")

    expect(content.get_by_role("rowheader", name=f"orders {EVIL}").first).to_be_visible()
    assert content.locator("script").count() == 0


CONTRASTS = """
root => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map(each => each / 255)
    .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = element => {
    for (let each = element; each; each = each.parentElement || (each.getRootNode().host ?? null)) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const each of root.querySelectorAll("*")) {
    const own = [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !each.offsetParent) continue;
    const [a, b] = [light(channels(getComputedStyle(each).color)), light(behind(each))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) weak.push(`${each.tagName} ${each.textContent.slice(0, 40)} ${contrast.toFixed(2)}`);
  }
  return weak;
}
"""
"""Returns texts whose contrast to what is behind them is below that of WCAG 2.2, level AA."""

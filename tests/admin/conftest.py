"""What the tests of the admin share: people, and one who uploads, names the columns and confirms."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import Client
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tests.plugins.browser import SIZES
from tests.testapp.imported import Ware

TWO = "sku,name,price\nA,Assam,1.50\nB,Bohea,2\n"
"""Wares, as a file."""

PICTURES = os.environ.get("PERFKIT_PICTURES")
"""A folder that keeps what the pages look like; else pytest's own does for a while."""


class Importing:
    """Somebody before the pages of one model's import."""

    def __init__(self, client: Client, model: str) -> None:
        self.client = client
        self.base = f"/admin/testapp/{model}/"
        self.columns_url = ""

    def upload(self, text: str | bytes, **data: str) -> Any:
        """Upload a file; return the page that comes then, that of its columns where it was taken."""
        content = text.encode() if isinstance(text, str) else text
        file = SimpleUploadedFile("wares.csv", content, "text/csv")
        answer = self.client.post(f"{self.base}import/", {"file": file, **data}, follow=True)
        if answer.redirect_chain:
            self.columns_url = answer.redirect_chain[-1][0]
        return answer

    def check(self, **data: Any) -> Any:
        """Name the columns as the form guesses them, but for `data`; return the page with the report."""
        form = self.client.get(self.columns_url).context["form"]
        guessed = {name: field.initial for name, field in form.fields.items() if field.initial}
        return self.client.post(self.columns_url, {**guessed, **data})

    def confirm(self, page: Any) -> Any:
        """Press the button of that page; return what comes then."""
        found = re.search(r'name="check" value="([^"]+)"', page.content.decode())
        assert found, "The page has no button to confirm."
        return self.client.post(f"{self.columns_url}confirm/", {"check": found[1]}, follow=True)

    def write(self, text: str, **data: Any) -> Any:
        """Do all of it; return the last page."""
        self.upload(text)
        return self.confirm(self.check(**data))


def stored(*names: str) -> list[Any]:
    """Return the wares that the table has, in order."""
    return sorted(Ware.objects.values_list(*names or ("sku", "name", "price")))


def told(page: Any) -> list[str]:
    """Return the messages of a page."""
    return [str(message) for message in page.context["messages"]]


def errors(page: Any) -> list[tuple[int | None, str, str]]:
    """Return line, column and problem of each error in a report."""
    return [tuple(error) for error in page.context["report"].errors]


def text_of(page: Any) -> str:
    """Return what a page says, without tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.content.decode())))


@pytest.fixture
def person(db: None) -> Callable[..., Client]:
    """Log somebody of the staff in, with these permissions on a model, all where none are given."""

    def person(model: str, *permissions: str, name: str = "ann") -> Client:
        user = get_user_model().objects.create_user(name, password="x", is_staff=True)
        names = [f"{each}_{model}" for each in permissions or ("add", "change", "view", "delete")]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(user)
        return client

    return person


@pytest.fixture
def wares(person: Callable[..., Client]) -> Importing:
    return Importing(person("ware"), "ware")


@pytest.fixture
def admin_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that gives the admin of a model other members, until the test ends."""

    def admin_of(model: type[models.Model], **members: Any) -> None:
        for name, member in members.items():
            monkeypatch.setattr(type(admin.site._registry[model]), name, member, raising=False)

    return admin_of


@pytest.fixture
def opened(
    browser: Browser, settings: LazySettings, live_server: LiveServer
) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of the admin for a superuser."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.admin.browsing.strict"]
    troubles: list[str] = []
    contexts = []

    def opened(address: str, *, size: str = "desk", scheme: str = "light", scripts: bool = True) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            base_url=live_server.url,
            color_scheme=scheme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on(
            "response", lambda got: troubles.append(f"{got.status} {got.url}") if got.status >= 400 else None
        )
        if not get_user_model().objects.filter(username="demo").exists():
            get_user_model().objects.create_superuser("demo", password="only-for-tests")
        page.goto(f"/admin/login/?{urlencode({'next': address})}")
        page.get_by_label("Username").fill("demo")
        page.get_by_label("Password").fill("only-for-tests")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{address}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [
        trouble for trouble in troubles if "favicon" not in trouble and "404 (Not Found)" not in trouble
    ] == []


@pytest.fixture
def looked_at(tmp_path: Path) -> Callable[[Page, str], None]:
    """A function that keeps a picture of the whole page, and checks what holds of each."""

    def looked_at(page: Page, name: str) -> None:
        folder = Path(PICTURES) if PICTURES else tmp_path
        file = folder / f"{name}.png"
        page.screenshot(path=file, full_page=True)
        assert file.stat().st_size > 5_000
        assert page.locator("#content-main").is_visible()

    return looked_at

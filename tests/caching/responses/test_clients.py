"""What real clients make of compressed answers, with the bytes beside them that they have to skip."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from perfkit.caching.responses.encodings import MOST_PADDING
from perfkit.conf import configured
from tests.caching.responses.decoders import DECODERS
from tests.plugins.browser import chromium

ROWS = 3000
PAGE = (
    "<!doctype html><title>rows</title>"
    + "".join(f"<p id='row{number}'>row {number}</p>" for number in range(ROWS))
    + "<script>document.title = document.querySelectorAll('p').length + ' rows'</script>"
)


def page(request: HttpRequest, coding: str) -> HttpResponse:
    return HttpResponse(PAGE)


urlpatterns = [path("<str:coding>", page)]


def asked_by_path(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Take what is accepted from the path: browsers do not let a page say it."""

    def respond(request: HttpRequest) -> HttpResponse:
        request.META["HTTP_ACCEPT_ENCODING"] = request.path_info.removeprefix("/")
        return get_response(request)

    return respond


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(params=[0, 1, MOST_PADDING], ids="padding{}".format)
def site(request: pytest.FixtureRequest, settings: LazySettings, _site: None) -> Iterator[str]:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.MIDDLEWARE = [
        f"{__name__}.asked_by_path",
        "perfkit.caching.responses.compression.CompressionMiddleware",
    ]
    settings.PERFKIT = {**configured(), "COMPRESS_PADDING_BYTES": request.param}
    with make_server("127.0.0.1", 0, WSGIHandler(), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("coding", DECODERS)
def test_requests_reads_each_coding_whole_and_in_pieces(site: str, coding: str) -> None:
    whole = requests.get(f"{site}/{coding}", timeout=10)
    assert whole.headers["Content-Encoding"] == coding
    assert whole.text == PAGE
    with requests.get(f"{site}/{coding}", timeout=10, stream=True) as pieces:
        assert b"".join(pieces.iter_content(100)) == PAGE.encode()


@pytest.mark.browser
@pytest.mark.parametrize("coding", DECODERS)
def test_a_browser_reads_each_coding(site: str, coding: str) -> None:
    program = chromium()
    assert program is not None
    shown = subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{site}/{coding}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert f"<title>{ROWS} rows</title>" in shown.stdout, shown.stderr
    assert f'<p id="row{ROWS - 1}">row {ROWS - 1}</p>' in shown.stdout

"""What an API of django-ninja answers in `tests.api.compiling.views`, by handlers of django-bolt.

The querysets are made elsewhere, so that django-bolt finds no queries in the source of these handlers.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django_bolt import BoltAPI

from perfkit.api import acompiled_json, acompiled_keyset, compiled_json, compiled_keyset
from perfkit.api.bolt import json_handler
from perfkit.caching.scope import current_scope
from tests.api.compiling.views import BOOKS, BookOut, all_books

api = BoltAPI(enable_logging=False)
SCOPE = "/api/books/keyset?"


def books() -> Any:
    return BOOKS["books"][1]()


@api.get("/books")
@json_handler
def list_books(cursor: str | None = None, page_size: int = 20) -> bytes:
    return compiled_keyset(books(), BookOut, cursor, page_size, scope=SCOPE)


@api.get("/async-books")
@json_handler
async def list_books_async(cursor: str | None = None, page_size: int = 20) -> bytes:
    return await acompiled_keyset(books(), BookOut, cursor, page_size, scope=SCOPE)


@api.get("/all")
@json_handler
def list_all(request: Any) -> bytes:
    return compiled_json(all_books(request), BookOut)


@api.get("/async-all")
@json_handler
async def list_all_async(request: Any) -> bytes:
    return await acompiled_json(all_books(request), BookOut)


@api.get("/scope")
@json_handler
def tell_scope() -> bytes:
    return b"false" if current_scope() is None else b"true"


@api.get("/wrong")
@json_handler
def ask_nonsense() -> bytes:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")
    return b"null"

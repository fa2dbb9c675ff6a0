"""What a view looks at while it makes a page: headers, cookies, the session, who asks, the CSRF token.

# Note [What is seen of a view]
While a page is made, its request has mappings that note what is read of them, and a user who notes that it is.
What a view reads past the request (ASGI's scope, WSGI's environment kept elsewhere) is not seen.
Watches of one request may be within each other, as a fragment's is within that of its page: what the inner one
notes is looked at in the outer one too, and that a watch begins and ends is no look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import CaseInsensitiveMapping
from django.utils.functional import SimpleLazyObject

from perfkit.caching.responses.variations import Looked, cookie, header, meta

ALL: Final = "all headers"
CSRF: Final = "csrf token"
_CSRF_KEYS: Final = frozenset({"CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"})

_FREE: Final = frozenset(
    {
        *(
            "CONTENT_LENGTH",
            "GATEWAY_INTERFACE",
            "PATH_INFO",
            "QUERY_STRING",
            "REQUEST_METHOD",
            "SCRIPT_NAME",
        ),
        *("SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "HTTP_HOST"),
        *("HTTP_AUTHORIZATION", "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH"),
    }
)
"""Keys of META that are in every page's key, or the same for all who ask this server."""


_WATCH: Final = "_perfkit_watch"
"""An attribute of requests: the innermost watch that is on."""

_DERIVED: Final = ("accepted_types", "accepted_types_by_precedence")
"""What requests keep of their headers once somebody has asked."""


class Watch:
    """Notes what is looked at of a request within the block.

    Args:
        query: What the request is shown as its query string.
        ignores: Names of header fields and keys of META of which nothing is to be noted.
        user: Loads who is logged in, where the page is kept for this one.
        is_of_address: Whether what is made is kept under the address that was asked for; else that is a look too.
    """

    def __init__(
        self,
        request: HttpRequest,
        *,
        query: str | None = None,
        ignores: Collection[str] = (),
        user: Callable[[], Any] | None = None,
        is_of_address: bool = True,
    ) -> None:
        self._request = request
        self._query = query
        self._is_of_address = is_of_address
        self._free = (_free_keys() if is_of_address else frozenset()) | {_meta_key(name) for name in ignores}
        self._outer: Watch | None = None
        self._load_user = user
        self._variations: set[str] = set()
        self._facts: set[str] = set()
        self._before: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._session: Any = None
        self._session_kind: Any = None
        self._session_was_read = False
        self._messages_were_added = False

    def __enter__(self) -> Self:
        request = self._request
        self._outer = vars(request).get(_WATCH)
        shown: dict[str, Any] = {
            "META": Noting(request.META, self.note_meta),
            "COOKIES": Noting(request.COOKIES, self.note_cookie),
            "headers": NotingHeaders(request.headers, self.note_header),
        }
        if vars(request).get("environ") is request.META:
            shown["environ"] = shown["META"]
        if self._query is not None and self._query != request.META.get("QUERY_STRING", ""):
            self._before["QUERY_STRING"] = request.META.get("QUERY_STRING", "")
            dict.__setitem__(shown["META"], "QUERY_STRING", self._query)
            shown["GET"] = QueryDict(self._query, encoding=request.encoding)
        if "user" in vars(request):
            user, shown["user"] = vars(request)["user"], SimpleLazyObject(lambda: self._noted_user(user))
        if "auser" in vars(request):
            auser = vars(request)["auser"]

            async def noted() -> Any:
                if self._load_user is None:
                    found = await auser()
                else:
                    found = await sync_to_async(self._apart_from_session)(self._load_user)
                self._note_user(found)
                return found

            shown["auser"] = noted
        for name in _DERIVED:
            vars(request).pop(name, None)  # a middleware has asked for it, of the headers themselves
        for name, value in shown.items():
            self._before[name] = vars(request).get(name)
            setattr(request, name, value)
        self._shown = shown
        self._session = vars(request).get("session")
        if self._session is not None:
            self._session_was_read, self._session.accessed = self._session.accessed, False
            self._session_kind = type(self._session)
            self._session.__class__ = _told_kind(self._session_kind)
        messages = vars(request).get("_messages")
        self._messages_were_added = bool(getattr(messages, "added_new", False))
        _put_watch(request, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        request = self._request
        _put_watch(request, self._outer)
        for name in ("META", "COOKIES"):
            _written_back(self._shown[name], self._before[name])
        if "QUERY_STRING" in self._before:
            self._before["META"]["QUERY_STRING"] = self._before["QUERY_STRING"]
        for name, value in self._shown.items():
            if vars(request).get(name) is not value:
                continue  # the view has put something else there
            if self._before[name] is None:
                del vars(request)[name]  # made anew, of what the request has, by whoever asks
            else:
                setattr(request, name, self._before[name])
        self._leave_session(vars(request).get("session"))
        messages = vars(request).get("_messages")
        if getattr(messages, "added_new", False) and not self._messages_were_added:
            self._facts.add("message")

    def _leave_session(self, session: Any) -> None:
        if self._session is not None:
            self._session.__class__ = self._session_kind
        if session is not self._session:
            self._facts.add("session")
        elif session is not None:
            if session.accessed:
                self._facts.add("session")
            session.accessed = session.accessed or self._session_was_read

    @property
    def looked(self) -> Looked:
        """What was looked at up to now."""
        return Looked(frozenset(self._variations), frozenset(self._facts))

    def user(self) -> Any:
        """Return who asks, as the request has it within the block; None where it has nobody."""
        return self._shown.get("user")

    def note_fact(self, fact: str) -> None:
        """Note what of a request only matters where the address is not in the key."""
        if not self._is_of_address:
            self._facts.add(fact)
        if self._outer is not None:
            self._outer.note_fact(fact)

    def note_meta(self, key: str | None) -> None:
        """Note that a key of META was read, None for all."""
        if self._outer is not None:
            self._outer.note_meta(key)
        if key is None:
            self._facts.add(ALL)
        elif key in _CSRF_KEYS:
            self._facts.add(CSRF)
        elif key not in self._free and not (self._is_of_address and key.startswith("wsgi.")):
            self._variations.add(meta(key))

    def note_header(self, name: str | None) -> None:
        """Note that a header was read, None for all."""
        if self._outer is not None:
            self._outer.note_header(name)
        if name is None:
            self._facts.add(ALL)
            return
        key = _meta_key(name)
        if key not in self._free:
            self._variations.add(header(name.replace("_", "-")))

    def note_cookie(self, name: str | None) -> None:
        """Note that a cookie was read, None for all."""
        if self._outer is not None:
            self._outer.note_cookie(name)
        self._variations.add(header("cookie") if name is None else cookie(name))

    def _note_user(self, user: Any) -> None:
        self._facts.add("user" if getattr(user, "is_authenticated", True) else "visitor")

    def _noted_user(self, user: Any) -> Any:
        found = self._loaded(user) if self._load_user is None else self._apart_from_session(self._load_user)
        self._note_user(found)
        return found

    def _loaded(self, user: Any) -> Any:
        """Return what stands behind a lazy user; that loading it reads the session says no more."""
        return self._apart_from_session(lambda: behind(user))

    def _apart_from_session(self, load: Callable[[], Any]) -> Any:
        """Load something with no note that the session was read."""
        session = self._session
        was_read = session is not None and session.accessed
        found = load()
        if session is not None:
            self._session_was_read = self._session_was_read or session.accessed
            session.accessed = was_read
        return found


def _put_watch(request: HttpRequest, watch: Watch | None) -> None:
    vars(request).pop(_WATCH, None)
    if watch is not None:
        vars(request)[_WATCH] = watch


class Noting(dict[str, Any]):
    """A copy of a dict that tells which keys are read of it, None where all are."""

    def __init__(self, values: dict[str, Any], note: Callable[[str | None], None]) -> None:
        super().__init__(dict.items(values))  # of another copy, without a note
        self._note = note

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._note(None)
        return super().__iter__()

    def __len__(self) -> int:
        self._note(None)
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._note(None)
        return super().__eq__(other)

    __hash__ = None  # as dicts have it

    def __repr__(self) -> str:
        self._note(None)
        return super().__repr__()

    def __reversed__(self) -> Iterator[str]:
        self._note(None)
        return super().__reversed__()

    def __or__(self, other: Any) -> Any:
        self._note(None)
        return super().__or__(other)

    def __ror__(self, other: Any) -> Any:
        self._note(None)
        return super().__ror__(other)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # a dict's own is of several kinds
        self._note(None)
        super().__ior__(other)
        return self

    def popitem(self) -> Any:
        """Return and drop a key and its value, and tell that all are read."""
        self._note(None)
        return super().popitem()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, and tell that it was read."""
        self._note(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Return and drop a value, and tell that it was read."""
        self._note(key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return a value or set it, and tell that it was read."""
        self._note(key)
        return super().setdefault(key, default)

    def keys(self) -> Any:
        """Return the keys, and tell that all are read."""
        self._note(None)
        return super().keys()

    def values(self) -> Any:
        """Return the values, and tell that all are read."""
        self._note(None)
        return super().values()

    def items(self) -> Any:
        """Return keys and values, and tell that all are read."""
        self._note(None)
        return super().items()

    def copy(self) -> dict[str, Any]:
        """Return a plain copy, and tell that all is read."""
        self._note(None)
        return super().copy()


class NotingHeaders(CaseInsensitiveMapping[str]):
    """Headers that tell which of them are read, None where all are."""

    def __init__(self, headers: CaseInsensitiveMapping[str], note: Callable[[str | None], None]) -> None:
        super().__init__(dict(vars(headers)["_store"].values()))  # of another copy, without a note
        self._note = note

    def __getitem__(self, key: str) -> str:
        self._note(key)
        return super().__getitem__(key.replace("_", "-"))

    def __repr__(self) -> str:
        self._note(None)
        return super().__repr__()

    def __contains__(self, key: object) -> bool:
        self._note(str(key))
        return str(key).replace("_", "-").lower() in self._store

    def __iter__(self) -> Iterator[str]:
        self._note(None)
        return super().__iter__()

    def __len__(self) -> int:
        self._note(None)
        return super().__len__()


MOST_KINDS: Final = 100


@lru_cache(MOST_KINDS)
def _told_kind(kind: Any) -> Any:
    """Return a kind of session that counts as read where its key is."""
    if not isinstance(getattr(kind, "session_key", None), property):
        return kind  # none of Django's

    def session_key(self: Any) -> Any:
        self.accessed = True
        return kind.session_key.__get__(self)

    return type(kind.__name__, (kind,), {"session_key": property(session_key), "__module__": kind.__module__})


def _written_back(shown: dict[str, Any], before: dict[str, Any]) -> None:
    """Change a dict as the copy of it was changed; others may hold it."""
    values = dict(dict.items(shown))
    for key in dict.keys(before) - values.keys():
        del before[key]
    before.update(values)


def behind(user: Any) -> Any:
    """Return what stands behind a lazy object, down to what is none."""
    while type(user) is SimpleLazyObject:
        user.__class__  # noqa: B018  # loads it
        user = vars(user)["_wrapped"]
    return user


def _free_keys() -> frozenset[str]:
    """Return the keys of META that say no more than the scheme and the host, which are in every key."""
    proxied = settings.SECURE_PROXY_SSL_HEADER
    free = set(_FREE)
    if proxied:
        free.add(proxied[0])
    if settings.USE_X_FORWARDED_HOST:
        free.add("HTTP_X_FORWARDED_HOST")
    return frozenset(free)


def _meta_key(name: str) -> str:
    """Return the key of META for the name of a header field, or of a key of META."""
    key = name.upper().replace("-", "_")
    return key if key.startswith("HTTP_") or key in _PLAIN_KEYS else f"HTTP_{key}"


_PLAIN_KEYS: Final = frozenset(
    {"CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_USER"}
)


def sent_of(request: HttpRequest, variations: Iterable[str]) -> frozenset[str]:
    """Return those of `variations` of which a request has a value; outside of a watch."""
    return frozenset([each for each in variations if value_of(request, each) is not None])


def value_of(request: HttpRequest, variation: str) -> str | None:
    """Return the value that a request has of a header, a cookie or a key of META; outside of a watch."""
    kind, _, name = variation.partition(":")
    if kind == "cookie":
        return request.COOKIES.get(name)
    key = _meta_key(name) if kind == "header" else name
    found = request.META.get(key)
    if found is None or (found == "" and key == "HTTP_COOKIE"):
        return None
    return str(found)

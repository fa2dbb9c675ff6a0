"""How the pages of one view are kept: for how long, under which names, and what is told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from string import Formatter
from typing import Any, ClassVar, Final, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from perfkit.caching.functions.arguments import Bound
from perfkit.caching.functions.templates import Template
from perfkit.caching.named.contexts import context_name, current_context
from perfkit.caching.named.names import path_part, project_tag, tags_of_path
from perfkit.caching.named.recipes import Named, Recipe, named_key
from perfkit.caching.queryset import checked_ttl
from perfkit.caching.recorder import recorded_by
from perfkit.caching.responses.addresses import Address, canonical_query
from perfkit.caching.responses.fields import normal_value
from perfkit.caching.responses.pages import Made, Page, PageCodec, Signpost, page_of
from perfkit.caching.responses.rules import said_seconds, why_not_kept
from perfkit.caching.responses.variations import (
    AUTHORIZATION,
    USER,
    VISITOR,
    Sent,
    Variations,
    declared,
    digest,
    judged,
    of_vary,
)
from perfkit.caching.responses.watch import Watch, behind, sent_of, value_of
from perfkit.caching.values import UnstorableError
from perfkit.conf import options
from perfkit.errors import KeyTemplateError

NAMESPACE: Final = "page"

MOST_ADDRESSES: Final = 1_000
"""Of one view, whose names are kept in a process."""

KeyParts = Callable[..., "str | Iterable[str]"]


class PageOptions(NamedTuple):
    """What a project says of the pages of a view; see `cache_response`."""

    ttl: int | None = None
    tags: tuple[str, ...] = ()
    key: KeyParts | None = None
    vary_on: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    stale_ttl: int = 0
    max_age: int | None = None
    records: bool = True
    version: str = ""

    def checked(self) -> PageOptions:
        """Return them, if they are valid.

        Raises:
            ValueError: A number of seconds is none.
        """
        if self.ttl is not None:
            checked_ttl(self.ttl)
        if self.stale_ttl:
            checked_ttl(self.stale_ttl)
        if self.max_age is not None and self.max_age < 0:
            raise ValueError("max_age is a number of seconds, 0 at least.")
        return self


class PageRecipe(Recipe):
    """What the pages of one view have in common."""

    is_all: ClassVar[bool] = True

    def parts(self, key: str, value: Made) -> Mapping[str, Any]:
        """Return what is kept of a response: a page, and a signpost to it where one is needed."""
        return value.parts


class Request(NamedTuple):
    """A request, as far as its page is looked for.

    Args:
        path: The key path of its address.
        tags: What the page depends on by its address and by declaration.
        query: What the view is shown as the query string.
        has_row: Whether the page depends on the user's row by its name, for writes of that are watched.
    """

    request: HttpRequest
    path: str
    tags: tuple[str, ...]
    query: str
    user: Any
    has_row: bool


class Keeping:
    """Names the pages of one view, judges its responses, and makes pages of them.

    Args:
        name: Dotted, of the view.
        sender: Whom `cache_read` is told of.
    """

    def __init__(self, name: str, options_: PageOptions, *, sender: Any) -> None:
        self.name = name
        self.options = options_
        self.namespace = f"{NAMESPACE}:{path_part(name)}"
        self.declared: Variations = declared(options_.vary_on)
        self._templates = [_template(tag, name) for tag in options_.tags]
        self._place = lru_cache(MOST_ADDRESSES)(self._placed)
        self.recipe = PageRecipe(
            f"{NAMESPACE}:{name}",
            sender=sender,
            ttl_seconds=lambda value: value.ttl_seconds,
            stale_seconds=options_.stale_ttl,
            records=options_.records,
            wants=lambda made: made.page is not None,
            codec=PageCodec(),
        )

    @property
    def needs_user(self) -> bool:
        """Whether who is logged in must be known to look for a page."""
        return USER in self.declared

    def asked(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> Request | str:
        """Return what is asked for, or why no page is looked for.

        A credential is none of these pages': whether it is a good one is for the view to say, each time, whatever
        it says to caches (`public`); unless pages are told apart by it.

        Raises:
            UncacheableArgumentError: The user has an attribute that names nothing.
            KeyTemplateError: A tag names what the address does not have.
        """
        if "HTTP_AUTHORIZATION" in request.META and AUTHORIZATION not in self.declared:
            return "Authorization"
        query = canonical_query(request.META.get("QUERY_STRING", ""), options.CACHE_IGNORED_PARAMETERS)
        if query is None:
            return "query string"
        try:
            host = request.get_host()
        except DisallowedHost:
            return "host"
        extra = () if self.options.key is None else self._extra(request, kwargs)
        address = Address(
            request.scheme or "", host, request.META.get("HTTP_HOST", ""), request.path, query, extra
        )
        path, tags = self._place(address, tuple([self._tag(tag, kwargs) for tag in self._templates]))
        user = None
        row_tags: tuple[str, ...] = ()
        if self.needs_user:
            user = behind(getattr(request, "user", None))
            if isinstance(user, AbstractBaseUser):
                _, row_tags = Bound(self.name, {USER: user}).digest([USER])
                tags = tuple(dict.fromkeys((*tags, *row_tags)))
            elif getattr(user, "is_authenticated", False):
                return "user without a row"
        return Request(request, path, tags, query, user, bool(row_tags))

    def named(self, asked: Request, variations: Variations) -> Named:
        """Return where the page is, for a reader who knows of these variations."""
        return Named(asked.path, self._key(asked, variations), asked.tags)

    def watch(self, asked: Request) -> Watch:
        """Return what notes what the view looks at."""
        user = asked.user
        is_known = isinstance(user, AbstractBaseUser)
        return Watch(
            asked.request,
            query=asked.query,
            ignores=self.options.ignores,
            user=(lambda: _loaded_anew(user, has_row=asked.has_row)) if is_known else None,
        )

    def made(self, asked: Request, known: Variations, response: HttpResponseBase, watch: Watch) -> Made:
        """Return a response with what is kept of it; after the watch.

        Args:
            known: By which variations the page was looked for.
        """
        request = asked.request
        refusal = "kept by its view" if getattr(response, "perfkit_page", False) else why_not_kept(response)
        looked = watch.looked
        said = self.declared | of_vary(response.get("Vary", ""))
        judgement, learnt = judged(looked, said, _sent(request, looked.variations))
        everything = known | said | learnt
        if refusal or judgement:
            return Made(response, refusal=refusal or judgement, variations=everything)
        ttl_seconds = self._ttl_seconds(response)
        try:
            page = page_of(
                cast("HttpResponse", response),
                ttl_seconds=ttl_seconds,
                variations=said | learnt,
                max_age=self.options.max_age,
            )
        except UnstorableError as error:
            return Made(response, refusal=str(error), variations=everything)
        parts: dict[str, Page | Signpost] = {}
        if not everything <= known:
            parts[self._key(asked, known)] = Signpost(tuple(sorted(everything)), ttl_seconds)
        parts[self._key(asked, everything)] = page
        return Made(response, page=page, parts=parts, variations=everything)

    def _placed(self, address: Address, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Return the key path of an address, and the tags of its page; `names` are those of the project's tags."""
        path = f"{self.namespace}:{address.digest()}"
        return path, tuple(dict.fromkeys((*tags_of_path(path), *map(project_tag, names))))

    def _ttl_seconds(self, response: HttpResponseBase) -> int:
        wanted = options.CACHE_RESPONSES_TTL if self.options.ttl is None else self.options.ttl
        said = said_seconds(response)
        return wanted if said is None else min(wanted, said)

    def _key(self, asked: Request, variations: Variations) -> str:
        request = asked.request
        context = context_name(current_context(), self.name, self.options.version)
        if not variations:
            return named_key(asked.path, context)
        values: dict[str, str | None] = {}
        for variation in variations:
            if variation == USER:
                values[USER] = _user_key(asked.user)
            elif variation == VISITOR:
                user = getattr(request, "user", None)
                values[VISITOR] = "user" if getattr(user, "is_authenticated", False) else None
            else:
                name = variation.removeprefix("header:")
                values[variation] = normal_value(name, value_of(request, variation))
        return named_key(asked.path, f"{context}{digest(values)}")

    def _extra(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        assert self.options.key is not None  # noqa: S101  # asked by who calls
        parts = self.options.key(request, **kwargs)
        return (parts,) if isinstance(parts, str) else tuple(map(str, parts))

    def _tag(self, template: Template, kwargs: Mapping[str, Any]) -> str:
        missing = template.parameters - kwargs.keys()
        if missing:
            names = ", ".join(sorted(missing))
            raise KeyTemplateError(self.name, template.text, f"the address has no {names}.")
        return template.path(kwargs)


def _template(text: str, name: str) -> Template:
    """Return a template over what the address of a view has, which nobody knows before it is asked for."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field]
    except ValueError as error:
        raise KeyTemplateError(name, text, f"{error}.") from error
    return Template(text, function=name, parameters=[field.split(".")[0] for field in fields])


def _sent(request: HttpRequest, looked: Variations) -> Sent:
    name = settings.SESSION_COOKIE_NAME
    session = vars(request).get("session")
    holds = session is not None and not session.is_empty()
    return Sent(sent_of(request, looked), name, holds or name in request.COOKIES)


def _user_key(user: Any) -> str | None:
    if not isinstance(user, AbstractBaseUser):
        return None
    return f"{user._meta.label}:{user.pk}"


def _loaded_anew(user: Any, *, has_row: bool) -> Any:
    """Return the user as the database has it now: the request's was loaded before the page's tokens.

    Args:
        has_row: Whether the page depends on the row by its name already; else this is a read like others, and of a
            table that nobody watches the page is not kept.
    """
    rows = type(user)._base_manager.using(user._state.db).filter(pk=user.pk)
    with recorded_by(None) if has_row else nullcontext():
        found = rows.first()
    if found is None:
        return user
    if hasattr(user, "backend"):
        found.backend = user.backend
    return found

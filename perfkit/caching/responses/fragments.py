"""Fragments of templates that are kept: what stands between `{% perfcache %}` and `{% endperfcache %}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from django.contrib.auth.context_processors import PermWrapper
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.http import HttpRequest
from django.template import Context, NodeList, TemplateSyntaxError, VariableDoesNotExist
from django.template.base import FilterExpression, Node, Parser, Token
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.safestring import SafeString

from perfkit.caching.functions.arguments import Bound
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.named.answers import answer
from perfkit.caching.named.contexts import context_name, current_context
from perfkit.caching.named.held import MISSING, known_value
from perfkit.caching.named.names import path_part, project_tag, tags_of_path
from perfkit.caching.named.recipes import Named, Recipe, named_key
from perfkit.caching.named.standing import current_standing
from perfkit.caching.responses.attributes import telling
from perfkit.caching.responses.variations import Looked
from perfkit.caching.responses.watch import CSRF, Watch, behind
from perfkit.caching.telling import tell_read
from perfkit.conf import options
from perfkit.errors import CacheKeyError, UncacheableArgumentError

NAMESPACE: Final = "fragment"
END: Final = "endperfcache"
_TAGS: Final = "tags="

_SILENT: Final = frozenset(
    {*("META", "environ", "headers", "COOKIES", "session", "user", "auser"), "resolver_match", "current_app"}
    | {"LANGUAGE_CODE"}
)
"""Attributes of requests that tell by themselves what is read of them, that `{% url %}` asks, or the key has."""

_SILENT_OF_MATCH: Final = frozenset({"namespace"})
"""What `{% url %}` asks of the address that was resolved."""


class Fragments:
    """The kept fragments of one name; whom `cache_read` is told of.

    Attributes:
        name: What statistics call them.
    """

    def __init__(self, name: str) -> None:
        self.name = f"{NAMESPACE}:{name}"


class Shown:
    """A fragment that is shown and not kept.

    Args:
        refusal: Why it is not.
    """

    __slots__ = ("refusal", "text")

    def __init__(self, text: str, refusal: str) -> None:
        self.text = text
        self.refusal = refusal


class FragmentNode(Node):
    """A fragment in a template."""

    child_nodelists = ("nodelist",)

    def __init__(
        self,
        nodelist: NodeList,
        *,
        name: str,
        ttl: FilterExpression,
        vary_on: Sequence[FilterExpression],
        tags: FilterExpression | None,
    ) -> None:
        self.nodelist = nodelist
        self._name = name
        self._ttl = ttl
        self._vary_on = tuple(vary_on)
        self._tags = tags

    def render(self, context: Context) -> SafeString:
        """Return the fragment, from the cache where it holds.

        Raises:
            TemplateSyntaxError: A value that it varies on names nothing, or its time is no number of seconds.
        """
        values = [(expression.token, _resolved(expression, context)) for expression in self._vary_on]
        recipe = _recipe(self._name, self._seconds(context))
        named = self._named(context, values)

        def make() -> SafeString | Shown:
            with _watched(context, [value for _, value in values]) as watch:
                text = self.nodelist.render(context)
            refusal = "" if watch is None else _refusal(watch.looked)
            return Shown(text, refusal) if refusal else text

        standing = current_standing()
        found = known_value(recipe, named, standing)
        if found is MISSING:
            found = answer(recipe, named, make, standing)
        if isinstance(found, Shown):
            tell_read(recipe.sender, "bypass", found.refusal, key=named.key, tags=named.tags)
            found = found.text
        return SafeString(found)  # as the nodes have rendered it

    def _seconds(self, context: Context) -> int:
        value = _resolved(self._ttl, context)
        if value is None:
            return options.CACHE_DEFAULT_TTL
        try:
            seconds = int(value)
        except (TypeError, ValueError) as error:
            raise TemplateSyntaxError(
                f"perfcache {self._name!r}: {value!r} is no number of seconds."
            ) from error
        if seconds < 1:
            raise TemplateSyntaxError(f"perfcache {self._name!r}: {seconds} is no number of seconds from 1.")
        return seconds

    def _named(self, context: Context, values: Sequence[tuple[str, Any]]) -> Named:
        arguments = {f"{place} {token}": value for place, (token, value) in enumerate(values)}
        for place, (token, value) in enumerate(values):
            if isinstance(value, Model):
                arguments[f"{place} {token} as loaded"] = _loaded_values(value)
        try:
            digest, row_tags = Bound(f"{NAMESPACE}:{self._name}", arguments).digest(arguments)
            tags = [project_tag(tag) for tag in self._tag_names(context)]
        except UncacheableArgumentError as error:
            raise TemplateSyntaxError(
                f"perfcache {self._name!r} cannot vary on {error.parameter.partition(' ')[2]!r}, {error.kind}. "
                "Name what of it matters, such as its id."
            ) from error
        except CacheKeyError as error:
            raise TemplateSyntaxError(f"perfcache {self._name!r}: {error}") from error
        path = f"{NAMESPACE}:{path_part(self._name)}:{digest}"
        mode = (context.autoescape, context.use_l10n, context.use_tz)
        key = named_key(path, context_name(current_context(), (NAMESPACE, mode)))
        return Named(path, key, tuple(dict.fromkeys([*tags_of_path(path), *tags, *row_tags])))

    def _tag_names(self, context: Context) -> list[str]:
        if self._tags is None:
            return []
        value = _resolved(self._tags, context)
        return [part for piece in str(value).split(",") if (part := piece.strip())]


def parsed_fragment(parser: Parser, token: Token) -> FragmentNode:
    """Keep a part of a page: `{% perfcache 600 "airports" airport.pk tags="airports" %}…{% endperfcache %}`.

    The arguments: seconds that it lives (None for the default), its name in quotes, and what its text varies on:
    plain values, or saved instances, on whose rows it then depends.
    What it reads of the database is seen, and it goes when that changes; so do those with one of its tags.
    It is kept apart for each language and time zone.

    Raises:
        TemplateSyntaxError: It lacks a time or a name.
    """
    tag, *parts = token.split_contents()
    tags = None
    if parts and parts[-1].startswith(_TAGS):
        tags = parser.compile_filter(parts.pop().removeprefix(_TAGS))
    if len(parts) < 2:  # noqa: PLR2004  # a time and a name
        raise TemplateSyntaxError(
            f'{tag!r} takes a time and a name, as {{% {tag} 600 "airports" %}}, then what it varies on.'
        )
    ttl, name, *vary_on = parts
    if len(name) < 3 or name[0] not in "\"'" or name[-1] != name[0]:  # noqa: PLR2004  # quotes and one letter
        raise TemplateSyntaxError(f"{tag!r} takes its name in quotes, not {name}.")
    if wrong := [part for part in vary_on if part.partition("=")[0].isidentifier() and "=" in part]:
        raise TemplateSyntaxError(f"{tag!r} has no option {wrong[0]}; tags=… stands last.")
    if ttl.lstrip("-").isdigit() and int(ttl) < 1:
        raise TemplateSyntaxError(f"{tag!r} takes a number of seconds from 1, not {ttl}.")
    nodelist = parser.parse((END,))
    parser.delete_first_token()
    return FragmentNode(
        nodelist,
        name=name[1:-1],
        ttl=parser.compile_filter(ttl),
        vary_on=[parser.compile_filter(part) for part in vary_on],
        tags=tags,
    )


_recipes: Final[dict[tuple[str, int], Recipe]] = {}
_lock: Final = fork_safe_lock()
MOST_RECIPES: Final = 10_000


def _recipe(name: str, ttl_seconds: int) -> Recipe:
    """Return what fragments of a name have in common; it lives longer than templates that are read anew."""
    recipe = _recipes.get((name, ttl_seconds))
    if recipe is None:
        recipe = Recipe(
            f"{NAMESPACE}:{name}",
            sender=Fragments(name),
            ttl_seconds=lambda _: ttl_seconds,
            wants=lambda value: not isinstance(value, Shown),
        )
        with _lock:
            if len(_recipes) >= MOST_RECIPES:
                _recipes.clear()
            _recipes[name, ttl_seconds] = recipe
    return recipe


def _resolved(expression: FilterExpression, context: Context) -> Any:
    """Return the value of an argument; who is logged in, as a value that names them."""
    try:
        value = behind(expression.resolve(context))
    except VariableDoesNotExist as error:
        raise TemplateSyntaxError(f"perfcache got an unknown variable: {expression.token}") from error
    if isinstance(value, Promise):
        return str(value)
    return "nobody" if getattr(value, "is_anonymous", False) is True else value


def _loaded_values(instance: Model) -> list[Any]:
    """Return what an instance has of its row; it may have been loaded before the tokens of the row are taken."""
    values = vars(instance)
    names = [field.attname for field in instance._meta.concrete_fields if field.attname in values]
    return [[name, value.name if isinstance(value := values[name], FieldFile) else value] for name in names]


@contextmanager
def _watched(context: Context, vary_on: Sequence[Any]) -> Iterator[Watch | None]:
    """Note what the fragment looks at of the request, if the template has one."""
    found = [context.get("request"), getattr(context, "request", None)]
    wrappers = [each for each in found if isinstance(_within(each), HttpRequest)]
    request = next((each for each in map(_bare, found) if isinstance(each, HttpRequest)), None)
    if request is None:
        yield None
        return
    user: Any = vars(request).get("user")
    varies_on_user = user is not None and any(_is_user(value, user) for value in vary_on)
    names = [] if user is None or varies_on_user else _names_of_user(context, user)
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(request, is_of_address=False))
        shown = _shown(context, request, watch)
        if varies_on_user:
            request.user = user  # the fragment varies on them
        elif user is not None:
            for name in names:
                shown[name] = watch.user() if name == "user" else PermWrapper(watch.user())
            for wrapper in wrappers:
                stack.enter_context(_replaced(vars(wrapper), "_user", watch.user()))
        for told, silent in _told(request, wrappers):
            stack.enter_context(telling(told, lambda name: watch.note_fact(f"request {name}"), silent=silent))
        stack.enter_context(context.push(**shown))
        yield watch


def _names_of_user(context: Context, user: Any) -> list[str]:
    """Return the names under which a context has who is logged in; a loop may have another user there."""
    found = {"user": context.get("user"), "perms": getattr(context.get("perms"), "user", None)}
    return [
        name
        for name, value in found.items()
        if value is user or (value is not None and behind(value) == behind(user))
    ]


def _within(request: Any) -> Any:
    """Return the request that a wrapper has, as Django REST framework's `Request` does; None of any other."""
    return getattr(request, "__dict__", {}).get("_request")


def _bare(request: Any) -> Any:
    within = _within(request)
    return request if within is None else within


def _told(request: HttpRequest, wrappers: Sequence[Any]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Return the objects of which each attribute that is read is a look, and those of which it is none."""
    told = {id(each): (each, _SILENT) for each in (request, *wrappers)}
    match = vars(request).get("resolver_match")
    if match is not None:
        told[id(match)] = (match, _SILENT_OF_MATCH)
    yield from told.values()


def _shown(context: Context, request: HttpRequest, watch: Watch) -> dict[str, Any]:
    """Return what the context has of the request and may have been looked at before, so that it tells again."""
    facts = {"csrf_token": CSRF}
    if (messages := vars(request).get("_messages")) is not None and context.get("messages") is messages:
        facts["messages"] = "message"

    def told(name: str) -> Any:
        value = context[name]

        def look() -> Any:
            watch.note_fact(facts[name])
            return behind(value)

        return SimpleLazyObject(look)

    return {name: told(name) for name in facts if name in context}


@contextmanager
def _replaced(values: dict[str, Any], name: str, value: Any) -> Iterator[None]:
    """Put another value in the place of one within the block, if there is one."""
    before = values.get(name)
    if before is not None:
        values[name] = value
    try:
        yield
    finally:
        if before is not None:
            values[name] = before


def _is_user(value: Any, user: Any) -> bool:
    if value != "nobody" and not hasattr(value, "is_authenticated"):
        return False  # and nobody asks who is logged in
    found = behind(user)
    is_nobody = getattr(found, "is_anonymous", False) is True
    return value == "nobody" if is_nobody else value is found or value == found


def _refusal(looked: Looked) -> str:
    """Say why a fragment is not kept: whatever of the request it looks at, it does not vary on."""
    for fact in sorted(looked.facts):
        return fact
    for variation in sorted(looked.variations):
        return variation.replace(":", " ")
    return ""

"""The tag `perfcache`: a part of a page, kept on the same terms."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.test import RequestFactory
from django.urls import ResolverMatch
from django.utils import timezone, translation

from perfkit.caching import invalidate
from perfkit.caching.store import current_store
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


class Shown:
    """Something that counts how often it is shown."""

    def __init__(self, text: str = "a text") -> None:
        self.text = text
        self.times = 0

    def __str__(self) -> str:
        self.times += 1
        return self.text


def render(source: str, request: HttpRequest | None = None, **context: Any) -> str:
    template = engines["django"].from_string("{% load perfkit tz l10n %}" + source)
    return str(template.render(context, request))


def test_a_fragment_is_rendered_once_and_again_after_a_write(item: Item) -> None:
    source = (
        '{% perfcache 600 "items" %}{{ shown }}'
        "{% for item in items %}{{ item.name }}{% endfor %}{% endperfcache %}"
    )
    shown = Shown("")
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        for _ in range(2):
            assert render(source, items=Item.plain.all(), shown=shown) == name
    assert shown.times == 2


def test_it_varies_on_its_arguments_and_on_their_types() -> None:
    shown = Shown()
    source = '{% perfcache 600 "a" one two %}{{ shown }}{% endperfcache %}'
    values = [
        (1, "1"),
        ("1", 1),
        (True, None),
        (None, True),
        ("a", "b"),
        ("ab", ""),
        ([1], (1,)),
        ((1,), [1]),
    ]
    for _ in range(2):
        for one, two in values:
            render(source, one=one, two=two, shown=shown)
    assert shown.times == len(values)
    render(source.replace('"a"', '"b"'), one=1, two="1", shown=shown)
    assert shown.times == len(values) + 1


def test_an_instance_among_its_arguments_is_its_row(item: Item) -> None:
    source = '{% perfcache 600 "item" item %}{{ item.name }}{% endperfcache %}'
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        assert render(source, item=Item.plain.get(pk=item.pk)) == name


def test_an_instance_that_was_loaded_before_a_write_shows_its_row_to_nobody_else(item: Item) -> None:
    source = '{% perfcache 600 "item" item %}{{ item.name }}{% endperfcache %}'
    early = Item.plain.get(pk=item.pk)
    Item.plain.filter(pk=item.pk).update(name="new")
    assert render(source, item=early) == "old"
    assert render(source, item=Item.plain.get(pk=item.pk)) == "new"


def test_it_goes_by_its_tags_and_its_name() -> None:
    shown = Shown()
    source = '{% perfcache 600 "a" tags="one, two" %}{{ shown }}{% endperfcache %}'
    for _ in range(2):
        render(source, shown=shown)
    for arguments in ({"tags": ["two"]}, {}):
        invalidate(*([] if arguments else ["fragment:a:*"]), **arguments)
        for _ in range(2):
            render(source, shown=shown)
    assert shown.times == 3


def test_each_language_and_time_zone_and_way_of_escaping_has_its_own() -> None:
    source = '{% perfcache 600 "a" %}{{ shown }}{% endperfcache %}'
    shown = Shown("<b>")
    for _ in range(2):
        for language in ("de", "fr"):
            with translation.override(language):
                assert render(source, shown=shown) == "&lt;b&gt;"
        with timezone.override("Europe/Berlin"):
            assert render(source, shown=shown) == "&lt;b&gt;"
        assert render("{% autoescape off %}" + source + "{% endautoescape %}", shown=shown) == "<b>"
        assert render("{% localize off %}" + source + "{% endlocalize %}", shown=shown) == "&lt;b&gt;"
    assert shown.times == 5


def test_what_comes_back_is_safe_and_not_escaped_again() -> None:
    source = '{% filter upper %}{% perfcache 600 "a" %}<b>{{ shown }}</b>{% endperfcache %}{% endfilter %}'
    for _ in range(2):
        assert render(source, shown="x & y") == "<B>X &AMP; Y</B>"
    template = engines["django"].from_string('{% load perfkit %}{% perfcache 9 "b" %}<b>{% endperfcache %}')
    nodes = [node for node in template.template.nodelist if hasattr(node, "nodelist")]
    for _ in range(2):
        assert hasattr(nodes[0].render(Context()), "__html__")


def test_fragments_within_fragments_go_with_what_the_inner_one_reads(item: Item) -> None:
    source = (
        '{% perfcache 600 "outer" %}({% perfcache 600 "inner" %}'
        "{% for item in items %}{{ item.name }}{% endfor %}{% endperfcache %}){% endperfcache %}"
    )
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        for _ in range(2):
            assert render(source, items=Item.plain.all()) == f"({name})"
    current_store().clear()  # type: ignore[union-attr]
    assert render(source, items=Item.plain.all()) == "(new)"


def test_an_error_in_it_is_raised_and_not_kept() -> None:
    source = '{% perfcache 600 "a" %}{% include name %}{% endperfcache %}'
    for _ in range(2):
        with pytest.raises(Exception, match="nowhere"):
            render(source, name="nowhere.html")


def asked_by(user: Any, **headers: str) -> HttpRequest:
    request = RequestFactory().get("/", headers=headers)
    request.user = user
    return request


@pytest.mark.parametrize(
    "looked", ["{{ user.username }}", "{{ request.user.username }}", "{% if perms.auth.x %}{% endif %}"]
)
def test_what_shows_the_user_is_not_kept_unless_it_varies_on_them(
    looked: str, settings: LazySettings
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": ["auth.User"]}
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob")
    shown = Shown("")
    source = '{% perfcache 600 "a" %}{{ shown }}' + looked + "{% endperfcache %}"
    for _ in range(2):
        for user in (ann, AnonymousUser(), bob):
            name = user.get_username() if "username" in looked else ""
            assert render(source, asked_by(user), shown=shown) == name
    assert shown.times == 6
    source = source.replace('"a"', '"a" user.pk user')
    for _ in range(2):
        for user in (ann, AnonymousUser(), bob):
            name = user.get_username() if "username" in looked else ""
            assert render(source, asked_by(user), shown=shown) == name
    assert shown.times == 6 + 3


@pytest.mark.parametrize(
    "looked",
    [
        "{{ request.COOKIES.theme }}",
        "{{ request.META.HTTP_USER_AGENT }}",
        "{% csrf_token %}",
        "{{ request.headers.accept }}",
    ],
)
def test_what_looks_at_the_request_is_not_kept(looked: str) -> None:
    shown = Shown("")
    source = '{% perfcache 600 "a" %}{{ shown }}' + looked + "{% endperfcache %}"
    for _ in range(2):
        request = asked_by(AnonymousUser())
        render(source, request, shown=shown)
        assert type(request.META) is dict
        get_token(request)
    assert shown.times == 2


ASKED = {
    "{{ request.path }}": ("/a", "/b"),
    "{{ request.path_info }}": ("/a", "/b"),
    "{{ request.get_full_path }}": ("/a?q=one", "/b?q=two"),
    "{{ request.build_absolute_uri }}": ("http://one.example/a?q=one", "https://two.example/b?q=two"),
    "{{ request.GET.q }}": ("one", "two"),
    "{{ request.META.QUERY_STRING }}": ("q=one", "q=two"),
    "{{ request.META.PATH_INFO }}": ("/a", "/b"),
    "{{ request.get_host }}": ("one.example", "two.example"),
    "{{ request.META.SERVER_PORT }}": ("80", "443"),
    "{{ request.scheme }}": ("http", "https"),
    "{{ request.headers.authorization }}": ("A", "B"),
    "{{ request.META.HTTP_AUTHORIZATION }}": ("A", "B"),
    "{{ request.tenant }}": ("", "two"),
    "{{ request.resolver_match.url_name }}": ("first", "second"),
}


@pytest.mark.parametrize("looked", ASKED)
@pytest.mark.parametrize("is_by_hand", [False, True])
def test_a_fragment_that_looks_at_the_address_or_a_credential_shows_that_of_nobody_else(
    looked: str, settings: LazySettings, *, is_by_hand: bool
) -> None:
    settings.ALLOWED_HOSTS = ["one.example", "two.example"]
    shown = Shown("")
    source = '{% load perfkit %}{% perfcache 600 "p" %}{{ shown }}' + looked + "{% endperfcache %}"
    template = engines["django"].from_string(source)
    for path, secure, host, token in (
        ("/a?q=one", False, "one.example", "A"),
        ("/b?q=two", True, "two.example", "B"),
    ):
        request = RequestFactory().get(path, secure=secure, headers={"Host": host, "Authorization": token})
        request.resolver_match = ResolverMatch(render, (), {}, url_name="second" if secure else "first")
        kind = type(request)
        if secure:
            request.tenant = "two"  # type: ignore[attr-defined]
        context = {"shown": shown, **({"request": request} if is_by_hand else {})}
        assert template.render(context, None if is_by_hand else request) == ASKED[looked][secure]
        assert type(request) is kind
        assert type(request.resolver_match) is ResolverMatch
        assert not [name for name in vars(request) if name.startswith("_perfkit")]
    assert shown.times == 2


@pytest.mark.parametrize("inner", ["{% url 'own' %}", "{{ request.LANGUAGE_CODE }}", "{% static 'x' %}"])
def test_what_asks_the_request_for_no_more_than_the_key_has_is_kept(inner: str) -> None:
    shown = Shown("")
    source = '{% load static %}{% perfcache 600 "a" %}{{ shown }}' + inner + "{% endperfcache %}"
    source = source.replace("'own'", "'pages:openapi-json'")
    for path in ("/a", "/b"):
        request = RequestFactory().get(path)
        request.LANGUAGE_CODE = "en-us"  # type: ignore[attr-defined]
        request.resolver_match = ResolverMatch(render, (), {})
        assert render(source, request, shown=shown) != ""
    assert shown.times == 1


class Wrapper:
    """A request around Django's, as Django REST framework has it."""

    def __init__(self, request: HttpRequest, user: Any) -> None:
        self._request = request
        self._user = self._request.user = user
        self.version = user.username

    @property
    def user(self) -> Any:
        return self._user

    @property
    def query_params(self) -> Any:
        return self._request.GET

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__getattribute__("_request"), name)


LOOKED_AT_THROUGH_A_WRAPPER = [
    "user.username",
    "request.user.username",
    "request.query_params.q",
    "request.GET.q",
    "request.version",
]


@pytest.mark.parametrize("looked", LOOKED_AT_THROUGH_A_WRAPPER)
def test_a_wrapper_of_the_request_is_seen_through(looked: str) -> None:
    users = [User.objects.create_user("ann"), User.objects.create_user("bob")]
    shown = Shown("")
    source = '{% perfcache 600 "w" %}{{ shown }}{{ ' + looked + " }}{% endperfcache %}"
    for user in users:
        request = Wrapper(RequestFactory().get(f"/?q={user.username}"), user)
        assert render(source, request, shown=shown) == user.username  # type: ignore[arg-type]
        assert type(request) is Wrapper
        assert request.user is request._request.user is user
    assert shown.times == 2


@pytest.mark.parametrize("processors", [["auth"], []])
def test_the_user_is_seen_where_the_context_has_no_request(processors: list[str]) -> None:
    engine = DjangoTemplates(
        {
            "NAME": "without",
            "DIRS": [],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    f"django.contrib.auth.context_processors.{each}" for each in processors
                ],
                "libraries": {"perfkit": "perfkit.templatetags.perfkit"},
            },
        }
    )
    source = '{% load perfkit %}{% perfcache 600 "nr" %}hi {{ user.username }}{% endperfcache %}'
    for user in (User.objects.create_user("ann"), User.objects.create_user("bob")):
        context = {} if processors else {"user": user}
        assert engine.from_string(source).render(context, asked_by(user)) == f"hi {user.username}"


def test_a_token_that_was_shown_before_it_is_not_kept_either() -> None:
    shown = Shown("")
    source = '{{ csrf_token|slice:":0" }}{% perfcache 600 "a" %}{{ shown }}{{ csrf_token }}{% endperfcache %}'
    tokens = {render(source, asked_by(AnonymousUser()), shown=shown) for _ in range(2)}
    assert shown.times == len(tokens) == 2


def test_a_fragment_within_another_hands_on_what_it_looks_at() -> None:
    source = (
        '{% perfcache 600 "outer" %}({% perfcache 600 "inner" %}{{ request.path }}{% endperfcache %})'
        "{% endperfcache %}"
    )
    assert [render(source, RequestFactory().get(path)) for path in ("/a", "/b")] == ["(/a)", "(/b)"]


def test_a_user_of_a_loop_is_shown_and_not_who_asks() -> None:
    users = [User.objects.create_user("ann"), User.objects.create_user("bob")]
    source = (
        '{% for user in users %}{% perfcache 600 "card" user.pk %}{{ user.username }} {% endperfcache %}'
        "{% endfor %}"
    )
    for _ in range(2):
        assert render(source, asked_by(users[0]), users=users) == "ann bob "


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% perfcache %}", "a time and a name"),
        ("{% perfcache 600 %}", "a time and a name"),
        ("{% perfcache 600 items %}", "in quotes"),
        ('{% perfcache 600 "" %}', "in quotes"),
        ('{% perfcache 0 "a" %}', "from 1"),
        ('{% perfcache -5 "a" %}', "from 1"),
        ('{% perfcache 600 "a" using="x" %}', "no option"),
        ('{% perfcache 600 "a" tags="x" y %}', "no option"),
        ('{% perfcache 600 "a" y|nofilter %}', "nofilter"),
    ],
)
def test_wrong_arguments_are_found_when_the_template_is_read(source: str, problem: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=problem):
        engines["django"].from_string("{% load perfkit %}" + source + "{% endperfcache %}")


def test_a_fragment_that_does_not_end_is_an_error() -> None:
    with pytest.raises(TemplateSyntaxError, match="endperfcache"):
        engines["django"].from_string('{% load perfkit %}{% perfcache 600 "a" %}')


@pytest.mark.parametrize(
    ("source", "context", "problem"),
    [
        ("{% perfcache ttl 'a' %}", {"ttl": "soon"}, "no number of seconds"),
        ("{% perfcache ttl 'a' %}", {"ttl": 0}, "from 1"),
        ("{% perfcache 9 'a' x.y %}", {"x": {"y": object()}}, "cannot vary on 'x.y'"),
        ("{% perfcache 9 'a' x %}", {"x": Item()}, "not saved"),
    ],
)
def test_wrong_values_are_told_by_name(source: str, context: dict[str, Any], problem: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=problem):
        render(source + "{% endperfcache %}", **context)


def test_it_lives_as_long_as_the_settings_say_where_it_does_not_say() -> None:
    shown = Shown()
    for _ in range(2):
        render('{% perfcache None "a" %}{{ shown }}{% endperfcache %}', shown=shown)
    assert shown.times == 1

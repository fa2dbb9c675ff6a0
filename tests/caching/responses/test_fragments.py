"""The tag `perfcache`: a part of a page, kept on the same terms."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context, TemplateSyntaxError, engines
from django.test import RequestFactory
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

"""The page of the cache in Django's admin: how well it serves, and a form that voids what depends on a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, gettext_lazy

from perfkit.admin.pages import url, url_name
from perfkit.caching import CacheStatistics, ReadStatistics, statistics
from perfkit.caching.control import Invalidation, cached_labels, invalidate, tags_named
from perfkit.errors import CacheUnreachableError, SettingsError, UsageError
from perfkit.models import Cache

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Cache]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin

WINDOWS: Final = {"hour": gettext_lazy("Last hour"), "day": gettext_lazy("Last 24 hours")}
SHOWN_REASONS: Final = 100

Key = Callable[[ReadStatistics], Any]
COLUMNS: Final[dict[str, tuple[Any, Key]]] = {
    "label": (gettext_lazy("Model or function"), lambda reads: reads.label.lower()),
    "hits": (gettext_lazy("Hits"), lambda reads: reads.hits),
    "misses": (gettext_lazy("Misses"), lambda reads: reads.misses),
    "rate": (gettext_lazy("Hit rate"), lambda reads: -1.0 if reads.hit_rate is None else reads.hit_rate),
    "bypasses": (gettext_lazy("Bypasses"), lambda reads: reads.bypassed),
}


class Heading(NamedTuple):
    """Of a column: its link sorts by it, the other way round where it is sorted by already."""

    text: str
    query: str
    direction: str
    is_number: bool


class InvalidateForm(forms.Form):
    """What is to be voided; valid data has its `tags`."""

    name = forms.CharField(
        label=gettext_lazy("Model or tag"),
        max_length=500,
        help_text=gettext_lazy("Such as shop.Product, tag:prices or key:shop.bestsellers."),
        widget=forms.TextInput(
            attrs={
                "list": "cached-models",
                "class": "vTextField",
                "autocomplete": "off",
                "spellcheck": "false",
            }
        ),
    )

    def clean_name(self) -> str:
        """Take the name of a model or a tag."""
        name: str = self.cleaned_data["name"]
        try:
            self.cleaned_data["tags"] = tags_named(name)
        except UsageError as error:
            raise forms.ValidationError(str(error)) from error
        return name


@admin.register(Cache)
class CacheAdmin(ModelAdmin):
    """The page, for staff with the permission `perfkit.view_cache`.

    Who has `perfkit.invalidate_cache` too may void; it is written into the admin's log.
    """

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the page and of its form; there are no rows to change."""
        guarded = self.admin_site.admin_view
        return [
            path("", guarded(self.changelist_view), name=url_name(self, "changelist")),
            path("invalidate/", guarded(self.invalidate_view), name=url_name(self, "invalidate")),
        ]

    def has_add_permission(self, *args: object) -> bool:
        """Return False: there are no rows."""
        return False

    def has_change_permission(self, *args: object) -> bool:
        """Return False likewise."""
        return False

    def has_delete_permission(self, *args: object) -> bool:
        """Return False likewise."""
        return False

    def has_invalidate_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may void what the cache holds."""
        return request.user.has_perm("perfkit.invalidate_cache")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._page(request, InvalidateForm(), **(extra_context or {}))

    def invalidate_view(self, request: HttpRequest) -> HttpResponse:
        """Void what was named, and show the page again."""
        if not (self.has_view_permission(request) and self.has_invalidate_permission(request)):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(url(self, "changelist"))
        form = InvalidateForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        name = form.cleaned_data["name"]
        try:
            told = invalidate(form.cleaned_data["tags"])
        except (CacheUnreachableError, SettingsError) as error:
            form.add_error(None, str(error))
            return self._page(request, form)
        self._log(request, name, told)
        self.message_user(request, _told(name, told), messages.SUCCESS if told.is_told else messages.WARNING)
        return HttpResponseRedirect(url(self, "changelist"))

    def _page(self, request: HttpRequest, form: InvalidateForm, **context: Any) -> HttpResponse:
        asked = request.GET
        window = asked["window"] if asked.get("window") in WINDOWS else "hour"
        found = statistics(window=window, counts_keys="keys" in asked)
        column, is_reversed = _order(asked.get("o", ""))
        rows = sorted(found.labels, key=COLUMNS[column][1], reverse=is_reversed) if column else found.labels
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "perfkit/admin/cache.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": gettext("Cache"),
                "form": form,
                "may_invalidate": self.has_invalidate_permission(request),
                "invalidate_url": url(self, "invalidate"),
                "models": cached_labels(),
                "found": found,
                "rows": rows,
                "headings": list(_headings(asked, column, is_reversed=is_reversed)),
                "reasons": _reasons(found)[:SHOWN_REASONS],
                "windows": [
                    (text, _query(asked, window=key), key == window) for key, text in WINDOWS.items()
                ],
                "keys_query": _query(asked, keys="1"),
                **context,
            },
        )

    def _log(self, request: HttpRequest, name: str, told: Invalidation) -> None:
        message = "Invalidated." if told.is_told else f"Invalidated by the outbox, for {told.problem}"
        LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]  # who is here has one
            content_type_id=ContentType.objects.get_for_model(Cache, for_concrete_model=False).pk,
            object_repr=name[:200],
            action_flag=CHANGE,
            change_message=message,
        )


def _told(name: str, told: Invalidation) -> str:
    if told.is_told:
        return gettext("Invalidated %(name)s: from now on a read asks the database first.") % {"name": name}
    return gettext(
        "The cache server does not answer. %(name)s waits in the database: every process finds it there within a "
        "second, before it trusts the cache again."
    ) % {"name": name}


def _order(asked: str) -> tuple[str, bool]:
    """Return the column to sort by, and whether the largest come first; no column where none of ours is named."""
    column = asked.removeprefix("-")
    return (column, asked.startswith("-")) if column in COLUMNS else ("", False)


def _headings(asked: QueryDict, column: str, *, is_reversed: bool) -> Iterator[Heading]:
    for name, (text, _) in COLUMNS.items():
        is_number = name != "label"
        is_sorted = name == column
        descends = not is_reversed if is_sorted else is_number  # numbers: the largest first
        direction = ("descending" if is_reversed else "ascending") if is_sorted else ""
        yield Heading(text, _query(asked, o=f"-{name}" if descends else name), direction, is_number)


def _reasons(found: CacheStatistics) -> list[tuple[str, str, int]]:
    """Return reason, model or function, and number of reads that went past the cache, the most first."""
    reasons = [
        (reason, each.label, number) for each in found.labels for reason, number in each.bypasses.items()
    ]
    return sorted(reasons, key=lambda row: (-row[2], row[0], row[1]))


def _query(asked: QueryDict, **changed: str) -> str:
    """Return the query of a link that changes one thing and keeps the others that this page knows."""
    kept = QueryDict(mutable=True)
    for name in ("window", "o", "keys"):
        if name in changed or name in asked:
            kept[name] = changed.get(name) or str(asked[name])
    return f"?{kept.urlencode()}"

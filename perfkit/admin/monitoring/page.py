"""The pages of what is measured: who may see them, and what staff may have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, gettext_lazy

from perfkit.admin.monitoring import details, drawings, tables, tiles
from perfkit.admin.monitoring.addresses import Addresses
from perfkit.admin.monitoring.explaining import plan_of
from perfkit.admin.monitoring.index_advice import open_advice
from perfkit.admin.monitoring.missing import missing_parts
from perfkit.admin.monitoring.reading import dead_letters, seen, store_figures, to_explain
from perfkit.admin.pages import url, url_name
from perfkit.caching.control import cached_labels
from perfkit.caching.warming.warmers import registered
from perfkit.conf import options
from perfkit.errors import NotExplainableError, PerfkitError
from perfkit.jobs.ready import warm_cache
from perfkit.models import Monitoring
from perfkit.monitoring.summary import RANGES, alerts, read_summary

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Monitoring]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin

VIEW_ADVICE: Final = "perfkit.view_indexadvice"
DEFAULT_RANGE: Final = "1h"
RANGE_NAMES: Final = {
    "15m": gettext_lazy("15 minutes"),
    "1h": gettext_lazy("1 hour"),
    "6h": gettext_lazy("6 hours"),
    "24h": gettext_lazy("24 hours"),
}
MIDDLEWARE: Final = frozenset({"perfkit.monitoring.metrics", "perfkit.monitoring.middleware.metrics"})


class WarmForm(forms.Form):
    """Which warmer is to run."""

    def __init__(self, names: Sequence[str], data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        choices = [(name, name) for name in names]
        self.fields["name"] = forms.ChoiceField(label=gettext("Warmer"), choices=choices)


@admin.register(Monitoring)
class MonitoringAdmin(ModelAdmin):
    """The pages, for staff with the permission `perfkit.view_monitoring`.

    Who has `perfkit.explain_monitoring` too may have statements explained, and who has `perfkit.warm_monitoring`
    may have the cache warmed; both are written into the admin's log.
    """

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages; there are no rows to change."""
        pages = {
            "": ("changelist", self.changelist_view),
            "view/": ("view", self.view_view),
            "statement/": ("statement", self.statement_view),
            "statement/explain/": ("explain", self.explain_view),
            "reads/": ("reads", self.reads_view),
            "reads/invalidate/": ("invalidate", self.invalidate_view),
            "task/": ("task", self.task_view),
            "warm/": ("warm", self.warm_view),
        }
        guarded = self.admin_site.admin_view
        return [path(at, guarded(view), name=url_name(self, name)) for at, (name, view) in pages.items()]

    def has_add_permission(self, *args: object) -> bool:
        """Return False: there are no rows."""
        return False

    def has_change_permission(self, *args: object) -> bool:
        """Return False likewise."""
        return False

    def has_delete_permission(self, *args: object) -> bool:
        """Return False likewise."""
        return False

    def has_explain_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may have statements explained."""
        return request.user.has_perm("perfkit.explain_monitoring")

    def has_warm_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may have the cache warmed."""
        return request.user.has_perm("perfkit.warm_monitoring")

    def has_invalidate_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may void what the cache holds, on its own page."""
        return request.user.has_perms(["perfkit.view_cache", "perfkit.invalidate_cache"])

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the overview.

        Queries: two, besides those for the person; five round trips to the cache server.
        """
        self._admit(request)
        to = self._addresses(request)
        since = _range(request.GET)
        summary = read_summary(since, has_points=True, tells_first=False)
        found = tables.overview(
            summary,
            to.links,
            dead=dead_letters(),
            advice=open_advice(to.of_advice) if request.user.has_perm(VIEW_ADVICE) else None,
            store=None if summary.problem and not summary.is_shared else store_figures(),
            shows_all="all" in request.GET,
        )
        is_empty = not (summary.requests.timing.count or summary.queries.timing.count or summary.tasks)
        return self._page(
            request,
            "perfkit/admin/monitoring.html",
            {
                "title": gettext("Monitoring"),
                "summary": summary,
                "warnings": tables.warnings(alerts(summary)),
                "tiles": [] if is_empty else tiles.of_all(summary),
                "charts": drawings.of_points(summary.points),
                "tables": found,
                "missing": missing_parts({table.name for table in found}),
                "is_empty": is_empty,
                "is_measured": options.METRICS_ENABLED,
                "has_middleware": bool(MIDDLEWARE & set(settings.MIDDLEWARE)),
                "ranges": _ranges(since, {}),
                "all_query": f"?{urlencode({'since': since, 'all': 1})}",
                "actions": self._warming(request),
                **(extra_context or {}),
            },
        )

    def view_view(self, request: HttpRequest) -> HttpResponse:
        """Show one view."""
        self._admit(request)
        asked, to = request.GET, self._addresses(request)
        found = details.of_view(asked.get("method", ""), asked.get("view", ""), _range(asked), to)
        return self._detail(request, found)

    def statement_view(self, request: HttpRequest) -> HttpResponse:
        """Show one statement."""
        self._admit(request)
        return self._statement(request, request.GET)

    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whether a statement is to be explained, and explain it once that is confirmed.

        See Note [Text that somebody else may have written] in `explaining`.
        """
        self._admit(request, may=self.has_explain_permission(request))
        asked = request.POST if request.method == "POST" else request.GET
        alias, fingerprint = asked.get("alias", ""), asked.get("fingerprint", "")
        note, problem = seen(fingerprint)
        statement, why = to_explain(note, alias, fingerprint)
        if statement is None:
            return self._statement(request, asked, problem=problem or why)
        query = {"alias": alias, "fingerprint": fingerprint}
        if request.method != "POST":
            return self._confirm(
                request,
                title=gettext("Explain a statement"),
                question=gettext(
                    "Shall the database be asked how it would run this statement? It is not run, and nothing "
                    "changes."
                ),
                code=statement.sql,
                action=url(self, "explain"),
                hidden=query,
                button=gettext("Explain"),
                back=self._addresses(request).of_statement(alias, fingerprint),
            )
        try:
            plan = plan_of(statement, alias)
        except NotExplainableError as error:
            return self._statement(request, asked, problem=str(error))
        self._log(request, fingerprint, "Explained.")
        return self._statement(request, asked, plan="\n".join(plan), plan_notes=statement.notes)

    def reads_view(self, request: HttpRequest) -> HttpResponse:
        """Show the cached reads of one model or function."""
        self._admit(request)
        label, to = request.GET.get("label", ""), self._addresses(request)
        actions = self._warming(request)
        if label in cached_labels() and self.has_invalidate_permission(request):
            actions.append((gettext("Invalidate"), to.page("invalidate", label=label)))
        if request.user.has_perm("perfkit.view_cache"):
            actions.append((gettext("The page of the cache"), to.other("perfkit_cache_changelist")))
        return self._detail(request, {**details.of_reads(label, _range(request.GET)), "actions": actions})

    def invalidate_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whether a model is to be voided; the page of the cache does it."""
        self._admit(request, may=self.has_invalidate_permission(request))
        label, to = request.GET.get("label", ""), self._addresses(request)
        return self._confirm(
            request,
            title=gettext("Invalidate"),
            question=gettext("Shall all that is cached of this model be voided, for every process?"),
            code=label,
            action=to.other("perfkit_cache_invalidate"),
            hidden={"name": label},
            button=gettext("Invalidate"),
            back=to.page("reads", label=label),
        )

    def task_view(self, request: HttpRequest) -> HttpResponse:
        """Show one task or job."""
        self._admit(request)
        asked, to = request.GET, self._addresses(request)
        return self._detail(
            request, details.of_task(asked.get("name", ""), asked.get("queue", ""), _range(asked), to)
        )

    def warm_view(self, request: HttpRequest) -> HttpResponse:
        """Ask which warmer is to run, and leave it to a worker once that is confirmed."""
        self._admit(request, may=self.has_warm_permission(request))
        names = registered()
        form = WarmForm(names, request.POST if request.method == "POST" else None)
        if form.is_valid():
            name = form.cleaned_data["name"]
            try:
                status = warm_cache.enqueue([name])
            except PerfkitError as error:
                form.add_error(None, str(error))
            else:
                self._log(request, name, f"Warmed, by the job {status.id}.")
                text = gettext("The warmer %(name)s is left to a worker, as job %(id)s.")
                self.message_user(request, text % {"name": name, "id": status.id}, messages.SUCCESS)
                return HttpResponseRedirect(url(self, "changelist"))
        question = gettext(
            "Which warmer shall run? It stores what it wants and the cache does not have; what holds is left "
            "alone."
        )
        nothing = gettext("No warmers are registered (an app registers them in its module warmers).")
        return self._confirm(
            request,
            title=gettext("Warm the cache"),
            question=question if names else nothing,
            form=form if names else None,
            action=url(self, "warm") if names else "",
            button=gettext("Warm"),
            back=url(self, "changelist"),
        )

    def _statement(self, request: HttpRequest, asked: Mapping[str, str], **known: Any) -> HttpResponse:
        found = details.of_statement(
            asked.get("alias", ""),
            asked.get("fingerprint", ""),
            _range(asked),
            self._addresses(request),
            may_explain=self.has_explain_permission(request),
        )
        return self._detail(request, {**found, **known})

    def _detail(self, request: HttpRequest, found: dict[str, Any]) -> HttpResponse:
        since = _range(request.GET)
        shown = {
            "ranges": _ranges(since, found["query"]),
            "tables": [table for table in found["tables"] if table.rows],
            "actions": [action for action in found.get("actions", []) if action[1]],
            "overview_url": self._addresses(request).page("changelist"),
            # An address of the range, and not of what was asked for by POST.
            "here": url(self, "statement") if request.method == "POST" else "",
        }
        return self._page(request, "perfkit/admin/monitoring_detail.html", {**found, **shown})

    def _confirm(self, request: HttpRequest, **context: Any) -> HttpResponse:
        context["overview_url"] = url(self, "changelist")
        return self._page(request, "perfkit/admin/monitoring_confirm.html", context)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), "opts": self.opts, **context}
        )

    def _admit(self, request: HttpRequest, *, may: bool = True) -> None:
        if not (self.has_view_permission(request) and may):
            raise PermissionDenied

    def _warming(self, request: HttpRequest) -> list[tuple[str, str]]:
        may_warm = self.has_warm_permission(request) and registered()
        return [(gettext("Warm the cache"), url(self, "warm"))] if may_warm else []

    def _addresses(self, request: HttpRequest) -> Addresses:
        return Addresses(self, request, _range(request.GET))

    def _log(self, request: HttpRequest, what: str, message: str) -> None:
        LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]  # who is here has one
            content_type_id=ContentType.objects.get_for_model(Monitoring, for_concrete_model=False).pk,
            object_repr=what[:200],
            action_flag=CHANGE,
            change_message=message,
        )


def _range(asked: Mapping[str, str]) -> str:
    since = asked.get("since", "")
    return since if since in RANGES else DEFAULT_RANGE


def _ranges(since: str, query: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Return text, query and whether it is the chosen one, of each range."""
    return [
        (str(text), f"?{urlencode({**query, 'since': name})}", name == since)
        for name, text in RANGE_NAMES.items()
    ]

"""The page of index advice in Django's admin: what was found, what speaks for it, and what staff decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, gettext_lazy

from perfkit.admin.pages import url, url_name
from perfkit.errors import AdviceDecisionError
from perfkit.indexing.advisor.keeping import FOLLOWED, accept, dismiss
from perfkit.models import AdviceState, IndexAdvice

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[IndexAdvice]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin

MAY_BE_EMPTY: Final = ("by_hand", "kept_by", "migration", "note", "applied_at")
LONGEST_REASON: Final = 1_000
ENDED: Final = (AdviceState.APPLIED, AdviceState.DISMISSED, AdviceState.GONE)
"""States in which nobody has anything to do, in the order in which they are listed after the others."""


class ReasonForm(forms.Form):
    """Why an advice is dismissed."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
    )


@admin.register(IndexAdvice)
class IndexAdviceAdmin(ModelAdmin):
    """The list of advice and the page of each, for staff with the permission `perfkit.view_indexadvice`.

    Nothing can be added or edited. Who has `perfkit.decide_indexadvice` too may accept and dismiss;
    both are confirmed first, and written into the admin's log.
    """

    change_form_template = "perfkit/admin/advice_change.html"
    list_display = ("index_name", "what", "place", "state", "shown_gain", "shown_size", "last_seen_at")
    list_filter = ("state", "kind", "alias")
    search_fields = ("index_name", "table", "model_label")
    ordering = (
        Case(*(When(state=state, then=place) for place, state in enumerate(ENDED, 1)), default=Value(0)),
        "-gain",
        "index_name",
    )
    list_per_page = 50
    fields = (
        "what",
        "place",
        "alias",
        "state",
        "reason",
        "shown_statement",
        "shown_line",
        "by_hand",
        "shown_gain",
        "shown_size",
        "shown_writes",
        "confidence",
        "kept_by",
        "migration",
        "decided",
        "note",
        "first_seen_at",
        "last_seen_at",
        "applied_at",
        "shown_outcome",
        "shown_evidence",
    )
    readonly_fields = fields

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["perfkit/admin/advice.css"]}

    def get_fields(self, request: HttpRequest, obj: IndexAdvice | None = None) -> tuple[str, ...]:
        """Return the fields of one, without those that have nothing to say."""
        empty = {name for name in MAY_BE_EMPTY if not getattr(obj, name, None)}
        return tuple(name for name in self.fields if name not in empty)

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with those of what is decided."""
        guarded = self.admin_site.admin_view
        own = [
            path("<pk>/accept/", guarded(self.accept_view), name=url_name(self, "accept")),
            path("<pk>/dismiss/", guarded(self.dismiss_view), name=url_name(self, "dismiss")),
        ]
        return own + super().get_urls()

    def has_add_permission(self, *args: object) -> bool:
        """Return False: the advisor finds them."""
        return False

    def has_change_permission(self, *args: object) -> bool:
        """Return False: what was found stays as it is."""
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may accept and dismiss."""
        return self.has_view_permission(request) and request.user.has_perm("perfkit.decide_indexadvice")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one, with what may be decided of it."""
        row = self.get_object(request, object_id)
        decisions = []
        if row is not None and self.has_decide_permission(request):
            if row.state in {AdviceState.OPEN, AdviceState.DISMISSED}:
                decisions.append((gettext("Accept"), url(self, "accept", row.pk)))
            if row.state in FOLLOWED:
                decisions.append((gettext("Dismiss"), url(self, "dismiss", row.pk)))
        return super().change_view(
            request, object_id, form_url, {"decisions": decisions, **(extra_context or {})}
        )

    def accept_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Ask whether an advice is accepted, and accept it once that is confirmed."""
        question = gettext("Shall this be accepted? Nothing is built or dropped: a migration does that.")
        return self._decide(
            request,
            pk,
            title=gettext("Accept"),
            question=question,
            decide=lambda row, _: accept(row.pk, request.user.get_username()),
        )

    def dismiss_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Ask why an advice is dismissed, and dismiss it."""
        question = gettext("Why is this dismissed? It is not shown as open again, however often it is found.")
        return self._decide(
            request,
            pk,
            title=gettext("Dismiss"),
            question=question,
            form=ReasonForm(request.POST if request.method == "POST" else None),
            decide=lambda row, told: dismiss(row.pk, request.user.get_username(), told["reason"]),
        )

    def _decide(
        self,
        request: HttpRequest,
        pk: str,
        *,
        title: str,
        question: str,
        decide: Callable[[IndexAdvice, Mapping[str, Any]], None],
        form: ReasonForm | None = None,
    ) -> HttpResponse:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        row = self.get_object(request, pk)
        if row is None:
            raise Http404
        page = url(self, "change", row.pk)
        if request.method == "POST" and (form is None or form.is_valid()):
            told = form.cleaned_data if form is not None else {}
            try:
                decide(row, told)
            except AdviceDecisionError as error:
                self.message_user(request, str(error), messages.WARNING)
            else:
                self.log_change(request, row, f"{title}. {told.get('reason', '')}".strip())
                self.message_user(request, gettext("That is kept."), messages.SUCCESS)
            return HttpResponseRedirect(page)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "question": question,
            "row": row,
            "form": form,
            "page": page,
            "list": url(self, "changelist"),
            "media": self.media,
        }
        return TemplateResponse(request, "perfkit/admin/advice_confirm.html", context)

    @admin.display(description=gettext_lazy("what"), ordering="kind")
    def what(self, row: IndexAdvice) -> str:
        """Return what is to be done, and why in a word."""
        if row.is_addition:
            return gettext("add (%(kind)s)") % {"kind": row.kind}
        if row.kind in {"invalid", "bloated"}:
            return gettext("rebuild (%(kind)s)") % {"kind": row.kind}
        return gettext("drop (%(kind)s)") % {"kind": row.kind}

    @admin.display(description=gettext_lazy("model or table"), ordering="table")
    def place(self, row: IndexAdvice) -> str:
        """Return the model, or the table where no model has it."""
        return row.model_label or row.table

    @admin.display(description=gettext_lazy("gain"), ordering="gain")
    def shown_gain(self, row: IndexAdvice) -> str:
        """Return the part of the workload's cost that it saves."""
        return f"{row.gain:.1%}" if row.gain else "-"

    @admin.display(description=gettext_lazy("size"), ordering="size_bytes")
    def shown_size(self, row: IndexAdvice) -> str:
        """Return how large it is, or would be."""
        return "-" if row.size_bytes is None else filesizeformat(row.size_bytes)

    @admin.display(description=gettext_lazy("a written row takes"))
    def shown_writes(self, row: IndexAdvice) -> str:
        """Return how much longer a written row takes."""
        return "-" if row.write_cost is None else f"{row.write_cost:+.1%}"

    @admin.display(description=gettext_lazy("decided by"))
    def decided(self, row: IndexAdvice) -> str:
        """Return who has decided, and when."""
        if row.decided_at is None:
            return "-"
        return f"{row.decided_by}, {row.decided_at:%Y-%m-%d %H:%M} UTC"

    @admin.display(description=gettext_lazy("statement"))
    def shown_statement(self, row: IndexAdvice) -> str:
        """Return what does it in the database."""
        return _part("code", name=gettext("Statement"), text=row.statement)

    @admin.display(description=gettext_lazy("line of Meta.indexes"))
    def shown_line(self, row: IndexAdvice) -> str:
        """Return the line to write, or to take out."""
        if not row.meta_line:
            return "-"
        note = gettext("To write in.") if row.is_addition else gettext("To take out.")
        return _part("code", name=gettext("Line of Meta.indexes"), text=row.meta_line, note=note)

    @admin.display(description=gettext_lazy("since it was applied"))
    def shown_outcome(self, row: IndexAdvice) -> str:
        """Return how long its shapes took before and take now."""
        after = row.outcome or {}
        rows = [
            (shape, f"{row.before[shape] * 1000:,.2f} ms", f"{seconds * 1000:,.2f} ms")
            for shape, seconds in after.items()
            if shape in row.before
        ]
        return _part("outcome", rows=rows) if rows else "-"

    @admin.display(description=gettext_lazy("evidence"))
    def shown_evidence(self, row: IndexAdvice) -> str:
        """Return what it does for each shape."""
        return _part("evidence", effects=row.evidence) if row.evidence else "-"


def _part(template: str, **context: Any) -> str:
    return render_to_string(f"perfkit/admin/advice_{template}.html", context)

"""The page of jobs in Django's admin: where each stands, and what staff may do to them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from perfkit.admin.large_tables import LargeTableAdmin
from perfkit.admin.monitoring.missing import no_sending
from perfkit.errors import PerfkitError, SettingsError
from perfkit.jobs.backends import current_backend
from perfkit.jobs.control import all_jobs, cancel_job, replay_job
from perfkit.jobs.lists import arguments_of, waited_seconds
from perfkit.jobs.status import status_of
from perfkit.models import Job, JobState

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Job]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin

SHOWN_PROBLEMS: Final = 5
ENDED: Final = (JobState.DONE, JobState.DEAD, JobState.CANCELLED)


@admin.register(Job)
class JobAdmin(LargeTableAdmin, ModelAdmin):
    """The list of jobs and the page of one, for staff with the permission `perfkit.view_job`.

    Nothing can be added or edited. Who has `perfkit.replay_job` may queue dead and cancelled ones once more,
    who has `perfkit.cancel_job` may cancel, and who has `perfkit.delete_job` may remove those that have ended.
    """

    class Media:
        """What the pages look like."""

        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("perfkit/admin/jobs.css",)}

    list_display = ("name", "state", "queue", "progress", "runs", "waited", "enqueued_at")
    list_filter = ("state", "name", "queue")
    ordering = ("-enqueued_at",)
    list_per_page = 50
    actions = ("replay", "cancel", "purge")
    fields = (
        "id",
        "name",
        "state",
        "queue",
        "shown_arguments",
        "progress",
        "message",
        "left",
        "runs",
        "failures",
        "losses",
        "worker",
        "request_id",
        "is_cancel_wanted",
        "waited",
        "enqueued_at",
        "not_before",
        "started_at",
        "finished_at",
        "expires_at",
        "shown_error",
    )
    readonly_fields = fields

    def has_add_permission(self, *args: object) -> bool:
        """Return False: jobs are enqueued."""
        return False

    def has_change_permission(self, *args: object) -> bool:
        """Return False: a job is what was asked for."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Return False: what still runs is not to be removed. The action `purge` removes what has ended."""
        return False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may queue jobs once more."""
        return request.user.has_perm("perfkit.replay_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may cancel jobs."""
        return request.user.has_perm("perfkit.cancel_job")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may remove jobs that have ended."""
        return request.user.has_perm("perfkit.delete_job")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and why jobs wait where none can be sent."""
        try:
            current_backend()
        except SettingsError as error:
            self.message_user(request, no_sending(error), messages.WARNING)
        return super().changelist_view(request, extra_context)

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, row: Job) -> SafeString | str:
        """Return a bar that the browser draws by itself."""
        told = status_of(row).progress
        if told is None:
            return "-"
        return format_html(
            '<progress max="100" value="{}"></progress> {} %', str(told.percent), f"{told.percent:.0f}"
        )

    @admin.display(description=gettext_lazy("runs"), ordering="fence")
    def runs(self, row: Job) -> int:
        """Return how often it was begun."""
        return row.fence

    @admin.display(description=gettext_lazy("waited"))
    def waited(self, row: Job) -> str:
        """Return how long it has waited to begin."""
        return _span(waited_seconds(row, timezone.now()))

    @admin.display(description=gettext_lazy("time left"))
    def left(self, row: Job) -> str:
        """Return how long the rest will take."""
        told = status_of(row).progress
        return _span(None if told is None else told.eta_seconds)

    @admin.display(description=gettext_lazy("arguments"))
    def shown_arguments(self, row: Job) -> str:
        """Return the values that may be shown, and of others the type."""
        return ", ".join(f"{name}={text}" for name, text in arguments_of(row).items()) or "-"

    @admin.display(description=gettext_lazy("error"))
    def shown_error(self, row: Job) -> SafeString | str:
        """Return what it failed with last, line by line."""
        return format_html("<pre>{}</pre>", row.error) if row.error else "-"

    @admin.action(description=gettext_lazy("Queue once more"), permissions=["replay"])
    def replay(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        """Queue dead and cancelled ones once more."""
        self._do(request, chosen, replay_job)

    @admin.action(description=gettext_lazy("Cancel"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        """Have those that wait or run stop."""
        self._do(request, chosen, cancel_job)

    @admin.action(description=gettext_lazy("Remove those that have ended"), permissions=["purge"])
    def purge(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        """Remove those that have ended, whether or not their results are still kept."""
        pks = list(chosen.order_by().values_list("pk", flat=True))
        number = all_jobs().filter(pk__in=pks, state__in=ENDED).delete()[0]
        left = len(pks) - number
        self.message_user(request, gettext("%(number)d removed.") % {"number": number})
        if left:
            text = gettext("%(number)d were left alone: they have not ended.") % {"number": left}
            self.message_user(request, text, messages.WARNING)

    def _do(self, request: HttpRequest, chosen: QuerySet[Job], act: Callable[[Any], Any]) -> None:
        number, problems = 0, []
        for pk in list(chosen.order_by().values_list("pk", flat=True)):
            try:
                act(pk)
            except PerfkitError as error:  # one that cannot be keeps no other one back
                problems.append(str(error))
            else:
                number += 1
        if number:
            self.message_user(request, gettext("Done to %(number)d.") % {"number": number})
        for problem in problems[:SHOWN_PROBLEMS]:
            self.message_user(request, problem, messages.WARNING)
        if len(problems) > SHOWN_PROBLEMS:
            more = gettext("And to %(number)d more it could not be done.") % {
                "number": len(problems) - SHOWN_PROBLEMS
            }
            self.message_user(request, more, messages.WARNING)


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else str(dt.timedelta(seconds=round(seconds)))

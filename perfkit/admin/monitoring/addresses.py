"""Where figures lead to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from perfkit.admin.monitoring.cells import Links
from perfkit.admin.pages import url
from perfkit.models import JobState
from perfkit.monitoring.figures import CacheFigures, QueryFigures, RequestFigures, TaskFigures


class Addresses:
    """The addresses of the pages and of what stands beside them, for one request.

    Args:
        since: The range that is looked at.
    """

    def __init__(self, model_admin: Any, request: HttpRequest, since: str) -> None:
        self._admin = model_admin
        self._request = request
        self._since = since

    def page(self, page: str, /, **query: str) -> str:
        """Return the address of one of our own pages."""
        address = url(self._admin, page)
        return f"{address}?{urlencode({**query, 'since': self._since})}"

    def of_view(self, method: str, view: str) -> str:
        """Return the address of the page of a view."""
        return self.page("view", method=method, view=view)

    def of_statement(self, alias: str, fingerprint: str) -> str:
        """Return the address of the page of a statement."""
        return self.page("statement", alias=alias, fingerprint=fingerprint)

    def jobs(self, **filters: str) -> str:
        """Return the address of the list of jobs, an empty text for who may not see it."""
        if not self._request.user.has_perm("perfkit.view_job"):
            return ""
        address = self.other("perfkit_job_changelist")
        return f"{address}?{urlencode(filters)}" if address else ""

    def dead(self, name: str) -> str:
        """Return the address of the dead letters of a job, likewise."""
        return self.jobs(name=name, state__exact=JobState.DEAD.value)

    def of_advice(self, key: str) -> str:
        """Return the address of an index advice."""
        return self.other("perfkit_indexadvice_change", key)

    def other(self, name: str, *args: str) -> str:
        """Return the address of another page of the admin, an empty text where it is not registered."""
        try:
            return reverse(f"admin:{name}", args=args, current_app=self._admin.admin_site.name)
        except NoReverseMatch:
            return ""

    @property
    def links(self) -> Links:
        """What the tables need."""

        def view(each: RequestFigures) -> str:
            return self.of_view(each.method, each.view)

        def statement(each: QueryFigures) -> str:
            return self.of_statement(each.alias, each.fingerprint)

        def reads(each: CacheFigures) -> str:
            return self.page("reads", label=each.label)

        def task(each: TaskFigures) -> str:
            return self.page("task", name=each.name, queue=each.queue)

        return Links(view, statement, reads, task, queue=lambda name: self.jobs(queue=name), dead=self.dead)

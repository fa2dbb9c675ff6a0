"""The demo's front page: what was measured on this machine, and where to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.views.generic import TemplateView

from project.policy import StrictPageMixin
from project.services import report_path


class HomeView(StrictPageMixin, TemplateView):
    """Shows the figures that `manage.py demo` has left, if it has run.

    Attributes:
        report: The file they are in; that of this clone where it is None.
    """

    template_name = "home.html"
    report: Path | None = None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the figures."""
        report = self.report or report_path()
        figures = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
        return {
            **super().get_context_data(**kwargs),
            "figures": figures,
        }

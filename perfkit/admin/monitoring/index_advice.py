"""What of the index advice is open, for the overview."""

from __future__ import annotations

from collections.abc import Callable

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from perfkit.admin.monitoring.cells import Cell, Heading, Table
from perfkit.models import AdviceState, IndexAdvice

SHOWN = 10


def open_advice(link: Callable[[str], str]) -> Table:
    """Return what the index advisor has found and nobody has decided, what saves most first.

    Args:
        link: Returns the address of one, by its key.

    Queries: 1.
    """
    rows = list(
        IndexAdvice.objects.filter(state=AdviceState.OPEN)
        .order_by("-gain", "index_name")
        .values_list("key", "index_name", "model_label", "table", "kind", "gain", "size_bytes")[: SHOWN + 1]
    )
    return Table(
        "index-advice",
        _("Open index advice, what saves most first"),
        (
            Heading(_("Index"), is_number=False),
            Heading(_("Kind")),
            Heading(_("Gain")),
            Heading(_("Size")),
        ),
        tuple(
            (
                Cell(name, link(key), (label or table,)),
                Cell(kind),
                Cell(f"{gain:.1%}" if gain else "-"),
                Cell("-" if size is None else filesizeformat(size)),
            )
            for key, name, label, table, kind, gain, size in rows[:SHOWN]
        ),
        _("Look at what speaks for each, and accept or dismiss it."),
    )

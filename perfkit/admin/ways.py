"""What may be done with the rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from perfkit.admin.columns import Fields, is_number

INSERT: Final = "insert"
UPDATE: Final = "update"
UPSERT: Final = "upsert"

Label: TypeAlias = str | Promise


@dataclass(frozen=True)
class Way:
    """One of the things that may be done with the rows of a file.

    Attributes:
        value: As the form has it.
        key: The names of the fields by which rows of the table are found.
    """

    value: str
    label: Label
    key: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`insert`, `update` or `upsert`."""
        return self.value.partition(":")[0]


def ways(
    model: type[models.Model],
    fields: Fields,
    keys: Sequence[tuple[str, ...]],
    *,
    may_add: bool,
    may_change: bool,
) -> list[Way]:
    """Return what somebody with these permissions may do."""
    offered = [Way(INSERT, _("Add all rows as new ones"))] if may_add else []
    for key in keys:
        if not may_change or not all(name in fields for name in key):
            continue
        names = {"names": ", ".join(str(fields[name].verbose_name) for name in key)}
        if is_number(model, key):
            offered.append(Way(UPDATE, gettext("Update the rows that have the same %(names)s") % names, key))
        elif may_add:
            label = gettext("Update the rows that have the same %(names)s, and add the others")
            offered.append(Way(f"{UPSERT}:{','.join(key)}", label % names, key))
    return offered

"""The two forms of an import: the file, and what its columns are."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django import forms
from django.template.defaultfilters import filesizeformat
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from perfkit.admin.columns import (
    MOST_COLUMNS,
    SEPARATORS,
    Fields,
    Lookups,
    delimiter_of,
    field_named,
    guesses,
    is_automatic,
    lookup_name,
    missing_names,
)
from perfkit.admin.ways import UPDATE, Label, Way
from perfkit.bulk.fields import ModelField
from perfkit.bulk.files import csv_head
from perfkit.conf import options
from perfkit.errors import UsageError

SHOWN_ROWS: Final = 3


class UploadForm(forms.Form):
    """Takes a CSV file of UTF-8 whose first line names the columns."""

    file = forms.FileField(label=_("CSV file"), help_text=_("UTF-8; its first line names the columns."))
    delimiter = forms.ChoiceField(
        label=_("Separator"),
        required=False,
        choices=[("", _("as in the first line")), *zip(SEPARATORS, (",", ";", _("tab"), "|"), strict=True)],
    )

    def clean_file(self) -> Any:
        """Refuse what is too large, before it is read."""
        file = self.cleaned_data["file"]
        if (file.size or 0) > options.IMPORT_MAX_BYTES:
            problem = gettext("The file is larger than %(size)s. Load it by manage.py bulk_load.")
            raise forms.ValidationError(problem % {"size": filesizeformat(options.IMPORT_MAX_BYTES)})
        return file

    def clean(self) -> dict[str, Any]:
        """Read the file, and add its `content`."""
        cleaned = super().clean() or {}
        if "file" not in cleaned or "delimiter" not in cleaned:
            return cleaned
        content = cleaned["content"] = cleaned["file"].read()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            problem = gettext("Line %(line)s is not UTF-8. Save the file as “CSV UTF-8”.") % {"line": line}
            raise forms.ValidationError({"file": problem}) from error
        cleaned["delimiter"] = cleaned["delimiter"] or delimiter_of(text.partition("\n")[0])
        self._check_head(text, cleaned["delimiter"])
        return cleaned

    @staticmethod
    def _check_head(text: str, delimiter: str) -> None:
        try:
            names, rows = csv_head(io.StringIO(text, newline=""), rows=SHOWN_ROWS, delimiter=delimiter)
        except UsageError as error:
            raise forms.ValidationError({"file": str(error)}) from error
        if not rows:
            raise forms.ValidationError({"file": gettext("The file has no rows below a line of names.")})
        if len(names) > MOST_COLUMNS:
            problem = gettext("The file has more than %(number)s columns.") % {"number": MOST_COLUMNS}
            raise forms.ValidationError({"file": problem})
        twice = next((name for name, times in Counter(filter(None, names)).items() if times > 1), None)
        if twice is not None:
            problem = gettext("Two columns have the same name: “%(name)s”.") % {"name": twice}
            raise forms.ValidationError({"file": problem})


class ColumnsForm(forms.Form):
    """Says what each column of the file is, and what is done with the rows.

    Args:
        names: Of the columns in the file; those without one are left out.
        rows: The cells of its first rows, to show.
        fields: What a column may be.
        lookups: By what else than their key relations may be given.
        offered: What may be done, at least one.
        initial: What was chosen before, in place of what is guessed.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        names: Sequence[str],
        rows: Sequence[Sequence[str]],
        fields: Fields,
        lookups: Lookups,
        offered: Sequence[Way],
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self._names = {place: name for place, name in enumerate(names) if name}
        self._rows = rows
        self._fields = fields
        self._ways = {way.value: way for way in offered}
        self._lookups = {
            lookup_name(fields[name], by): by for name, others in lookups.items() for by in others
        }
        choices: list[tuple[str, Label]] = [("", _("leave it out")), *_choices(fields, lookups)]
        guessed = guesses(names, fields, lookups)
        for place, name in self._names.items():
            self.fields[f"column_{place}"] = forms.ChoiceField(
                label=name, required=False, choices=choices, initial=guessed.get(name, "")
            )
        self.fields["way"] = forms.ChoiceField(
            label=_("What to do"),
            choices=[(way.value, way.label) for way in offered],
            initial=self._first_way(guessed.values()).value,
            widget=forms.RadioSelect,
        )
        self.fields["skips_bad_rows"] = forms.BooleanField(
            label=_("Leave out the rows that are refused, and write the others"), required=False
        )

    def _first_way(self, given: Any) -> Way:
        """Return the first of the ways by a key that the file seems to have, or the first of all."""
        names = set(map(field_named, given))
        by_key = [way for way in self._ways.values() if way.key and set(way.key) <= names]
        return next(iter(by_key or self._ways.values()))

    def columns(self) -> list[tuple[forms.BoundField, list[str]]]:
        """Return the field of each column, with the first cells of the file."""
        return [
            (self[f"column_{place}"], [row[place] for row in self._rows if place < len(row)])
            for place in self._names
        ]

    @property
    def way(self) -> Way:
        """What was chosen, once the form is valid."""
        return self._ways[self.cleaned_data["way"]]

    @property
    def field_names(self) -> dict[str, str]:
        """The field's name by the name in the file, empty for what is left out, once the form is valid."""
        return {"": ""} | {name: field_named(choice) for name, choice in self._chosen.items()}

    @property
    def lookups(self) -> dict[str, ModelField]:
        """The field by which a relation is given, by the relation's name, where that is not the key."""
        return {
            field_named(choice): self._lookups[choice]
            for choice in self._chosen.values()
            if choice in self._lookups
        }

    @property
    def _chosen(self) -> dict[str, str]:
        return {name: self.cleaned_data[f"column_{place}"] for place, name in self._names.items()}

    def clean(self) -> dict[str, Any]:
        """Refuse columns that do not fit each other, or what is to be done."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        given: list[str] = []
        for place in self._names:
            name = field_named(cleaned[f"column_{place}"])
            if name in given:
                problem = gettext("Another column is the %(field)s already.")
                self.add_error(f"column_{place}", problem % {"field": self._label(name)})
            elif name:
                given.append(name)
        if not given:
            raise forms.ValidationError(gettext("Say of at least one column what it is."))
        self._check_way(self._ways[cleaned["way"]], given)
        return cleaned

    def _check_way(self, way: Way, given: Sequence[str]) -> None:
        unkeyed = [name for name in way.key if name not in given]
        if unkeyed:
            problem = gettext("That needs a column for: %(names)s.")
            self.add_error("way", problem % {"names": self._labels(unkeyed)})
        if way.kind == UPDATE:
            if set(given) <= set(way.key):
                self.add_error("way", gettext("No column says what is to change."))
            return
        numbered = [name for name in given if is_automatic(self._fields[name])]
        if numbered:
            problem = gettext("New rows are numbered by the database: leave out the column of %(names)s.")
            self.add_error("way", problem % {"names": self._labels(numbered)})
        missing = missing_names(given, self._fields)
        if missing:
            problem = gettext("New rows need a column for: %(names)s.")
            self.add_error("way", problem % {"names": self._labels(missing)})

    def _labels(self, names: Sequence[str]) -> str:
        return ", ".join(map(self._label, names))

    def _label(self, name: str) -> str:
        return str(self._fields[name].verbose_name)


def _choices(fields: Fields, lookups: Lookups) -> Iterator[tuple[str, Label]]:
    """Yield what a column may be; a relation says by what it is given where there are several ways."""
    for name, field in fields.items():
        label = capfirst(str(field.verbose_name))
        others = lookups.get(name, ())
        if not others:
            yield name, label
            continue
        by_words = gettext("%(field)s, by %(key)s")
        target: ModelField = field.target_field  # type: ignore[attr-defined]  # a relation has one
        yield name, by_words % {"field": label, "key": target.verbose_name}
        for by in others:
            yield lookup_name(field, by), by_words % {"field": label, "key": by.verbose_name}

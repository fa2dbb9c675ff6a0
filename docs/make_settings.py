"""Writes docs/reference/settings.md from the table of options in `perfkit.conf`.

Run `python docs/make_settings.py` after a change of an option; a test compares the file with the table.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "settings.md"

INTRODUCTION: Final = """\
# Settings

<!-- Written by docs/make_settings.py from perfkit/conf.py: change the option there, then run it. -->

Every option is a key of one dict in Django's settings.
All have a default, so that a project without the dict is complete.

<!-- not run: belongs into settings.py -->
```python
PERFKIT = {
    "CACHE_DEFAULT_TTL": 600,
    "QUERY_SLOW_THRESHOLD": 0.2,
}
```

Options are read at each use, so `override_settings(PERFKIT={…})` works in tests.
`manage.py check --tag perfkit` names unknown keys and values that are not valid, see [](checks.md).
"""


def page() -> str:
    """Return the whole page as MyST Markdown."""
    from perfkit.conf import table

    return "\n".join([INTRODUCTION, *(section(option) for option in table().values())])


def section(option: Any) -> str:
    """Return the section of one option: what it does, then its type, default, unit and range."""
    facts = [f"Type: `{option.kind.__name__}`", f"Default: `{option.default!r}`"]
    if option.unit:
        facts.append(f"Unit: {option.unit}")
    if option.least is not None:
        facts.append(f"Least: {option.least}")
    if option.most is not None:
        facts.append(f"Most: {option.most}")
    if option.choices:
        facts.append(f"Choices: {', '.join(f'`{choice!r}`' for choice in option.choices)}")
    listed = "\n".join(f"- {fact}" for fact in facts)
    return f"## {option.name}\n\n{option.text}\n\n{listed}\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")

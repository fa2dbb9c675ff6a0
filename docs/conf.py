"""How Sphinx builds the documentation; needs no network and no database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from sphinx.util.inspect import signature, stringify_signature

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

settings.configure(
    INSTALLED_APPS=[
        "perfkit",
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
    ],
    USE_TZ=True,
)
django.setup()

project = "perfkit"
author = "The perfkit maintainers"
copyright = "the perfkit maintainers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "Thumbs.db", ".DS_Store"]
default_role = "code"  # the docstrings write `name`, as the pages do

html_theme = "furo"
html_title = "perfkit"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Queries", "Source"]

TREE = frozenset("├└│")


def draw_trees(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: PLR0917  # Sphinx decides
    """Keep a tree drawn in a docstring as it stands: its paragraph becomes a literal block."""
    start = 0
    for end in [*(number for number, line in enumerate(lines) if not line.strip()), len(lines)]:
        if any(TREE & set(line) for line in lines[start:end]):
            lines[start:end] = ["::", "", *(f"    {line}" for line in lines[start:end])]
            return
        start = end + 1


def keep_examples(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: PLR0917  # Sphinx decides
    """Show an example that is no doctest as code: the heading becomes the lead of a literal block."""
    for number, line in reversed(list(enumerate(lines[:-1]))):
        if line.strip() == "Example:" and not lines[number + 1].strip().startswith(">>>"):
            lines[number : number + 1] = [line + ":", ""]


def show_init(app: Any, what: str, name: str, obj: Any, options: Any, given: str, returned: str) -> Any:  # noqa: PLR0917  # Sphinx decides
    """Show what `__init__` takes where a class inherits a `__new__` that takes anything, as Django's do."""
    if what == "class" and given == "(*args, **kwargs)":
        return stringify_signature(
            signature(obj.__init__, bound_method=True), show_return_annotation=False
        ), None
    return None


def setup(app: Any) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("autodoc-process-signature", show_init)
    app.connect("autodoc-process-docstring", draw_trees, priority=100)  # before napoleon, which has 500
    app.connect("autodoc-process-docstring", keep_examples, priority=100)

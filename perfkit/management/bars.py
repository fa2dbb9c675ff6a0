"""Bars that show how far a command is."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import OutputWrapper


def bar_class(stderr: OutputWrapper, options: dict[str, Any]) -> Any:
    """Return tqdm's class of bars where somebody looks, else None; without tqdm say what to install.

    Args:
        stderr: Of the command.
        options: Of the command, `no_progress` among them.
    """
    if options["no_progress"] or options["verbosity"] == 0 or not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        stderr.write("Install django-perfkit[bulk] to see the progress.")
        return None
    return tqdm

"""The panel of django-debug-toolbar: what perfkit did in one request, and why.

`perfkit.monitoring.panel.PerfkitPanel` goes into `DEBUG_TOOLBAR_PANELS`.
`collecting` hears what happens, `redaction` leaves out what nobody should see, `summary` adds up, and `reasons`
says in words why a read went past the cache.
"""

from perfkit.monitoring.panel.panel import PerfkitPanel

__all__ = ["PerfkitPanel"]

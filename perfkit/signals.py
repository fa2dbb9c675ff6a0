"""What perfkit tells outward, so that one room need not know another.

`rows_written`
    Rows of a table are being written past Django's cursor (a COPY).
    Sent inside the writing transaction, once per call, when its first rows have reached the server.
    Sender: the model. Arguments: `using` (the alias), `operation` (`"insert"`),
    `pks` (the primary keys of existing rows that change, or None where they are not known).

`cache_read`
    A cached read was answered. Sender: the model. Arguments: `outcome` (`"hit"`, `"miss"`, `"bypass"`),
    `reason` (why it was bypassed, else an empty string).

`cache_outage`
    The cache server stopped answering, or answers again. Sender: the store's class.
    Arguments: `is_down`, `problem` (text).
"""

from __future__ import annotations

from django.dispatch import Signal

rows_written = Signal()
cache_read = Signal()
cache_outage = Signal()

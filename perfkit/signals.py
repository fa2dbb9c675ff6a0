"""What perfkit tells outward, so that one room need not know another.

`rows_written`
    Rows of a table are being written past Django's cursor (a COPY, a trigger).
    Send it inside the transaction that writes them; perfkit's own writes do so when their first rows are there.
    Sender: the model. Arguments: `using` (the alias), `operation` (`"insert"`, `"update"`, `"delete"`),
    `pks` (the primary keys of existing rows that change, or None where they are not known).

`cache_read`
    A cached read was answered. Sender: the model. Arguments: `outcome` (`"hit"`, `"miss"`, `"bypass"`),
    `reason` (why the database was asked and nothing stored, else an empty string).
    An answer that turns out not to be storable is told twice: as a miss, and as a bypass.

`cache_outage`
    The cache server stopped answering, or answers again. Sender: the store's class.
    Arguments: `is_down`, `problem` (text).
"""

from __future__ import annotations

from django.dispatch import Signal

rows_written = Signal()
cache_read = Signal()
cache_outage = Signal()

"""Notes which lines wait for a thread: async code sends its queries from threads that do not know it.

# Note [Lines that wait]
Django's async methods, and everything behind `sync_to_async`, run in a thread whose stack ends at its executor.
Who waits for the thread is on the stack when `sync_to_async(…)` is called, and at no other time.
So that call is noted in a context variable, which goes to the thread with the rest of the context.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from itertools import islice
from typing import Any, Final

from asgiref.sync import SyncToAsync

from perfkit.watching.awaited import AwaitedFrom, note_awaited_from
from perfkit.watching.callers import calls
from perfkit.watching.stack import Landmarks, path_here

MOST_CALLS: Final = 8
NOTHING: Final = Landmarks()


def follow_awaits(is_wanted: Callable[[], bool]) -> None:
    """Note from now on who waits for a thread, wherever `is_wanted()` is true at the call.

    See Note [Lines that wait]. Called once more, it does nothing.
    """
    original: Any = SyncToAsync.__call__
    if hasattr(original, "perfkit_follows"):
        return

    @wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        if is_wanted():
            frame = sys._getframe(1)  # noqa: SLF001  # inspect.stack() reads source files
            number = path_here(depth=2, landmarks=NOTHING).number
            note_awaited_from(AwaitedFrom(number, tuple(islice(calls(frame), MOST_CALLS))))
        coroutine: Coroutine[Any, Any, Any] = original(self, *args, **kwargs)
        return coroutine

    call.perfkit_follows = True  # type: ignore[attr-defined]
    SyncToAsync.__call__ = call  # type: ignore[method-assign]

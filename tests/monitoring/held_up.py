"""A thread that is held up between two steps of writing an event."""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.monitoring.journal import Segment
from perfkit.monitoring.recorder import Recorder


def hold_up(recorder: Recorder) -> Segment:
    """Have the next event be held up, once it has taken its place, until its segment is gone; return that."""
    segment = recorder.segment
    assert segment is not None
    places = segment.places

    def late() -> Iterator[int]:
        place = next(places)
        segment.places = places
        recorder.tell(is_last=True)  # which waits for no place
        yield place

    segment.places = late()
    return segment

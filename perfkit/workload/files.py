"""Workloads as files.

A file is one JSON object:

`format`
    `"perfkit-workload"`.
`version`
    1; a later one is refused.
`alias`
    Of the database, as in `DATABASES`.
`seconds`
    How long was listened, or null.
`is_redacted`
    Whether samples were left out.
`shapes`
    A list, the most expensive first; each has `fingerprint`, `calls`, `total_seconds`, and where known `samples`
    (whole statements with their values), `callers`, `sources` and `takings` (how often these samples were taken).
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from perfkit.errors import WorkloadFileError
from perfkit.workload.shapes import QueryShape, Workload

FORMAT: Final = "perfkit-workload"
VERSION: Final = 1
MOST_BYTES: Final = 256 * 1024 * 1024


class _Shape(msgspec.Struct):
    fingerprint: str
    calls: int
    total_seconds: float
    samples: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    takings: int = 0


class _Head(msgspec.Struct):
    format: str
    version: int


class _File(msgspec.Struct):
    format: str
    version: int
    alias: str
    seconds: float | None
    is_redacted: bool
    shapes: list[_Shape]


def save_workload(workload: Workload, path: str | os.PathLike[str], *, redact: bool = False) -> None:
    """Write a workload into a file that only this user may read.

    Args:
        redact: Leave out the samples, and with them all values.

    Raises:
        WorkloadFileError: The file cannot be written; what was there before still is.
    """
    target = Path(path)
    shapes = (
        [replace(shape, samples=(), takings=0) for shape in workload.shapes] if redact else workload.shapes
    )
    file = _File(
        FORMAT,
        VERSION,
        workload.alias,
        workload.seconds,
        redact,
        [
            _Shape(
                each.fingerprint,
                each.calls,
                each.total_seconds,
                each.samples,
                each.callers,
                each.sources,
                each.takings,
            )
            for each in shapes
        ],
    )
    content = msgspec.json.format(msgspec.json.encode(file), indent=1)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb", opener=_private) as written:  # Path.open has no opener
            written.write(content)
        unfinished.replace(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise WorkloadFileError(str(path), f"It cannot be written: {error.strerror}.") from error


def load_workload(path: str | os.PathLike[str]) -> Workload:
    """Return the workload in a file that `save_workload` has written.

    Raises:
        WorkloadFileError: It cannot be read, or is none that this version knows.
    """
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise WorkloadFileError(str(path), f"It is larger than {MOST_BYTES:,} bytes.")
        content = Path(path).read_bytes()
    except OSError as error:
        raise WorkloadFileError(str(path), f"It cannot be read: {error.strerror}.") from error
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.format != FORMAT:
            raise WorkloadFileError(str(path), "It is no workload that perfkit has exported.")
        if head.version != VERSION:
            raise WorkloadFileError(
                str(path),
                f"It has version {head.version} of the format; this perfkit reads version {VERSION}.",
            )
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # of a value only its type and place are told
        raise WorkloadFileError(
            str(path), f"It is no workload that perfkit has exported: {error}."
        ) from error
    for number, shape in enumerate(file.shapes):
        figures = shape.calls, shape.takings, shape.total_seconds
        if not shape.fingerprint or min(figures) < 0 or not shape.total_seconds < math.inf:
            raise WorkloadFileError(str(path), f"Shape {number} (from 0) has figures that cannot be.")
    return Workload(
        file.alias,
        tuple(
            QueryShape(
                each.fingerprint,
                each.calls,
                each.total_seconds,
                each.samples,
                each.callers,
                each.sources,
                each.takings,
            )
            for each in file.shapes
        ),
        file.seconds,
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_TRUNC, 0o600)

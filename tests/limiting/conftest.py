"""The fixtures of the limits over HTTP, which are built on this room."""

from __future__ import annotations

from tests.api.limiting.conftest import cluster, local, server_url, watch

__all__ = ["cluster", "local", "server_url", "watch"]

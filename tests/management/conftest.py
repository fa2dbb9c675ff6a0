"""Fixtures of what is measured."""

from tests.monitoring.conftest import measured, measured_on_server, server  # noqa: F401

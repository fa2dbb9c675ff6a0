"""What stands between the processes and the database, where a test asks for it."""

from tests.plugins.pgbouncer import pgbouncer

__all__ = ["pgbouncer"]

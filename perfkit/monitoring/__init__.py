"""What people look at to see how fast the project is: the slow-query log."""

from perfkit.monitoring.slow_queries import install

__all__ = ["install"]

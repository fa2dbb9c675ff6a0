"""The pages of what is measured, in Django's admin: an overview, and one of each thing that it names."""

from perfkit.admin.monitoring.page import MonitoringAdmin

__all__ = ["MonitoringAdmin"]

"""The demo's API, mounted at /api/; its documentation is at /api/docs."""

from __future__ import annotations

from ninja import NinjaAPI
from ninja.security import django_auth

from perfkit.api import add_error_handlers, default_throttles, monitoring_router, task_status_router
from perfkit.tasks.status import read_status
from project.flights.api import router as flights_router
from project.flights.descriptions_api import router as descriptions_router
from project.flights.reports_api import router as reports_router
from project.pool_api import router as pool_router

api = NinjaAPI(
    title="Flights out of New York",
    version="1",
    description="One year of real flights, served by perfkit.",
    urls_namespace="api",
    auth=django_auth,  # what anybody may read says so itself
    throttle=default_throttles(),
)
add_error_handlers(api)
api.add_router("", flights_router)
api.add_router("", reports_router)
api.add_router("", descriptions_router)
api.add_router("", pool_router)
api.add_router("", task_status_router(read_status))
api.add_router("/perfkit", monitoring_router())

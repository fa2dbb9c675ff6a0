"""The page that Prometheus scrapes."""

from __future__ import annotations

import hmac
import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, multiprocess
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from perfkit.conf import options
from perfkit.monitoring.prometheus.collector import collector, is_registered

MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""Variables of prometheus_client's mode in which the processes of one machine write to files."""


@never_cache
@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Return perfkit's metrics and those of prometheus_client's registry, in the format that the client asks for.

    With `PERFKIT["METRICS_TOKEN"]` only who sends it as `Authorization: Bearer …`; others get a 401.
    With `PROMETHEUS_MULTIPROC_DIR` other metrics are those of all processes of the machine; perfkit's always are.
    """
    if not _may(request.headers.get("Authorization", "")):
        return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_registry()), content_type=content_type)


def _may(authorization: str) -> bool:
    token = options.METRICS_TOKEN
    kind, _, told = authorization.partition(" ")
    return not token or (
        kind.lower() == "bearer" and hmac.compare_digest(told.strip().encode(), token.encode())
    )


def _registry() -> CollectorRegistry:
    """Return what tells everything: in that mode the registry of this process knows a part only."""
    is_multiprocess = any(name in os.environ for name in MULTIPROCESS)
    if is_registered(REGISTRY) and not is_multiprocess:
        return REGISTRY
    whole = CollectorRegistry()
    if is_multiprocess:
        multiprocess.MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
    else:
        whole.register(REGISTRY)
    whole.register(collector)
    return whole

"""`python docs/make_dashboard.py`: writes the Grafana dashboard that perfkit brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).resolve().parent.parent / "perfkit" / "monitoring" / "files" / "dashboard.json"
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24
WIDTH: Final = 8
HEIGHT: Final = 7


class Panel(NamedTuple):
    """One chart: its title and unit, and an expression for each legend."""

    title: str
    unit: str
    expressions: dict[str, str]
    bound: float | None = None


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return the rate of a counter, summed: what several targets tell is the same."""
    labels = 'job=~"$job"' + (f", {where}" if where else "")
    inner = f"max without (instance, pod) (rate({metric}{{{labels}}}[$__rate_interval]))"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def now(metric: str, by: str = "", where: str = "") -> str:
    """Return a gauge, summed."""
    labels = 'job=~"$job"' + (f", {where}" if where else "")
    inner = f"max without (instance, pod) ({metric}{{{labels}}})"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', ', '.join(filter(None, ['le', by])))})"


REQUEST: Final = "perfkit_http_request_duration_seconds"
QUERY: Final = "perfkit_db_query_duration_seconds"
READS: Final = "perfkit_cache_reads_total"
ASKED: Final = 'outcome=~"hit|miss"'
MISSED: Final = 'outcome="miss"'
IN_USE: Final = 'state="in_use"'
FAILED: Final = 'status="5xx"'

ROWS: Final[dict[str, list[Panel]]] = {
    "Requests": [
        Panel("Requests", "reqps", {"{{status}}": rate("perfkit_http_requests_total", "status")}),
        Panel(
            "Duration of requests",
            "s",
            {
                "50 %": quantile(0.5, REQUEST),
                "95 %": quantile(0.95, REQUEST),
                "99 %": quantile(0.99, REQUEST),
            },
            bound=0.5,
        ),
        Panel("Slowest views, 95 %", "s", {"{{view}}": f"topk(10, {quantile(0.95, REQUEST, 'view')})"}),
        Panel(
            "Busiest views", "reqps", {"{{view}}": f"topk(10, {rate('perfkit_http_requests_total', 'view')})"}
        ),
        Panel("Requests under way", "short", {"requests": now("perfkit_http_requests_active")}),
        Panel(
            "Failed requests",
            "percentunit",
            {
                "5xx": f"{rate('perfkit_http_requests_total', where=FAILED)} / "
                f"{rate('perfkit_http_requests_total')}"
            },
        ),
    ],
    "Database": [
        Panel("Queries", "ops", {"{{verb}}": rate("perfkit_db_queries_total", "verb")}),
        Panel(
            "Duration of queries",
            "s",
            {
                "mean": f"{rate(f'{QUERY}_sum')} / {rate(f'{QUERY}_count')}",
                "95 %": quantile(0.95, QUERY),
            },
            bound=0.1,
        ),
        Panel(
            "Slow queries",
            "percentunit",
            {"slow": f"{rate('perfkit_db_slow_queries_total')} / {rate('perfkit_db_queries_total')}"},
            bound=0.05,
        ),
        Panel("Failed queries", "ops", {"{{alias}}": rate("perfkit_db_failed_queries_total", "alias")}),
        Panel("Connections", "short", {"{{alias}} {{state}}": now("perfkit_db_connections", "alias, state")}),
        Panel(
            "Use of pools",
            "percentunit",
            {
                "{{alias}}": f"{now('perfkit_db_pool_connections', 'alias', IN_USE)} / "
                f"{now('perfkit_db_pool_connections_max', 'alias')}"
            },
            bound=0.8,
        ),
        Panel(
            "Waits for connections",
            "ops",
            {
                "{{alias}}": rate("perfkit_db_pool_waits_total", "alias"),
                "{{alias}} in vain": rate("perfkit_db_pool_timeouts_total", "alias"),
                "{{alias}} waiting": now("perfkit_db_pool_requests_waiting", "alias"),
                "{{alias}} seconds": rate("perfkit_db_pool_wait_seconds_total", "alias"),
            },
        ),
    ],
    "Cache": [
        Panel(
            "Hit rate",
            "percentunit",
            {"hits": f"1 - {rate(READS, where=MISSED)} / {rate(READS, where=ASKED)}"},
            bound=0.7,
        ),
        Panel("Cached reads", "ops", {"{{outcome}}": rate(READS, "outcome")}),
        Panel("Misses", "ops", {"{{label}}": f"topk(10, {rate(READS, 'label', MISSED)})"}),
        Panel(
            "Reads that were not kept", "ops", {"{{reason}}": rate("perfkit_cache_bypasses_total", "reason")}
        ),
        Panel("Memory of processes", "bytes", {"cache": now("perfkit_cache_memory_bytes")}),
        Panel(
            "Outages",
            "short",
            {
                "found by processes": "sum(max without (instance, pod) "
                '(increase(perfkit_cache_outages_total{job=~"$job"}[$__rate_interval])))',
                "invalidations that wait": now("perfkit_outbox_rows"),
                "seconds of the oldest": now("perfkit_outbox_oldest_seconds"),
            },
        ),
    ],
    "Tasks and jobs": [
        Panel("Runs", "ops", {"{{outcome}}": rate("perfkit_tasks_total", "outcome")}),
        Panel(
            "Duration, 95 %",
            "s",
            {"{{name}}": f"topk(10, {quantile(0.95, 'perfkit_task_duration_seconds', 'name')})"},
        ),
        Panel(
            "Wait to begin, 95 %", "s", {"{{queue}}": quantile(0.95, "perfkit_task_wait_seconds", "queue")}
        ),
        Panel(
            "Jobs that need somebody",
            "short",
            {"dead": now("perfkit_jobs_dead"), "seconds overdue": now("perfkit_jobs_overdue_seconds")},
        ),
        Panel("Processes", "short", {"{{role}}": now("perfkit_processes", "role")}),
        Panel(
            "Measurements",
            "short",
            {
                "processes that reach the cache server": 'min(perfkit_metrics_up{job=~"$job"})',
                "minutes lost": "sum(max without (instance, pod) "
                '(increase(perfkit_metrics_lost_total{job=~"$job"}[$__rate_interval])))',
            },
        ),
    ],
    "Models, limits and the project's own": [
        Panel(
            "Prompts to models",
            "ops",
            {"{{model}} {{outcome}}": rate("perfkit_model_requests_total", "model, outcome")},
        ),
        Panel(
            "Duration of prompts, 95 %",
            "s",
            {"{{model}}": quantile(0.95, "perfkit_model_request_duration_seconds", "model")},
        ),
        Panel(
            "Tokens",
            "ops",
            {"{{outcome}} {{direction}}": rate("perfkit_model_tokens_total", "outcome, direction")},
        ),
        Panel(
            "Rate limits",
            "ops",
            {"{{rule}} {{outcome}}": rate("perfkit_rate_limited_total", "rule, outcome")},
        ),
        Panel(
            "Loops of queries",
            "ops",
            {
                "{{kind}}": rate("perfkit_n_plus_one_total", "kind"),
                "{{kind}}, queries": rate("perfkit_n_plus_one_queries_total", "kind"),
            },
        ),
        Panel(
            "Timed blocks, 95 %",
            "s",
            {
                "{{name}}": quantile(0.95, "perfkit_timed_seconds", "name"),
                "{{name}}, errors a second": rate("perfkit_timed_errors_total", "name"),
            },
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place}
        )
        top += 1
        for number, panel in enumerate(row):
            line, column = divmod(number, COLUMNS // WIDTH)
            place = {"x": column * WIDTH, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_chart(panel)})
        top += -(-len(row) * WIDTH // COLUMNS) * HEIGHT
    job = {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(perfkit_metrics_up, job)", "refId": "job"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "title": "perfkit",
        "uid": "perfkit",
        "description": "What perfkit measures, of all processes together.",
        "tags": ["django", "perfkit"],
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source, job]},
        "panels": panels,
    }


def _chart(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "custom": {"fillOpacity": 10, "showPoints": "never"},
    }
    if panel.bound is not None:
        steps.append({"color": "red", "value": panel.bound})
        defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": defaults | {"thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for number, (legend, expression) in enumerate(panel.expressions.items())
        ],
    }


def text() -> str:
    """Return what stands in the file."""
    return f"{json.dumps(dashboard(), indent=2, ensure_ascii=False)}\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

"""compose.yaml and Dockerfile, checked without Docker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

TOP_KEYS = {"name", "services", "volumes", "networks", "configs", "secrets"}
SERVICE_KEYS = {
    *("build", "image", "command", "restart", "environment", "depends_on"),
    *("ports", "volumes", "healthcheck"),
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def variables(value: object) -> set[str]:
    """The names that Compose fills in, and fails on where they are empty."""
    return set(re.findall(r"\$\{(\w+):\?[^}]*\}", yaml.safe_dump(value)))


def test_it_has_what_the_demo_needs() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "migrate", "web", "worker", "beat"}
    assert {key for key in COMPOSE if not key.startswith("x-")} <= TOP_KEYS


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_known_keys_of_the_right_kind(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= SERVICE_KEYS
    assert isinstance(service["image"], str)
    assert isinstance(service.get("environment", {}), dict)
    command = service.get("command", [])
    assert isinstance(command, list)
    assert all(isinstance(part, str) for part in command)
    assert service["restart"] in {"unless-stopped", "no"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_services_that_exist_and_can_be_waited_for(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert wait["condition"] in CONDITIONS
        assert wait["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_what_keeps_running_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert set(check) <= HEALTHCHECK_KEYS
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert all(re.fullmatch(r"\d+s", check[key]) for key in ("interval", "timeout"))


def test_named_volumes_are_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"]) == {"postgres-data", "valkey-data"}


def test_the_servers_are_those_that_are_tested() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["valkey"]["image"] == "valkey/valkey:9"


def test_no_secret_stands_in_the_file_and_each_is_asked_for() -> None:
    example = (ROOT / ".env.example").read_text()
    asked = variables(COMPOSE)
    assert asked == {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "DJANGO_SECRET_KEY"}
    for variable in asked:
        assert re.search(rf"^{variable}=$", example, re.MULTILINE)
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|AUTH|URL", key):
                assert variables(value)


def test_only_the_site_is_reachable_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:8000:8000"]}


def test_the_image_copies_only_what_its_context_holds() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {source for line in copies for source in line.split()}
    assert copied == allowed
    assert re.search(r"^USER (?!root)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

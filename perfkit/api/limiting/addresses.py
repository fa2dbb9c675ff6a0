"""The address that a request comes from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from django.http import HttpRequest

from perfkit.conf import options


def client_address(request: HttpRequest) -> str:
    """Return the address the request comes from, in one spelling; of IPv6 the network of `RATE_LIMIT_IPV6_PREFIX`.

    `X-Forwarded-For` is what the client says it is, so it is read only where `RATE_LIMIT_PROXIES` says how many
    proxies of the project's add to it; then the entry counts that the outermost of them wrote.
    Where that is no address, or there are fewer entries than proxies, it is the peer's.
    Behind a proxy that is not declared, all clients are one.
    """
    peer = str(request.META.get("REMOTE_ADDR") or "")
    prefix = options.RATE_LIMIT_IPV6_PREFIX
    proxies = options.RATE_LIMIT_PROXIES
    if proxies:
        hops = str(request.META.get("HTTP_X_FORWARDED_FOR") or "").split(",")
        told = normal_address(hops[-proxies], prefix) if len(hops) >= proxies else None
        if told is not None:
            return told
    return normal_address(peer, prefix) or peer


@lru_cache(maxsize=4096)
def normal_address(text: str, ipv6_prefix: int) -> str | None:
    """Return an address without a port, zone, quotes or brackets, in one spelling; None where it is none.

    Args:
        ipv6_prefix: Bits by which clients with IPv6 are told apart: a home or a server has a network of its own,
            in which it may take any address for each request.
    """
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, ipv6_prefix), strict=False))

"""What is done to the cache server, and to the network before it. Each returns once things could be well again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.soak.run import Soak

BALLAST_BYTES: Final = 20_000
LEAST_EVICTED: Final = 300
"""Keys; the soak itself has about as many."""


def killed(soak: Soak) -> None:
    """The server crashes, and comes back empty."""
    before = soak.counts()
    soak.server.kill()
    soak.until_it_shows(before)
    soak.server.start()


def paused(soak: Soak) -> None:
    """The server hangs, and goes on with all it had, and all it was told meanwhile."""
    before = soak.counts()
    soak.server.pause()
    try:
        soak.until_it_shows(before)
        soak.hold(0.0, 1.5)
    finally:
        soak.server.resume()


def flushed(soak: Soak) -> None:
    """Somebody empties the server, several times."""
    for _ in range(4):
        with soak.writers_spared():  # one that died before its DONE would be the second fault in one commit
            soak.direct.flushall()
            soak.hold(0.1, 0.1)
        soak.hold(0.02, 0.3)


def starved(soak: Soak) -> None:
    """The server has too little memory, and drops what was used least."""
    before = soak.evicted()
    soak.direct.config_set("maxmemory-policy", "allkeys-lru")
    soak.direct.config_set("maxmemory", int(soak.direct.info("memory")["used_memory"]) + 20 * BALLAST_BYTES)
    number = 0
    while soak.evicted() < before + LEAST_EVICTED:
        number += 1
        soak.direct.set(f"ballast {number}", bytes(BALLAST_BYTES))
        soak.tend()
    soak.hold(0.2, 1.0)
    soak.direct.config_set("maxmemory", 0)
    for old in range(1, number + 1):
        soak.direct.unlink(f"ballast {old}")


def dropped(soak: Soak) -> None:
    """The server closes all connections, several times."""
    for _ in range(4):
        soak.direct.client_kill_filter(_type="normal", skipme=True)
        soak.hold(0.02, 0.3)


def cut(soak: Soak) -> None:
    """Some writers are cut off, while others are not."""
    soak.proxy.cut()
    soak.until_the_cut_off_has_written()
    soak.proxy.heal()


def muted(soak: Soak) -> None:
    """Some writers speak and are not heard; what they said arrives much later."""
    soak.proxy.mute()
    soak.until_the_cut_off_has_written()
    soak.proxy.heal()


def frozen(soak: Soak) -> None:
    """A process stands still at the worst moment, and goes on when its lease is over."""
    soak.freeze_one()


DISTURBANCES: Final[dict[str, Callable[[Soak], None]]] = {
    function.__name__: function
    for function in (killed, paused, flushed, starved, dropped, cut, muted, frozen)
}

"""The times at which a server is in charge.

# Note [Reigns]
A primary may be made a replica of another one, and later primary again, without being restarted and, in a cluster,
without a connection breaking.
It then has whatever the other one had when it last heard of it: tokens may be missing, or older than a write.
So a server is known by its run, and where it can be replaced by its reign: the keys of each have their own names.

- `master_replid` of INFO is random, and new whenever a server becomes primary.
- `cluster_my_epoch` is new whenever a node of a cluster takes over slots: the names of keys move with their slots,
  and so would come back with them. A node takes a new one unless it has the latest that it has heard of, so a slot
  must not come back before its first node has heard that it left: nodes tell each other at once, and again at
  least every `cluster-node-timeout`. `redis-cli --cluster reshard` moves slots one way.

A connection may live through the end of a reign, so the question is asked again after each command, in the same
round trip.
Neither number ever comes back: if both are what they were when the connection was opened, the command was
answered in the same reign.

# Note [Two in charge]
Those who replace a primary may not have reached it: it may have hung, or be cut off from them and from its
replicas, but not from us.
Sentinel even replaces a living one, if asked to, and tells it seconds later.
So that no two are believed at the same time:

- With `min-replicas-to-write`, one that has lost its replicas refuses every script. See `FENCE` in `scripts`.
  Sentinel is used only where that is set; in a cluster a primary that has lost the others stops by itself, later.
- One that goes on after it has stood still shows how long its replicas have been silent, at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

from perfkit.caching.store.packing import packed

MOST_LAG_SECONDS: Final = 3
"""A replica answers every second. Nobody should take longer than a few of these to be replaced."""

_LAG: Final = re.compile(rb",lag=(\d+)")


class Reign(NamedTuple):
    """What a server is asked after each command, and how its answers are read.

    Attributes:
        questions: Commands.
        patterns: One for the answer to each, with what tells reigns apart.
        hint: What to do about a server whose answer is another.
    """

    questions: tuple[bytes, ...]
    patterns: tuple[re.Pattern[bytes], ...]
    hint: str = ""

    def read(self, answers: Sequence[Any]) -> str:
        """Return what tells this reign from all others, from the answers to the questions.

        Raises:
            ConnectionError: The server is not in charge, or may not be any more.
        """
        told = []
        for pattern, answer in zip(self.patterns, answers, strict=True):
            match = pattern.search(answer) if isinstance(answer, bytes) else None
            if match is None:
                raise redis.ConnectionError(f"the server is not in charge{self.hint}: {answer!r:.300}")
            lags = _LAG.findall(answer)
            if lags and min(map(int, lags)) > MOST_LAG_SECONDS:
                raise redis.ConnectionError("the server has not heard of its replicas for a while")
            told.append(f".{match[1].decode()}")
        return "".join(told)


STANDING: Final = Reign((), ())
"""Of a server that nobody replaces: a restart is seen by its run id."""

_REPLICATION: Final = re.compile(rb"\brole:master\b.*?\bmaster_replid:(\w{16})", re.DOTALL)
_FENCED: Final = re.compile(
    rb"\brole:master\b.*?\bmin_slaves_good_slaves:.*?\bmaster_replid:(\w{16})", re.DOTALL
)
_EPOCH: Final = re.compile(rb"\bcluster_my_epoch:(\d+)")

REPLICATED: Final = Reign(
    (packed("INFO", "replication"),), (_FENCED,), ", or min-replicas-to-write is not set there"
)
"""Of a server that has replicas, one of which may be put in its place."""

CLUSTERED: Final = Reign((packed("INFO", "replication"), packed("CLUSTER", "INFO")), (_REPLICATION, _EPOCH))
"""Of a node that may also give up slots, and get them back."""

"""A plug-in check that kills the gossip service of the node in whose process it runs, once."""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demesh.plugin import Answer


def kill(arguments: Mapping[str, Any], timeout_seconds: float) -> Answer:
    from libp2p.pubsub.gossipsub import GossipSub

    done = Path(arguments["trace"])
    if not done.exists():
        gc.unfreeze()  # a node freezes what is there once it runs
        routers = [each for each in gc.get_objects() if isinstance(each, GossipSub)]
        for router in routers:
            router.mesh = None  # pyright: ignore[reportAttributeAccessIssue] its next heartbeat raises
        done.write_text(f"{len(routers)}")
    return Answer("pass")

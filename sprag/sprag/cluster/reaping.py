"""What becomes of what a life had, once it has ended for certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag.cluster.rows import row_of

if TYPE_CHECKING:
    from sprag.cluster.memory import MemoryEngine


def reap(engine: MemoryEngine, life: str, why: str) -> None:
    """Let others have the rows of *life*, whose process is gone. Callable from the hub.

    Args:
        engine: Where they are.
        life: Whose they are.
        why: How it has ended, for people: "worker-2 was killed by SIGKILL".
    """
    for key, value in engine.scan("").value.items():
        if key.endswith(f"/nodes/{life}"):
            engine.cas(key, value, None)
        elif "/rows/" in key and (row := row_of(value)).owner == life:
            engine.cas(key, value, row.freed(why).as_bytes())

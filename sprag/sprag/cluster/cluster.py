"""What an app says of the others that it is one of: `App(cluster=Cluster(…))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from sprag_supervisor import in_seconds, is_a, shown
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from sprag_supervisor import Seconds

SHORTEST: Final = 0.5
LONGEST: Final = 3600.0
_READY: Final = ("tree", "engine")
_CONTROL: Final = ("off", "read", "full")
_LONGEST_NAME: Final = 200


class Cluster:
    """The engine that the nodes of an app share, and what this node is called there.

        App(name="shop", cluster=Cluster("postgres://db/shop"), providers={…})

    All processes with an app of that name and the same URL are its nodes. What is below a
    `Singleton` runs on one of them.

    Args:
        url: Where the engine is: ``postgres://…``, ``redis://…``, ``etcd://…``, or ``memory://``
            for tests: the trees of one process.
        ttl: Seconds until others take over what a node ran that says nothing more: a whole ttl, and
            up to a fifth of it to see that. When the engine is away, what runs once stops after 0.6
            of it; so it must stop within a quarter of it. 0.5 to 3,600.
        node: What this node is called, the same after each start. Default: the name of the host;
            with ``--workers`` and its number.
        address: Where others reach this node, as it is told to them; empty: nowhere.
        required: Without the engine the app does not start, and ends with exit code 3 after a ttl;
            False: it starts, and nothing that runs once runs until the engine is there.
        ready: When ``/readyz`` says 200: ``"tree"``, when all that should run does; ``"engine"``:
            and the engine is not away.
        control: What other nodes may ask of this one: ``"off"``, to ``"read"``, or in ``"full"``.

    Raises:
        BadValue: An argument is none of these.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: Seconds = 10.0,
        node: str | None = None,
        address: str = "",
        required: bool = True,
        ready: Literal["tree", "engine"] = "tree",
        control: Literal["off", "read", "full"] = "off",
    ) -> None:
        if not is_a(url, str) or not _scheme_of(url):
            raise BadValue("url", url, "where the engine is, as in 'redis://localhost'")
        self.url = url
        self.ttl = in_seconds(ttl)
        if not SHORTEST <= self.ttl <= LONGEST:
            raise BadValue("ttl", ttl, f"seconds, {SHORTEST} to {LONGEST:,.0f}")
        if node is not None and not _is_name(node):
            accepted = f"a name of 1 to {_LONGEST_NAME} characters, without a slash or a colon"
            raise BadValue("node", node, accepted)
        if not is_a(address, str) or len(address) > _LONGEST_NAME:
            raise BadValue("address", address, f"a text of {_LONGEST_NAME} characters at most")
        if type(required) is not bool:
            raise BadValue("required", required, "True or False")
        self.node = node
        self.address = address
        self.required = required
        self.ready = _one_of("ready", ready, _READY)
        self.control = _one_of("control", control, _CONTROL)

    def __repr__(self) -> str:
        """Show it, without a password."""
        parts = urlsplit(self.url)
        where = f"{parts.scheme}://{parts.hostname or ''}"
        return f"Cluster({shown(where)}, ttl={self.ttl:g})"


def _scheme_of(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _is_name(node: Any) -> bool:
    return is_a(node, str) and 0 < len(node) <= _LONGEST_NAME and not {"/", ":"} & set(node)


def _one_of(name: str, given: Any, accepted: tuple[str, ...]) -> str:
    if given not in accepted:
        raise BadValue(name, given, " or ".join(map(repr, accepted)))
    return str(given)

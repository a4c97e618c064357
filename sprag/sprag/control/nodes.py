"""``GET /v1/nodes``, ``/v1/node``, and ``/v1/tree?cluster=1``: all nodes of an app, seen from one.

What is known of the others is what they have written of themselves in the engine, where the keeper
looks now and then, and what they answer. One that does not answer in time is told as such, and
nobody waits longer for it.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.cluster import boottime
from sprag.control import across, tree
from sprag.control.http import Answer, Refused
from sprag.control.pictures import rounded
from sprag.control.pieces import looking
from sprag_supervisor import picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sprag.cluster.asks import Told
    from sprag.cluster.keeper import Keeper
    from sprag.cluster.member import Member
    from sprag.cluster.rows import Row
    from sprag.control.desk import Desk
    from sprag.control.http import Request

_OWN: Final = ("engine", "standing", "control", "uptime")
"""What a node alone can say of itself."""


def node(desk: Desk) -> Answer:
    """Return what this node says of itself."""
    member = across.member_of_cluster(desk)
    return Answer({**desk.about(), **_self(desk, member)})


def nodes(desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> Answer:
    """Return all nodes, those too that are lost, each with what it runs."""
    look = _Look(desk, request, has_hung_up)
    look.ask("/v1/node")
    for each in look.known:
        if each["here"]:
            said = _self(desk, look.member)
        elif (found := look.told.get(each["life"])) is not None:
            said = _loaded(found)
        else:
            continue
        each.update({key: said[key] for key in _OWN if key in said}, answered=True)
    return Answer({**look.head(), "nodes": look.known})


def trees(desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> Answer:
    """Return the trees of all nodes, or what is below ``?path=`` in each."""
    look = _Look(desk, request, has_hung_up)
    look.ask("/v1/tree")
    return Answer(_spliced(look))


class _Look:
    """One look at all nodes.

    Attributes:
        member: This one.
        known: What the engine tells of each.
        told: What they have answered, by life.
        why: Why they could not be asked; "": they were.
    """

    def __init__(self, desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> None:
        self.desk = desk
        self.request = request
        self.member = across.member_of_cluster(desk)
        self.known = _known(self.member)
        self.told: dict[str, Told] = {}
        self.why = ""
        self._has_hung_up = has_hung_up

    def ask(self, path: str) -> None:
        """Ask all others that are not lost."""
        query, request = self.request.query, self.request
        given = {"path": query["path"]} if "path" in query else {}
        others = [each for each in self.known if not each["here"] and each["state"] != "lost"]
        if not others:
            return
        to = tuple(str(each["life"]) for each in others)
        ask = across.ask_for(self.member, request, path, given, to)
        try:
            self.told = across.asked(self.desk, ask, across.LOOK, self._has_hung_up)[0]
        except Refused as refused:
            self.why = str(refused)

    def head(self) -> dict[str, Any]:
        """Return what is told of the engine, as it is seen here."""
        keeper = _keeper(self.member)
        saw_at, lease = keeper.sightings.saw_at, keeper.lease
        return {
            **self.desk.about(),
            "app": self.member.prefix.split("/")[1],  # which a worker's root is not called
            "node": self.member.where,
            "engine": None if lease is None else lease.identity,
            "standing": keeper.standing.value,
            "why_not": self.why or keeper.why_not(),
            "seen": None if saw_at is None else rounded(boottime.now() - saw_at),
        }


def _spliced(look: _Look) -> Iterator[bytes]:
    """Yield the answer: the trees as they have come, which nobody here needs to read."""
    pace = looking()
    yield f'{json.dumps(look.head())[:-1]}, "nodes": ['.encode()
    between = ""
    for each in look.known:
        error, pieces = _tree(look, each)
        each["answered"] = not error
        begin = f'{between}{json.dumps(each)[:-1]}, "error": {json.dumps(error or None)}, "tree": '
        yield begin.encode()
        for piece in (b"null",) if error else pieces:
            yield piece
            pace()  # what has been packed is unpacked in no time, and all of it at once
        yield b"}"
        between = ", "
    yield b"]}"


def _tree(look: _Look, node: dict[str, Any]) -> tuple[str, Iterable[bytes]]:
    """Return the tree of *node*; or why there is none."""
    if node["here"]:
        try:
            body = tree.answer(look.desk, look.request).body
        except Refused as refused:
            return str(refused), ()
        return "", cast("Iterable[bytes]", body)
    found = look.told.get(node["life"])
    if found is None:
        return look.why or ("it is lost" if node["state"] == "lost" else "it does not answer"), ()
    if found.status == HTTPStatus.OK:
        return "", found.pieces()
    return str(_loaded(found).get("error", found.status)), ()


def _loaded(told: Told) -> dict[str, Any]:
    try:
        said = json.loads(b"".join(told.pieces()))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def _self(desk: Desk, member: Member) -> dict[str, Any]:
    keeper, cluster = _keeper(member), member.cluster
    lease = keeper.lease
    return {
        "node": member.where,
        "life": member.life,
        "ttl": keeper.ttl,
        "generation": member.generation,
        "engine": None if lease is None else lease.identity,
        "standing": keeper.standing.value,
        "control": "off" if cluster is None else cluster.control,
        "uptime": rounded(picture(desk.root).uptime),
    }


def _known(member: Member) -> list[dict[str, Any]]:
    """Return what the engine tells of each node, this one too, and of those that are gone."""
    keeper, now = _keeper(member), boottime.now()
    rows = {} if keeper.picture is None else keeper.picture.rows
    known: list[dict[str, Any]] = []
    for each in keeper.sightings.all():
        record = each.record
        known.append(
            {
                "name": record.where,
                "life": each.life,
                "here": each.life == member.life,
                "state": "lost" if each.is_lost else "up",
                "age": rounded(now - each.since),
                "address": str(record.rest.get("address", "")),
                "host": record.host,
                "ttl": record.ttl,
                "generation": record.generation,
                "answered": False,
                "runs": [_run(name, row) for name, row in rows.items() if row.owner == each.life],
            }
        )
    return known


def _run(name: str, row: Row) -> dict[str, Any]:
    return {"name": name, "token": row.epoch, "why": row.why}


def _keeper(member: Member) -> Keeper:
    assert member.keeper is not None, "whoever is asked by others has a lease"
    return member.keeper

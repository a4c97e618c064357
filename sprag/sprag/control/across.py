"""What is asked of other nodes of the app: through the engine that they share.

A path with a node in front, ``n2:shop/billing``, is sent there, and what it answers comes back with
``node`` in it. A service that is called like that here comes first.
"""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.control.http import Answer, Refused
from sprag_supervisor import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.cluster.asks import Ask, Told
    from sprag.cluster.member import Member
    from sprag.cluster.sightings import Sighting
    from sprag.control.desk import Desk
    from sprag.control.http import Request

LOOK: Final = 2.0
"""Seconds that another node has to answer, beyond those that the client gives it."""
_ACTING: Final = 3600.0
_MOST: Final = 32
"""Requests to other nodes that are under way at a time."""
_LISTED: Final = 12
_ALIKE: Final = 2
_READING: Final = ("GET", "HEAD")


class Far(NamedTuple):
    """What is meant by a path with a node in front.

    Attributes:
        node: Its name, as it was given.
        path: What is meant there.
        is_here: It is this node's own name.
    """

    node: str
    path: str
    is_here: bool


def is_far(desk: Desk, given: str) -> bool:
    """Whether *given* has the form of a path at another node, and is none here."""
    if ":" not in given.partition("/")[0]:
        return False
    try:
        desk.find(given)
    except Refused as refused:
        return refused.status is HTTPStatus.NOT_FOUND
    return False


def far(desk: Desk, given: str) -> Far | None:
    """Return which node *given* names, and what there; None: it is meant here.

    Raises:
        Refused: The app has no nodes.
    """
    if not is_far(desk, given):
        return None
    member = _member(desk, f"no service {given[:100]!r} here, and no nodes: ")
    node, _, path = given.partition(":")
    return Far(node, path, node == member.where)


def answer(
    desk: Desk, request: Request, beginning: str, there: Far, has_hung_up: Callable[[], bool]
) -> Answer:
    """Have a node answer, and return what it says.

    Raises:
        Refused: There is no such node, it does not answer, or says no.
    """
    if beginning == "/v1/events" or request.query.get("follow", "0") not in ("", "0"):
        what = f"'sprag {beginning.rpartition('/')[2]}' on {there.node}"
        message = f"what goes on is not followed from another node: run {what}"
        raise Refused(HTTPStatus.BAD_REQUEST, message, name="NotFollowed")
    member = _member(desk)
    sighting = _sighting(member, there.node)
    is_acting = request.method not in _READING
    default = _ACTING if is_acting and request.query.get("wait", "1") != "0" else 0.0
    given = request.seconds("timeout", default) or 0.0
    seconds = LOOK + given + (request.seconds("seconds", 0.0) or 0.0)
    query = {**request.query}
    path = beginning
    if "path" in query:
        query["path"] = there.path
    elif there.path and "prefix" not in query:
        path = f"{beginning}/{quote(there.path)}"
    ask = ask_for(member, request, path, query, (sighting.life,))
    told, begun = asked(desk, ask, seconds, has_hung_up)
    found = told.get(sighting.life)
    if found is None:
        raise _silent(there.node, seconds, begun=begun if is_acting else None)
    return _from(there.node, found)


def ask_for(
    member: Member, request: Request, path: str, query: dict[str, str], to: tuple[str, ...]
) -> Ask:
    """Return what is to be asked."""
    from sprag.cluster.asking import new_id
    from sprag.cluster.asks import Ask

    return Ask(
        new_id(),
        to,
        "GET" if request.method == "HEAD" else request.method,
        path,
        query,
        member.where,
        _user(request.by),
        request.by,
        request.method not in _READING,
    )


def asked(
    desk: Desk, ask: Ask, seconds: float, has_hung_up: Callable[[], bool]
) -> tuple[dict[str, Told], bool]:
    """Ask, and return what was answered in time, by life; and whether it was begun.

    Raises:
        Refused: The engine is away, or too much is asked at a time.
    """
    global _under_way  # noqa: PLW0603 - a count
    asking = _member(desk).asking
    assert asking is not None
    if _under_way >= _MOST:
        message = f"{_MOST} requests to other nodes are under way: ask again later"
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message)
    _under_way += 1
    try:
        heard = asking.ask(ask, seconds, has_hung_up)
    except (EngineAway, EngineFull) as error:
        message = f"{error}; other nodes are asked through it, 'sprag nodes' shows what was seen"
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message, name=type(error).__name__) from error
    finally:
        _under_way -= 1
    return dict(heard.told), heard.begun


_under_way = 0


def _member(desk: Desk, said: str = "") -> Member:
    """Return the tree as a node.

    Raises:
        Refused: It is none.
    """
    member: Member | None = desk.tree.cluster
    if member is None or member.asking is None:
        message = (
            f"{said}{name_of(desk.root)} is in no cluster: App(cluster=Cluster('redis://…')) makes "
            "a node of it"
        )
        raise Refused(HTTPStatus.CONFLICT, message, name="NoCluster")
    return member


member_of_cluster = _member


def others(desk: Desk) -> list[str]:
    """Return the names of the other nodes that are there; none where there is no cluster."""
    member: Member | None = desk.tree.cluster
    known = [] if member is None else _sightings(member)
    return [each.record.where for each in known if not each.is_lost and not _is_mine(member, each)]


def _is_mine(member: Member | None, each: Sighting) -> bool:
    return member is not None and each.life == member.life


def _sightings(member: Member) -> list[Sighting]:
    return [] if member.keeper is None else member.keeper.sightings.all()


def _sighting(member: Member, node: str) -> Sighting:
    """Return the node that is called so.

    Raises:
        Refused: There is none, it is lost, or there are two.
    """
    known = _sightings(member)
    found = [each for each in known if each.record.where == node]
    well = [each for each in found if not each.is_lost]
    if len(well) > 1:
        hosts = " and ".join(each.record.host or each.life for each in well)
        message = f"{len(well)} nodes are called {node!r}, on {hosts}: give each its Cluster(node=)"
        raise Refused(HTTPStatus.CONFLICT, message, name="AmbiguousNode")
    if well:
        return well[0]
    if found:
        message = f"{node} is lost: its beat stands still; 'sprag nodes' says since when"
        raise Refused(HTTPStatus.GATEWAY_TIMEOUT, message, name="NodeLost")
    names = list(dict.fromkeys(each.record.where for each in known)) or [member.where]
    alike = get_close_matches(node, names, n=_ALIKE)
    hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
    listed = ", ".join(names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    message = f"no node {node[:100]!r}: there are {listed}{more}{hint}"
    raise Refused(HTTPStatus.NOT_FOUND, message, name="UnknownNode")


def _silent(node: str, seconds: float, *, begun: bool | None) -> Refused:
    said = f"{node} has not answered within {seconds:g} s"
    if begun is None:
        said += ": 'sprag nodes' says when it was seen last"
    elif begun:
        said += f", and has begun: 'sprag status {node}:' says how far it is"
    else:
        said += ", and has not begun, nor will it"
    return Refused(HTTPStatus.GATEWAY_TIMEOUT, said, name="NodeSilent")


def _from(node: str, told: Told) -> Answer:
    """Return what *node* has told, with its name in it."""
    try:
        status = HTTPStatus(told.status)
    except ValueError:
        status = HTTPStatus.BAD_GATEWAY
    pieces = told.pieces()
    if status >= HTTPStatus.BAD_REQUEST:
        text = b"".join(pieces)
        _refuse(node, status, text)
        pieces = iter([text])
    if told.is_stream:
        return Answer(pieces, status, is_stream=True)
    return Answer(_named(node, pieces), status)


def _refuse(node: str, status: HTTPStatus, text: bytes) -> None:
    """Raise what *node* has refused with, if that is what *text* is."""
    try:
        said: Any = json.loads(text)
        error, name = said["error"], said.get("name", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    raise Refused(status, f"{node}: {error}", name=str(name))


def _named(node: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"{}")
    begin = f'{{"node": {json.dumps(node)}'.encode()
    yield begin + (b"" if first == b"{}" else b", ") + first[1:]
    yield from pieces


@lru_cache(maxsize=16)
def _user(uid: int | None) -> str:
    import pwd

    if uid is None:
        return f"pid {os.getpid()}"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

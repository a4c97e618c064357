"""What can happen next in a `World`: moves of nodes, of the wires, of faults, and of time."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from cluster.model import FREE, NAMES, TOMBSTONE, Node, Request, World, read_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.model import Record


def successors(world: World) -> Iterator[World]:
    """Yield each situation that may follow, with what has happened in its ``past``."""
    for index, node in enumerate(world.nodes):
        name = NAMES[index]
        is_hit = name in world.bounds.of
        if node.held:
            yield _done(world, f"{name} goes on", resume, index)
            continue
        if node.cut:
            yield _done(world, f"{name} is connected again", connect, index)
        if node.life is not None:
            for said, request in wishes(world, index):
                is_free = not world.bounds.eager or request.kind not in ("renew", "look")
                if is_free and not node.cut:
                    made = world.copy()
                    ask(made, request)
                    yield _told(made, said)
                if is_hit and request.kind in world.bounds.calls and world.may("slow"):
                    made = world.copy()
                    made.spend("slow")
                    send(made, request)
                    yield _told(made, f"{said}, and that is under way")
            for row in startable(world, node):
                yield _done(world, f"{name} starts row {row}", start, index, row)
            if is_hit and world.may("hold"):
                yield _done(world, f"the loop of {name} is held", hold, index)
        elif not world.bounds.eager and not node.cut and world.lives < world.bounds.lives:
            yield _done(world, f"{name} joins", join, index)
        if is_hit and world.may("cut") and not node.cut:
            yield _done(world, f"{name} is cut off", cut, index)
        if is_hit and world.may("kill") and node.identity is not None:
            yield _done(world, f"{name} is killed", kill, index)
        if world.may("step") and node.seen and not world.rules.no_wall:
            yield _done(world, f"the wall clock of {name} is set ahead", step, index)
    for at, request in enumerate(world.net):
        who = NAMES[request.node] if request.node >= 0 else "somebody gone"
        if request.kind == "look":
            yield _done(world, f"{who} waits no longer for what it looks at", drop, at)
        if request.outcome is None:
            yield _done(world, f"the engine carries out '{request.kind}' of {who}", carry_out, at)
        else:
            yield _done(world, f"the answer to '{request.kind}' reaches {who}", deliver, at)
    if world.budget["revert"] > 0 and world.saved is None and world.may("revert"):
        yield _done(world, "the engine is copied to a disk", save)
    if world.saved is not None and world.may("revert"):
        yield _done(world, "the engine comes back as it was copied", revert)
    if world.may("empty"):
        yield _done(world, "the engine is emptied", empty)
    orders = _orders(world)
    for order in orders:
        said = "a tick passes"
        if len(orders) > 1:
            said += ", and " + ", then ".join(NAMES[index] for index in order)
        yield _done(world, said, tick, *order)


def _orders(world: World) -> list[tuple[int, ...]]:
    """Return in which orders the nodes may do what they do after a tick."""
    if not world.bounds.eager:
        return [()]
    able = [
        index
        for index, node in enumerate(world.nodes)
        if not node.held
        and not node.cut
        and (node.life is not None or world.lives < world.bounds.lives)
    ]
    return list(permutations(able))


def _done(world: World, said: str, move: object, *args: int) -> World:
    made = world.copy()
    assert callable(move)
    move(made, *args)
    return _told(made, said)


def _told(made: World, said: str) -> World:
    made.past = said
    if not made.broken:
        for row in range(made.bounds.rows):
            if sum(node.work[row] is not None for node in made.nodes) > 1:
                made.broken = f"two at work on row {row}"
    return made


# -- what a node wishes to ask ---------------------------------------------------------------


def renewal_of(world: World, index: int) -> Request | None:
    """Return how a node may renew its lease now."""
    node = world.nodes[index]
    assert node.life is not None
    if len(node.tries) >= 2:
        return None
    fresh = world.rules.fresh_beats
    beat = world.unused_beat(node.life) if fresh else ((node.last or 0) + 1) % 5
    return Request(index, node.life, "renew", node.life, node.last, beat)


def wishes(world: World, index: int) -> Iterator[tuple[str, Request]]:
    """Yield what a node may ask the engine now."""
    node, rules = world.nodes[index], world.rules
    life, name = node.life, NAMES[index]
    assert life is not None
    if (renewal := renewal_of(world, index)) is not None:
        yield f"{name} renews ({renewal.new})", renewal
    yield f"{name} looks", Request(index, life, "look")
    if node.wait or not node.proved or node.until == 0:
        return
    for other, record, left in node.seen:
        if record != TOMBSTONE and left == 0:
            said = f"{name} buries life {other}"
            yield said, Request(index, life, "bury", other, record, TOMBSTONE)
        if record == TOMBSTONE and all(owner != other for owner, _ in node.view or ()):
            said = f"{name} clears life {other}"
            yield said, Request(index, life, "clear", other, TOMBSTONE, None)
    for row, old in enumerate(node.view or ()):
        if node.work[row] is None and is_to_be_had(world, node, row):
            epoch = old[1] + 1
            token = max(epoch, node.ms) if rules.token_clock else epoch
            said = f"{name} claims row {row}"
            yield said, Request(index, life, "claim", row, old, (life, token))
    if world.may("give"):
        for row, working in enumerate(node.work):
            if working is not None:
                said = f"{name} gives up row {row}"
                yield said, Request(index, life, "free", row, (life, working), (None, working))


def is_to_be_had(world: World, node: Node, row: int) -> bool:
    """Whether the row may be swapped, as the node has seen it."""
    assert node.view is not None
    owner, epoch = node.view[row]
    if owner is None:
        return True
    if owner == node.life:
        return _is_anew(world, node, row, epoch)
    for other, record, left in node.seen:
        if other == owner:
            return record == TOMBSTONE or (left == 0 and not world.rules.tombstones)
    return False


def _is_anew(world: World, node: Node, row: int, epoch: int) -> bool:
    """Whether a row that names the node is to be taken anew."""
    return world.rules.anew_after_change and node.anew and node.claimed[row] != epoch


def startable(world: World, node: Node) -> list[int]:
    """Return the rows whose work may start, as the node has seen them."""
    rules = world.rules
    if node.wait or not node.proved or node.until == 0 or node.view is None:
        return []
    if not rules.own_claim:
        return []
    return [
        row
        for row, (owner, epoch) in enumerate(node.view)
        if owner == node.life and node.work[row] is None and not _is_anew(world, node, row, epoch)
    ]


# -- calls -----------------------------------------------------------------------------------


def begin(world: World, request: Request) -> None:
    """Note in the node that it asks."""
    node = world.nodes[request.node]
    if request.kind == "renew":
        work = world.bounds.work[request.node]
        assert isinstance(request.new, int)
        node.tries = (*[each for each in node.tries if each[0] != request.new], (request.new, work))
    elif request.kind == "claim":
        node.claimed = _with(node.claimed, request.key, row_of(request.new)[1])
    elif request.kind == "free":
        world.spend("give")
        node.work = _with(node.work, request.key, None)
        node.claimed = _with(node.claimed, request.key, None)
        node.view = None
    elif request.kind == "look":  # who looks again listens to the first no more
        world.net = [each for each in world.net if each[:3] != request[:3]]


def _matters(request: Request) -> bool:
    return request.outcome is None and request.kind != "look"


def ask(world: World, request: Request) -> None:
    """Ask, and be answered at once."""
    begin(world, request)
    answered(world, request._replace(outcome=engine(world, request)))


def send(world: World, request: Request) -> None:
    """Ask, with nobody knowing what becomes of it."""
    begin(world, request)
    world.net.append(request)


def carry_out(world: World, at: int) -> None:
    request = world.net[at]
    outcome = engine(world, request)
    if request.node < 0:
        del world.net[at]
    else:
        world.net[at] = request._replace(outcome=outcome)


def drop(world: World, at: int) -> None:
    del world.net[at]


def deliver(world: World, at: int) -> None:
    request = world.net[at]
    if not world.nodes[request.node].held:
        del world.net[at]
        answered(world, request)


def engine(world: World, request: Request) -> tuple[object, int, int]:
    """Let the engine do what is asked; return its answer."""
    rules, key = world.rules, request.key
    value: object
    if request.kind == "look":
        value = tuple(world.leases), tuple(world.rows)
    elif request.kind in ("renew", "bury", "clear"):
        found = world.leases[key]
        value = found == request.old
        if request.kind == "renew" and found is None and not rules.never_creates:
            value = True
        if request.kind == "bury" and not rules.whole_record:
            value = found is not None
        if value:
            assert request.new is None or isinstance(request.new, int)
            world.leases[key] = request.new
    else:
        value = world.rows[key] == request.old
        if value:
            world.rows[key] = row_of(request.new)
    return value, world.identity, world.clock


def answered(world: World, request: Request) -> None:
    """Let a node hear what became of its request."""
    node, rules = world.nodes[request.node], world.rules
    assert request.outcome is not None
    value, identity, clock = request.outcome
    if request.kind == "look":
        leases, rows = read_of(value)
        see(world, request, leases, rows, identity, clock)
        return
    is_same = identity == node.identity or not rules.answer_identity
    if not is_same:
        changed(world, node, identity)
    if request.kind == "renew":
        if value:
            count(world, request.node, request.new)
    elif request.kind in ("bury", "clear"):
        if value:
            record = request.new if isinstance(request.new, int) else None
            node.seen = tuple(each for each in node.seen if each[0] != request.key)
            if record is not None:
                node.seen = tuple(sorted((*node.seen, (request.key, record, 0)), key=_first))
    else:
        node.view = None
        if request.kind != "claim" or not value:
            return
        if rules.claim_read_back and rules.own_claim:
            if is_same and not node.cut:
                ask(world, Request(request.node, request.life, "look"))
        elif node.until > 0 and is_same:
            start(world, request.node, request.key, row_of(request.new)[1])


def count(world: World, index: int, beat: object, *, is_read: bool = False) -> None:
    """Take note that an attempt has succeeded."""
    node, rules = world.nodes[index], world.rules
    assert isinstance(beat, int)
    left = next((left for each, left in node.tries if each == beat), 0)
    if (is_read and not rules.own_attempt) or (not is_read and not rules.from_start):
        left = world.bounds.work[index]
    if not is_read and not node.proved:
        return
    node.last = beat
    node.tries = tuple(each for each in node.tries if each[0] != beat)
    node.until = max(node.until, left)


def changed(world: World, node: Node, identity: int) -> None:
    """Take note that the engine is another one."""
    rules, index = world.rules, world.nodes.index(node)
    is_first = node.identity is None
    node.identity = identity
    if is_first and not rules.joiner_waits:
        return
    if rules.quarantine:
        longest = max(node.longest, world.ttl(index)) if rules.longest_ttl else world.ttl(index)
        node.wait = longest + 1
    if rules.identity_anew:
        node.seen = ()
        node.view = None
    if not is_first:
        node.proved = not rules.read_back
        node.anew = True
        node.claimed = node.work


def see(  # noqa: PLR0917 - what an answer has shown
    world: World,
    request: Request,
    leases: tuple[Record, ...],
    rows: tuple[tuple[int | None, int], ...],
    identity: int,
    clock: int,
) -> None:
    """Let a node hear what the engine held."""
    index, rules = request.node, world.rules
    node = world.nodes[index]
    assert node.life is not None
    if identity != node.identity:
        changed(world, node, identity)
    mine = leases[node.life]
    is_tried = any(beat == mine for beat, _ in node.tries)
    is_lost = mine in (None, TOMBSTONE) or any(
        token is not None and (node.life, token) != row
        for token, row in zip(node.work, rows, strict=True)
    )
    if is_lost and (node.proved or rules.read_back):
        if mine is None and rules.empty_is_change:
            changed(world, node, identity)
        node.end_life()
        return
    node.proved = True
    if is_tried:
        count(world, index, mine, is_read=True)
    node.last = mine
    node.view, node.ms = rows, clock if world.bounds.is_timed else 0
    before = {life: (record, left) for life, record, left in node.seen}
    seen: list[tuple[int, Record, int]] = []
    for life, record in enumerate(leases):
        if life == node.life:
            continue
        owns = any(owner == life for owner, _ in rows)
        if record is None and not (owns and rules.missing_is_record):
            continue
        theirs = world.ttl(_node_of(world, life))
        node.longest = max(node.longest, theirs)
        ttl = max(world.ttl(index), theirs) if rules.longer_ttl else world.ttl(index)
        watch = ttl if rules.whole_ttl else ttl - 2
        if not rules.from_answer:
            watch = max(watch - request.age, 0)
        if life in before and (before[life][0] == record or not rules.restarts):
            watch = before[life][1]
        seen.append((life, record, 0 if record == TOMBSTONE else watch))
    node.seen = tuple(seen)


def _node_of(world: World, life: int) -> int:
    return world.homes[life]


# -- what happens to nodes -------------------------------------------------------------------


def join(world: World, index: int) -> None:
    """A new life, which creates its record and looks."""
    node = world.nodes[index]
    life = world.lives
    if not world.rules.new_life and index in world.homes:
        life = world.homes.index(index)
    else:
        world.lives += 1
        world.homes += (index,)
    is_empty = all(record is None for record in world.leases) and all(
        row == FREE for row in world.rows
    )
    node.life = life
    node.last = world.unused_beat(life)
    world.leases[life] = node.last
    node.until = world.bounds.work[index]
    node.proved = True
    if node.identity != world.identity or (is_empty and world.rules.empty_is_change):
        changed(world, node, world.identity)
        node.proved = True
    see(
        world,
        Request(index, life, "look"),
        tuple(world.leases),
        tuple(world.rows),
        world.identity,
        world.clock,
    )


def start(world: World, index: int, row: int, token: int | None = None) -> None:
    node = world.nodes[index]
    if token is None:
        assert node.view is not None
        token = node.view[row][1]
    who, highest = world.worked[row]
    if token < highest or (token == highest and who != node.life):
        world.broken = f"a token of row {row} has not risen"
    world.worked[row] = (node.life, token)
    node.work = _with(node.work, row, token)
    node.claimed = _with(node.claimed, row, token)


def cut(world: World, index: int) -> None:
    world.spend("cut")
    world.nodes[index].cut = True


def connect(world: World, index: int) -> None:
    world.nodes[index].cut = False


def hold(world: World, index: int) -> None:
    world.spend("hold")
    world.nodes[index].held = True


def resume(world: World, index: int) -> None:
    node = world.nodes[index]
    node.held = False
    if node.until == 0:
        bury_life(world, index)


def kill(world: World, index: int) -> None:
    world.spend("kill")
    die(world, index)


def die(world: World, index: int) -> None:
    is_cut = world.nodes[index].cut  # the wire is, not the process
    world.nodes[index] = Node(world.bounds.rows)
    world.nodes[index].cut = is_cut
    forget(world, index)


def bury_life(world: World, index: int) -> None:
    world.nodes[index].end_life()
    forget(world, index)


def forget(world: World, index: int) -> None:
    """Let nobody wait for what the node has asked."""
    world.net = [each._replace(node=-1) if each.node == index else each for each in world.net]
    world.net = [each for each in world.net if each.node >= 0 or _matters(each)]


def step(world: World, index: int) -> None:
    world.spend("step")
    node = world.nodes[index]
    node.seen = tuple((life, record, 0) for life, record, _ in node.seen)


def save(world: World) -> None:
    world.saved = tuple(world.leases), tuple(world.rows)


def revert(world: World) -> None:
    world.spend("revert")
    assert world.saved is not None
    world.leases, world.rows = list(world.saved[0]), list(world.saved[1])
    world.saved = None
    world.identity += 1


def empty(world: World) -> None:
    world.spend("empty")
    world.leases = [None] * len(world.leases)
    world.rows = [FREE] * len(world.rows)


def tick(world: World, *eager: int) -> None:
    """Let time pass, and deadlines be kept; then let those nodes do what they do by themselves."""
    rules = world.rules
    if world.bounds.is_timed:
        world.clock += 1
    for index, node in enumerate(world.nodes):
        node.wait = max(node.wait - 1, 0)
        node.seen = tuple((life, record, max(left - 1, 0)) for life, record, left in node.seen)
        node.tries = tuple((beat, left - 1) for beat, left in node.tries if left > 1)
        if node.life is None:
            continue
        node.until = max(node.until - 1, 0)
        if node.until == 0:
            if node.held:
                if rules.kernel:
                    die(world, index)
            elif not rules.deadline:
                pass
            elif rules.over_is_over:
                bury_life(world, index)
            else:
                node.work = (None,) * len(node.work)
    if not rules.from_answer:
        world.net = [
            each._replace(age=min(each.age + 1, 9)) if each.kind == "look" else each
            for each in world.net
        ]
    for index in eager:
        node = world.nodes[index]
        if node.life is None:
            if world.lives < world.bounds.lives:
                join(world, index)
            continue
        looks = any(each.node == index and each.kind == "look" for each in world.net)
        if (renewal := renewal_of(world, index)) is not None:
            ask(world, renewal)
        if not looks and world.nodes[index].life is not None:
            ask(world, Request(index, node.life, "look"))
    world.squeeze()


def _with(row: tuple[int | None, ...], at: int, value: int | None) -> tuple[int | None, ...]:
    return (*row[:at], value, *row[at + 1 :])


def _first(each: tuple[int, Record, int]) -> int:
    return each[0]

"""Events that must not be lost: published to be kept, and read by groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sprag.owned.bus import PREFIX, name_of_event
from sprag.services.acquiring import check, context_for, may_hold
from sprag_supervisor import (
    Node,
    as_count,
    checked_name,
    clock,
    is_a,
    must_be_able_to_wait,
    not_active,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.services.subscribing import Subscription


class Publishing(Node):
    """The part of a service that publishes events, and subscribes to them."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    def publish(self, event: str, data: Any = None, *, event_id: str | None = None) -> str:
        """Have *event* kept until each group that subscribes to it has handled it; return its id.

        Blocks until the engine has it: of the `Cluster`, of the parent of workers, or in the memory
        of a process that is alone. It is heard by those that `subscribe`, not by those that
        `listen`. Works in every state, as `emit` does.

        Args:
            event: Any name that does not begin with ``sprag:``, of 200 characters at most.
            data: What JSON can hold, 60,000 bytes at most, as for `broadcast`.
            event_id: What tells it from all others; default: random. Who publishes again what may
                have been kept gives the same.

        Raises:
            EngineAway: It is not known to be kept: it may be. Publish it again.
            EngineFull: It is not kept: there are too many kinds of events already.
            NotRunning: I have no place in a tree.
            BadValue: An argument is none of these.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        from sprag.cluster.groups import LONGEST, message_of  # who publishes nothing loads nothing
        from sprag.cluster.member import member_of
        from sprag.cluster.plain_data import as_json
        from sprag.services.subscribing import topic_of

        name, text = _checked_event(event, LONGEST), as_json(data)
        if event_id is None:
            event_id = os.urandom(16).hex()
        elif not is_a(event_id, str) or not 0 < len(event_id) <= LONGEST:
            raise BadValue("event_id", event_id, f"a text of 1 to {LONGEST} characters")
        tree = self._tree_
        if tree is None:
            raise not_active(self, "publish")
        must_be_able_to_wait(self, "publish an event")
        member = member_of(tree)
        message = message_of(event_id, name, clock.wall(), text)
        member.engine.publish(topic_of(member, name), message)
        return event_id

    def subscribe(
        self,
        event: str,
        fn: Callable[[Any], object],
        *,
        group: str,
        retries: int | None = None,
    ) -> Subscription:
        """Call ``fn(data)`` for each *event* that is published, until I end: for my *group*.

        At least once: of all subscribers of a group, on all nodes, one reads at a time, in the
        order of publication; how far the group has read is kept in the engine, so nothing is lost
        while none of it runs. A group begins with its first subscription ever. An event may come
        again, where a reader was killed, or its engine was away: `current_event` has its ``id``.

        An exception is my crash, which counts against the event, not toward my parent's limit: it
        comes again, after a pause that grows to 15 seconds, and those behind it wait. A stop waits
        for the event in hand. Blocks to see how far the group is; if the engine is away it begins
        when that is back.

        Args:
            event: The name it is published under.
            fn: May block. It runs in a greenlet of mine.
            group: Whose work it is, in all nodes; without a slash. Each group hears each event.
            retries: How often an event is tried again that has crashed who heard it; then it is
                poison: put aside, and logged as an error. None: until it is well.

        Returns:
            A handle with ``cancel()``, ``active``, ``reads``, ``heard``, ``missed`` and ``poison``.

        Raises:
            NotRunning: I neither start, run nor drain.
            BadValue: An argument is none of these.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        from sprag.cluster.groups import LONGEST
        from sprag.cluster.member import member_of
        from sprag.services.subscribing import Subscription

        check(fn)
        name = _checked_event(event, LONGEST)
        whose = checked_name(group)
        if len(whose) > LONGEST:
            raise BadValue("group", group, f"a name of {LONGEST} characters at most")
        tries = None if retries is None else as_count(retries)
        if tries is not None and tries < 0:
            raise BadValue("retries", retries, "a whole number, 0 or more, or None")
        may_hold(self, "subscribe")
        must_be_able_to_wait(self, "subscribe to an event")
        tree = self._tree_
        assert tree is not None
        member = member_of(tree)
        found = Subscription(self, context_for(self), member, name, fn, whose, tries)
        found.begin()
        return found


def _checked_event(given: object, longest: int) -> str:
    name = name_of_event(given)
    if name.startswith(PREFIX):
        raise BadValue("event", name, f"another name: {PREFIX}… is told by sprag alone")
    if not 0 < len(name) <= longest:
        raise BadValue("event", name, f"a name of 1 to {longest} characters")
    return name

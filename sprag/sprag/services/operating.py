"""What one does with a service that runs: hold it, to look at it in peace."""

from __future__ import annotations

from sprag_supervisor import (
    Hold,
    Node,
    Seconds,
    hold_exits,
    hook,
    must_be_able_to_wait,
    path_of,
    release_exits,
    seconds_of,
)


class Operating(Node):
    """The part of a service that is there for who operates it."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    @hook
    def on_inspect(self) -> object:
        """Hook: what there is to be shown of me, for ``sprag inspect``. Return a dict.

        Runs while I run, as a task of mine, for at most as many seconds as who asks will wait;
        an exception is told to who asks and is no crash. Without it my attributes are shown.
        Values are shown as in ``sprag status``: numbers, short texts and what is in lists and
        dicts, all else as its class; what looks like a secret is not.
        """
        return None

    def hold_exits(self, seconds: Seconds | None = None) -> Hold:
        """Let my exits, and those of all below me, wait undecided: for who debugs.

        Whoever is down or goes down stays ``restarting``, and no sibling is stopped or started for
        it; probes and heartbeats pause. I am not ready meanwhile. Stops and starts on purpose
        work. A restart of several, because a sibling has crashed, leaves me out. What is held is my
        path: what takes my place is held, too, and it ends with the tree. To hold me again gives
        the hold a new time. Blocks no longer than others need their turn.

        Args:
            seconds: After so many it is released by itself; None: when somebody does it, with
                `release_exits` or ``sprag release``.

        Returns:
            What holds me, frozen.

        Raises:
            NotRunning: I have no place in a tree that lives.
            BadValue: *seconds* is less than a millisecond or no time, or 100 paths of the tree are
                held already.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        within = None if seconds is None else seconds_of("seconds", seconds, also=", or None")
        return hold_exits(self, within)

    def release_exits(self) -> Hold | None:
        """Hold me no longer: what has waited is decided, in order, a moment later.

        Each exit counts at the time at which it happened, so a restart limit is not met by what
        has waited for long. What is held above or below me stays so. Does not block.

        Returns:
            What has held me; None: nothing has, or only what is above me.

        Raises:
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        must_be_able_to_wait(self, "release it")
        tree = self._tree_
        return None if tree is None else release_exits(tree, path_of(self))

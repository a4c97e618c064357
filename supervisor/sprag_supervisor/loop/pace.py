"""Long work in short steps: the engine, too, lets timers and sockets have their turn.

``gevent.sleep(0)`` does not: gevent comes back from it at once, and looks at timers and sockets
only after fifty callbacks. With 10 ms of a user's code in between that is half a second.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from gevent import get_hub, getcurrent

from sprag_supervisor.loop import clock
from sprag_supervisor.loop.parking import Parking

if TYPE_CHECKING:
    from gevent.hub import Hub

HOLD: Final = 0.005
"""Seconds for which such work may hold the loop at a time."""
_FIRST: Final = 8
_LARGEST: Final = 8
_AT_LAST: Final = 0.1
"""Seconds after which a gate opens whose timer was cut short before it could start again."""
_CALLBACKS: Final = 50
"""After so many callbacks the loop asks whether it has run them for long enough."""


def let_others_run() -> None:
    """Let all run that can: greenlets, and what timers and sockets have for them.

    A timer alone would wait for fifty turns of any greenlet that is always ready. So the loop is
    given as many callbacks as make it look.
    """
    hub: Any = get_hub()
    fillers = _fillers.get(hub)
    if fillers is None or fillers.loop is not hub.loop:  # a forked child has made a new one
        fillers = _fillers[hub] = _Fillers(hub.loop)
    fillers.fill()
    with hub.loop.timer(0) as turn:
        hub.wait(turn)


class _Fillers:
    """Callbacks that do nothing but make a loop look; never more than that takes.

    Else, where many pace themselves, each would put fifty before whoever comes next, and the loop
    runs no more than fifty in a turn that has lasted: newcomers would wait for ever.
    """

    __slots__ = ("_there", "loop")

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self._there = 0

    def fill(self) -> None:
        """See to it that there are enough."""
        while self._there < _CALLBACKS:
            self.loop.run_callback(self._run)
            self._there += 1

    def _run(self) -> None:
        self._there -= 1


_fillers: Final[WeakKeyDictionary[Any, _Fillers]] = WeakKeyDictionary()
"""By hub."""


class Pace:
    """Called between the steps of long work: lets others run when it has held the loop enough.

    Args:
        hold: Seconds that are enough.
        began: Monotonic time at which the work has begun; None: now.
    """

    __slots__ = ("_held_since", "_hold")

    def __init__(self, hold: float = HOLD, *, began: float | None = None) -> None:
        self._hold = hold
        self._held_since = clock.now() if began is None else began

    def __call__(self) -> None:
        """Let others run, if it is time. Others may have changed anything meanwhile."""
        if clock.now() - self._held_since > self._hold:
            let_others_run()
            self._held_since = clock.now()


class Batches:
    """Called after each of many pieces of work is launched: lets them run, a few at a time.

    Else the loop would run fifty of them before it looks at timers. How many are a few is found
    out: only one, if they hold the loop too long.
    """

    __slots__ = ("_launched", "_size")

    def __init__(self) -> None:
        self._launched = 0
        self._size = _FIRST

    def __call__(self) -> bool:
        """Let what was launched run, if it is enough for one turn of the loop."""
        self._launched += 1
        if self._launched < self._size:
            return False
        self._launched = 0
        began = clock.now()
        let_others_run()
        took = clock.now() - began
        self._size = 1 if took > HOLD else min(self._size * 2, _LARGEST)
        return True


class Gate:
    """Where greenlets that have crashed wait, as they are too many for one turn of the loop.

    gevent wakes all that wait for one event in one callback, be they ten thousand, and runs what
    they do next one after another: the loop looks at nothing meanwhile, and whoever is woken then
    comes behind them. So they go on from a timer, for `HOLD` at a time, in the order in which they
    came, and between the loop looks at everything else.
    """

    __slots__ = ("_hub", "_net", "_timer", "waiting")

    def __init__(self, hub: Hub) -> None:
        self._hub: Any = hub
        self._timer: Any = None
        self._net: Any = None
        self.waiting: OrderedDict[Parking, None] = OrderedDict()
        """Who waits; while there are any, whoever comes waits behind them."""

    def wait(self, *, first: bool = False) -> None:
        """Wait for one's turn; in the hub, where nothing can wait, not.

        Who is to be the *first* goes on in the next turn of the loop. What is thrown into the
        waiting greenlet passes through.
        """
        if getcurrent() is self._hub or get_hub() is not self._hub:
            return
        parking = Parking()
        try:
            self.waiting[parking] = None
            if first:
                self.waiting.move_to_end(parking, last=False)
            if self._timer is None:
                self._timer = self._hub.loop.timer(0.0)
            if not self._timer.active:
                self._timer.start(self._let_on)
            if self._net is None:
                self._net = self._hub.loop.timer(_AT_LAST, _AT_LAST)
                self._net.start(self._let_on)
            parking.park()
        finally:
            self._leave(parking)

    def _leave(self, parking: Parking) -> None:
        self.waiting.pop(parking, None)
        if not self.waiting:
            for timer in (self._timer, self._net):
                if timer is not None:
                    timer.close()
            self._timer = self._net = None

    def _let_on(self) -> None:
        self._timer.start(self._let_on)  # first: a signal handler may cut short what follows
        began = clock.now()
        while self.waiting:
            parking = next(iter(self.waiting))
            greenlet: Any = parking.greenlet
            if greenlet is not None:
                greenlet.switch()
            self._leave(parking)  # who was cut short before it waited does not
            if clock.now() - began > HOLD:
                break

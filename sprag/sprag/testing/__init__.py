"""Tools for testing programs built on sprag.

`virtual_time` runs a block on a loop whose time takes no time; `LeakCheck` finds what a block
has left behind.
"""

from sprag.testing._leaks import LeakCheck
from sprag.testing._loop import VirtualLoop
from sprag.testing._virtual_time import VirtualClock, virtual_time

__all__ = ["LeakCheck", "VirtualClock", "VirtualLoop", "virtual_time"]

"""What the library and the command line both go by: defaults of a run, bounds of a measurement.

The command line's help loads no gevent, so this module imports nothing else of the library.
"""

from __future__ import annotations

from typing import Final

SHUTDOWN_TIMEOUT: Final = 30.0
"""Seconds for the whole stop of an app."""
LEAST: Final = 0.001
"""Seconds: the least time that is accepted where 0 means nothing; the engine's own."""
RELOAD_TIMEOUT: Final = 30.0
"""Seconds for a reload of all that is asked for, one after another."""
HOST: Final = "127.0.0.1"
PORT: Final = 8000

SORTS: Final = ("cpu", "events", "ticks", "greenlets", "timers", "restarts", "rss", "path")
"""What the rows of a measurement can be sorted by."""
MOST_ROWS: Final = 1000
"""Rows that it has at most."""
LONGEST_LOOK: Final = 60
"""Seconds that it takes at most."""

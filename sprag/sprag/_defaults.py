"""Defaults of a run, for the library and for the command line's help, which loads no gevent."""

from __future__ import annotations

from typing import Final

SHUTDOWN_TIMEOUT: Final = 30.0
"""Seconds for the whole stop of an app."""
HOST: Final = "127.0.0.1"
PORT: Final = 8000

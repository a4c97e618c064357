"""All errors of sprag; each is a `SpragError` and carries the facts as attributes."""

from sprag_supervisor.exceptions import *  # noqa: F403
from sprag_supervisor.exceptions import __all__ as __all__  # noqa: PLC0414 - re-exported

"""Supervision trees for gevent, after Erlang/OTP."""

from sprag._app import App
from sprag._dynamic import DynamicSupervisor
from sprag._json import to_json
from sprag._ownership import own_greenlets
from sprag._service import Service, current_service
from sprag._supervisor import Supervisor
from sprag.exceptions import Ignore, SpragError, StartFailed
from sprag_supervisor import (
    Backoff,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    Exit,
    Lifecycle,
    Snapshot,
    State,
    StopReport,
)

__version__ = "0.1.0"

__all__ = [
    "App",
    "Backoff",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "DynamicSupervisor",
    "Exit",
    "Ignore",
    "Lifecycle",
    "Service",
    "Snapshot",
    "SpragError",
    "StartFailed",
    "State",
    "StopReport",
    "Supervisor",
    "__version__",
    "current_service",
    "own_greenlets",
    "to_json",
]

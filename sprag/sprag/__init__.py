"""Supervision trees for gevent, after Erlang/OTP."""

from typing import TYPE_CHECKING

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
    Failure,
    Lifecycle,
    Outcome,
    Policy,
    Reason,
    Snapshot,
    State,
    StopEntry,
    StopReport,
    Straggler,
)

if TYPE_CHECKING:
    from sprag.web import Controller, HTTPError, Limits, Page, redirect, shell

__version__ = "0.1.0"

__all__ = [
    "App",
    "Backoff",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "Controller",
    "DynamicSupervisor",
    "Exit",
    "Failure",
    "HTTPError",
    "Ignore",
    "Lifecycle",
    "Limits",
    "Outcome",
    "Page",
    "Policy",
    "Reason",
    "Service",
    "Snapshot",
    "SpragError",
    "StartFailed",
    "State",
    "StopEntry",
    "StopReport",
    "Straggler",
    "Supervisor",
    "__version__",
    "current_service",
    "own_greenlets",
    "redirect",
    "shell",
    "to_json",
]


def __getattr__(name: str) -> object:
    """Load the web part when it is first asked for: most trees serve no pages."""
    if name in ("Controller", "HTTPError", "Limits", "Page", "redirect", "shell"):
        from sprag import web

        found: object = getattr(web, name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'sprag' has no attribute {name!r}")

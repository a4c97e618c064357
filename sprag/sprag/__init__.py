"""Supervision trees for gevent, after Erlang/OTP.

What is public is loaded when it is first asked for: the command line reads exit codes and defaults
without waiting for gevent, and most trees serve no pages.
"""

from sprag._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sprag import exceptions as exceptions
    from sprag.cluster.claim import Lease
    from sprag.cluster.cluster import Cluster
    from sprag.cluster.groups import Event
    from sprag.control.pictures import to_json
    from sprag.exceptions import Ignore, SpragError, StartFailed
    from sprag.owned.tasks import Task
    from sprag.process.ownership import own_greenlets
    from sprag.programs.program import Program
    from sprag.services.app import App
    from sprag.services.crashes import Crash
    from sprag.services.dynamic import DynamicSupervisor
    from sprag.services.pool import WorkerPool
    from sprag.services.reloading import ReloadEntry, ReloadReport
    from sprag.services.service import Service, current_service
    from sprag.services.sharded import Owner, Sharded
    from sprag.services.singleton import Singleton
    from sprag.services.subscribing import Subscription, current_event
    from sprag.services.supervisor import Supervisor
    from sprag.services.worker import Worker
    from sprag.web import Controller, HTTPError, Limits, Page, redirect, shell
    from sprag_supervisor import (
        Backoff,
        ChildCounts,
        ChildInfo,
        ChildSpec,
        Exit,
        ExitApp,
        Failure,
        Lifecycle,
        Move,
        Outcome,
        Policy,
        Reason,
        Snapshot,
        State,
        StopEntry,
        StopReport,
        Straggler,
    )

__all__ = [
    "App",
    "Backoff",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "Cluster",
    "Controller",
    "Crash",
    "DynamicSupervisor",
    "Event",
    "Exit",
    "ExitApp",
    "Failure",
    "HTTPError",
    "Ignore",
    "Lease",
    "Lifecycle",
    "Limits",
    "Move",
    "Outcome",
    "Owner",
    "Page",
    "Policy",
    "Program",
    "Reason",
    "ReloadEntry",
    "ReloadReport",
    "Service",
    "Sharded",
    "Singleton",
    "Snapshot",
    "SpragError",
    "StartFailed",
    "State",
    "StopEntry",
    "StopReport",
    "Straggler",
    "Subscription",
    "Supervisor",
    "Task",
    "Worker",
    "WorkerPool",
    "__version__",
    "current_event",
    "current_service",
    "own_greenlets",
    "redirect",
    "shell",
    "to_json",
]


_HOMES = {
    "sprag.cluster.claim": ("Lease",),
    "sprag.cluster.cluster": ("Cluster",),
    "sprag.cluster.groups": ("Event",),
    "sprag.services.app": ("App",),
    "sprag.services.crashes": ("Crash",),
    "sprag.services.dynamic": ("DynamicSupervisor",),
    "sprag.control.pictures": ("to_json",),
    "sprag.owned.tasks": ("Task",),
    "sprag.process.ownership": ("own_greenlets",),
    "sprag.programs.program": ("Program",),
    "sprag.services.pool": ("WorkerPool",),
    "sprag.services.reloading": ("ReloadEntry", "ReloadReport"),
    "sprag.services.service": ("Service", "current_service"),
    "sprag.services.sharded": ("Owner", "Sharded"),
    "sprag.services.singleton": ("Singleton",),
    "sprag.services.subscribing": ("Subscription", "current_event"),
    "sprag.services.supervisor": ("Supervisor",),
    "sprag.services.worker": ("Worker",),
    "sprag.exceptions": ("Ignore", "SpragError", "StartFailed"),
    "sprag.web": ("Controller", "HTTPError", "Limits", "Page", "redirect", "shell"),
}
"""Where names are at home that the engine does not have."""


if not TYPE_CHECKING:  # a checker would take any name for one that is there

    def __getattr__(name: str) -> object:
        """Load what is public."""
        from importlib import import_module

        if name == "exceptions":
            return import_module("sprag.exceptions")
        if name not in __all__:
            raise AttributeError(f"module 'sprag' has no attribute {name!r}")
        homes = (home for home, names in _HOMES.items() if name in names)
        found: object = getattr(import_module(next(homes, "sprag_supervisor")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

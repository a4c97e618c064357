"""Errors: what they say, what they carry, and that they travel."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from sprag import exceptions
from sprag.exceptions import (
    AfterFork,
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    BadEngine,
    BadPolicy,
    BadSocket,
    BadValue,
    CalledInHub,
    CannotListen,
    ChildRestarting,
    ChildRunning,
    EngineAway,
    EngineError,
    EngineFull,
    Escalated,
    Ignore,
    MaxChildren,
    MaxRestartsExceeded,
    MissingClient,
    NewerSchema,
    NoSocket,
    NoThread,
    NotRunning,
    OtherPartitions,
    PoisonItem,
    ProbeFailed,
    QueueFull,
    SpragError,
    StartAborted,
    StartFailed,
    StartTimeout,
    TaskCancelled,
    TaskTimeout,
    TriesExceeded,
    UnknownChild,
    UnknownService,
    Unresponsive,
    WouldDeadlock,
    WrongKind,
    WrongThread,
)

EXAMPLES: list[tuple[SpragError, dict[str, Any], str]] = [
    (
        BadPolicy("restart", "never", "'permanent'"),
        {"keyword": "restart", "given": "never", "accepted": "'permanent'"},
        "policy restart='never' is not accepted: use 'permanent'",
    ),
    (
        BadPolicy("restrat", "never", "'restart'", is_known=False),
        {"keyword": "restrat", "given": "never", "accepted": "'restart'"},
        "unknown policy keyword 'restrat': use 'restart'",
    ),
    (
        BadValue("seconds", -1, "a number, 0 or more"),
        {"argument": "seconds", "given": -1, "accepted": "a number, 0 or more"},
        "seconds=-1 is not accepted: use a number, 0 or more",
    ),
    (
        NotRunning("app/a", "new", "listen", "start it first"),
        {"path": "app/a", "state": "new", "action": "listen", "remedy": "start it first"},
        "app/a is new: cannot listen; start it first",
    ),
    (
        StartFailed("app/a", "OSError: no"),
        {"path": "app/a", "reason": "OSError: no"},
        "app/a failed to start: OSError: no",
    ),
    (
        StartTimeout(2.5),
        {"seconds": 2.5},
        "on_start did not return within 2.5 s (start_timeout)",
    ),
    (Unresponsive(2.5), {"seconds": 2.5}, "no beat() within 2.5 s (heartbeat)"),
    (
        StartAborted("its parent is stopping"),
        {"why": "its parent is stopping"},
        "on_start was aborted: its parent is stopping",
    ),
    (Ignore("not here"), {"why": "not here"}, "not here"),
    (Ignore(), {"why": "ignored"}, "ignored"),
    (
        MaxRestartsExceeded("app", "a", 3, 5.0, "OSError: no"),
        {
            "path": "app",
            "child": "a",
            "max_restarts": 3,
            "max_seconds": 5.0,
            "last": "OSError: no",
        },
        "app gave up: more than 3 restarts within 5 s, the last for a (OSError: no)",
    ),
    (
        Escalated("app", "a", "OSError: no"),
        {"path": "app", "child": "a", "last": "OSError: no"},
        "app gave up: the failure of a is to be escalated (OSError: no)",
    ),
    (
        BadSocket("LISTEN_FDS=2", 4, "is no socket", "pass one that listens"),
        {"said": "LISTEN_FDS=2", "number": 4, "problem": "is no socket"},
        "LISTEN_FDS=2: descriptor 4 is no socket — pass one that listens",
    ),
    (
        BadSocket("LISTEN_FDS=x", None, "is no number", "leave it out"),
        {"number": None, "remedy": "leave it out"},
        "LISTEN_FDS=x is no number — leave it out",
    ),
    (
        CannotListen("127.0.0.1:80", "permission denied", "use a port from 1024 on"),
        {"address": "127.0.0.1:80", "reason": "permission denied"},
        "cannot listen on 127.0.0.1:80: permission denied — use a port from 1024 on",
    ),
    (
        NoThread("can't start new thread"),
        {"reason": "can't start new thread"},
        (
            "no native thread can be started: can't start new thread — raise the user's limit "
            "(ulimit -u) or the container's (pids.max)"
        ),
    ),
    (
        EngineAway("redis://db:6379", "no answer within 1.5 s"),
        {"engine": "redis://db:6379", "why": "no answer within 1.5 s"},
        "the engine at redis://db:6379 is away: no answer within 1.5 s",
    ),
    (
        BadEngine("redis://db:6379", "belongs to a Redis Cluster", "use one that stands alone"),
        {"engine": "redis://db:6379", "remedy": "use one that stands alone"},
        "the engine at redis://db:6379 belongs to a Redis Cluster: use one that stands alone",
    ),
    (
        EngineFull("bytes in one value", 65536),
        {"what": "bytes in one value", "most": 65536},
        "the engine takes no more bytes in one value: 65536 at most",
    ),
    (
        MissingClient("redis://", "redis"),
        {"engine": "redis://", "module": "redis"},
        (
            "redis:// needs the extra 'cluster' of sprag (redis is not installed): "
            "pip install 'sprag-otp[cluster]'"
        ),
    ),
    (
        OtherPartitions("carts", 64, 32, "n1, n2"),
        {"name": "carts", "given": 64, "found": 32, "where": "n1, n2"},
        (
            "carts has partitions=64 here and 32 in n1, n2: give it as many, or stop it "
            "everywhere before it gets others"
        ),
    ),
    (
        NewerSchema("carts", 1, 2),
        {"name": "carts", "known": 1, "found": 2},
        (
            "what is kept of carts has schema 2, and this version of sprag knows no other than "
            "1: bring it up to date here"
        ),
    ),
    (
        NoSocket("fed", ("feed", "web")),
        {"name": "fed", "names": ("feed", "web")},
        (
            "no socket 'fed': use 'feed', 'web' (did you mean 'feed'?), or pass it with "
            "--bind fed=HOST:PORT, or FileDescriptorName=fed of systemd"
        ),
    ),
    (
        ProbeFailed("ping", 3, "OSError: no"),
        {"probe": "ping", "failures": 3, "last": "OSError: no"},
        "the probe ping has failed 3 times in a row, the last: OSError: no",
    ),
    (
        QueueFull("app/a", 9),
        {"path": "app/a", "queue": 9},
        "app/a: 9 items wait, its queue is full: submit it later",
    ),
    (
        PoisonItem("app/a", 2, "OSError: no"),
        {"path": "app/a", "crashes": 2, "last": "OSError: no"},
        "app/a: an item has crashed 2 workers, the last with OSError: no",
    ),
    (
        TaskTimeout("app/a", "load", 2.0),
        {"path": "app/a", "task": "load", "seconds": 2.0},
        "app/a: load was not done within 2 s",
    ),
    (
        TaskCancelled("app/a", "load", "cancel() was called"),
        {"path": "app/a", "task": "load", "why": "cancel() was called"},
        "app/a: load has no result: cancel() was called",
    ),
    (
        TriesExceeded("app", "a", 3, "OSError: no"),
        {"path": "app", "child": "a", "tries": 3, "last": "OSError: no"},
        "app gave up: a was tried 3 times in a row (OSError: no)",
    ),
    (
        CalledInHub("app/a", "start it"),
        {"path": "app/a", "action": "start it"},
        (
            "app/a: cannot start it in the hub, in a callback of the loop or a signal handler, "
            "where nothing can wait: do it in a greenlet, gevent.spawn(fn)"
        ),
    ),
    (
        EngineError("stop"),
        {"step": "stop"},
        "a bug in sprag (stop): please report it, with this traceback",
    ),
    (
        WrongThread("app/a"),
        {"path": "app/a"},
        (
            "app/a belongs to the thread that started its tree: "
            "hand the work over to it with call_from_thread(fn, *args)"
        ),
    ),
    (
        AfterFork("app/a", 4711),
        {"path": "app/a", "process": 4711},
        (
            "app/a runs in process 4711, of which this one is a forked copy: "
            "no service runs here; make new ones, or fork before the tree is started"
        ),
    ),
    (
        MaxChildren("app", 10),
        {"path": "app", "max_children": 10},
        "app has 10 children, its max_children: stop one first",
    ),
    (
        AlreadyAdopted("app/a", "stopped"),
        {"path": "app/a", "state": "stopped"},
        (
            "app/a already has a place in a tree (stopped): make another instance, or start it "
            "where it is; a Supervisor lets go of it with delete_child(), any parent when it is "
            "adopted with restart='temporary' and stops"
        ),
    ),
    (
        AlreadyAdopted("app/a"),
        {"path": "app/a", "state": "running"},
        "app/a already has a place in a tree (running): make another instance",
    ),
    (
        AlreadyAdopted("app"),
        {"path": "app", "state": "running"},
        "app already has a place in a tree (running): make another instance, or stop this one",
    ),
    (
        AlreadyStarted("app/a", "stopping"),
        {"path": "app/a", "state": "stopping"},
        (
            "app/a is still stopping: start it when it is down, "
            "from a greenlet that does not end with it"
        ),
    ),
    (
        AlreadyStarted("app/a"),
        {"path": "app/a", "state": "running"},
        "app/a is already started: stop it first, or choose another name",
    ),
    (
        AlreadyPresent("app/a", "stopped"),
        {"path": "app/a", "state": "stopped"},
        "app/a is already there (stopped): start it again, or choose another name",
    ),
    (
        ChildRunning("app/a"),
        {"path": "app/a", "state": "running"},
        "app/a is running: stop it first",
    ),
    (
        ChildRunning("app/a", "stopping"),
        {"path": "app/a", "state": "stopping"},
        "app/a is stopping: stop it first",
    ),
    (
        ChildRestarting("app/a"),
        {"path": "app/a"},
        "app/a is being restarted already: wait for it, or stop it first",
    ),
    (
        UnknownChild("app", "feeed", ["feed", "store"]),
        {"parent": "app", "name": "feeed", "names": ("feed", "store")},
        "app has no child 'feeed': use 'feed', 'store' (did you mean 'feed'?)",
    ),
    (
        UnknownChild("app", "a", []),
        {"parent": "app", "name": "a", "names": ()},
        "app has no child 'a': it has no children",
    ),
    (
        UnknownService("metrcs", ["metrics", "mail"]),
        {"name": "metrcs", "names": ("metrics", "mail")},
        "no service 'metrcs': use 'metrics', 'mail' (did you mean 'metrics'?), or a path",
    ),
    (
        UnknownService("x", []),
        {"name": "x", "names": ()},
        "no service 'x': this tree has no providers and no such path",
    ),
    (
        WrongKind("stock", int, str),
        {"name": "stock", "found": int, "kind": str},
        "the service 'stock' is of int, not of str: ask for what it is",
    ),
    (
        WouldDeadlock("app", "adopt a child"),
        {"path": "app", "action": "adopt a child"},
        (
            "cannot adopt a child: app is waiting for the hook that makes this call; "
            "do it from a greenlet of your own: self.spawn(...)"
        ),
    ),
    (
        CalledInHub("app", "start it"),
        {"path": "app", "action": "start it"},
        (
            "app: cannot start it in the hub, in a callback of the loop or a signal handler, "
            "where nothing can wait: do it in a greenlet, gevent.spawn(fn)"
        ),
    ),
]


@pytest.mark.parametrize(("error", "fields", "message"), EXAMPLES)
def test_an_error_carries_its_facts_and_says_them(
    error: SpragError, fields: dict[str, Any], message: str
) -> None:
    assert {name: getattr(error, name) for name in fields} == fields
    assert str(error) == message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", [error for error, _, _ in EXAMPLES])
def test_an_error_can_be_pickled(error: SpragError, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", [error for error, _, _ in EXAMPLES])
def test_an_error_can_be_copied(error: SpragError, copied: Any) -> None:
    twin = copied(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def test_a_note_survives_pickling_and_copying() -> None:
    error = StartFailed("app/a", "OSError: no")
    error.add_note("the disk is full")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["the disk is full"]
    assert copy.copy(error).__notes__ == ["the disk is full"]


def test_every_public_error_has_an_example() -> None:
    shown = {type(error).__name__ for error, _, _ in EXAMPLES}
    assert set(exceptions.__all__) == shown | {"SpragError", "LikelyMistake"}  # a warning


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_public_error_is_an_error_of_sprag(name: str) -> None:
    kind = Warning if name == "LikelyMistake" else SpragError
    assert issubclass(getattr(exceptions, name), kind)

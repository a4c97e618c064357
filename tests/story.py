"""The shop of the guide: one service has failed, one is restarted with two others, one unstable."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

from canned import Canned, iso, live, snapshot

_UP = 532_800.0
_FLEET = "shop/fleet"
_TRACE = """\
Traceback (most recent call last):
  File "/srv/shop/fleet.py", line 41, in run
    self.carrier.hand_over(order)
  File "/srv/shop/carrier.py", line 18, in hand_over
    sock = socket.create_connection(self.address, timeout=2)
  File "/usr/lib/python3.12/socket.py", line 848, in create_connection
    raise exceptions[0]
  File "/usr/lib/python3.12/socket.py", line 833, in create_connection
    sock.connect(sa)
ConnectionRefusedError: [Errno 111] Connection refused
"""


def _group(strategy: str, most: int = 3, seconds: float = 5.0) -> dict[str, Any]:
    policy = {"strategy": strategy, "max_restarts": most, "max_seconds": seconds}
    return {"kind": "supervisor", "class": "Supervisor", "policy": policy}


def _services(now: float, *, sick: bool, sessions: int) -> list[dict[str, Any]]:
    def at(path: str, made: str, **more: Any) -> dict[str, Any]:
        return snapshot(f"shop/{path}", now, **{**more, "class": made})

    def failure(kind: str, message: str, age: float) -> dict[str, Any]:
        return {"type": kind, "message": message, "at": iso(now - age)}

    down = {
        "state": "restarting",
        "ended_at": iso(now - 2),
        "incarnation": 6,
        "restarts": 5,
        "started_at": iso(now - 4),
    }
    along = {**down, "down_because": {"by": "group", "with": f"{_FLEET}/courier"}}
    refused = failure("ConnectionRefusedError", "carrier.internal:8443", 2)
    packed = {"restarts": 2, "incarnation": 3, "started_at": iso(now - 182)}
    grown = {"process": {"pid": 9150}, "restarts": 11, "incarnation": 12}
    if not sick:
        down, along, refused = {"restarts": 5}, {"restarts": 5}, {}
        packed = {"restarts": 2}
        grown = {"process": {"pid": 9150}, "restarts": 11}
    out = [snapshot("shop", now, **{"class": "App", "kind": "supervisor"})]
    out += [at("accepted", "Shelf"), at("packed", "Shelf")]
    out += [at("ledger", "Ledger"), at("metrics", "MetricsService")]
    out.append(at("fleet", "Supervisor", **_group("rest_for_one", 5, 60)))
    out.append(at("fleet/packing", "Supervisor", **_group("one_for_all")))
    out += [at(f"fleet/packing/packer-{n}", "Packer", **packed) for n in (1, 2, 3)]
    courier = {**down, "next_try": 6.2, "last_failure": refused} if sick else down
    out.append(at("fleet/courier", "Courier", **courier))
    out += [at("fleet/tracker", "Tracker", **along), at("fleet/notifier", "Notifier", **along)]
    lost: dict[str, Any] = {"state": "failed", "ended_at": iso(now - 745)}
    lost["last_failure"] = failure("KeyError", "'smtp_host'", 745)
    out.append(at("mailer", "Mailer", **(lost if sick else {})))
    out.append(at("cores", "Supervisor", **_group("one_for_one")))
    for n, names in ((1, ("http", "catalog", "cache")), (2, ("http", "catalog", "cache"))):
        worker = _group("one_for_one")
        out.append(at(f"cores/core-{n}", f"worker process {4717 + n}", **worker))
        out += [at(f"cores/core-{n}/{name}", name.title()) for name in names]
    out.append(at("programs", "Supervisor", **_group("one_for_one", 5, 600)))
    out.append(at("programs/valkey", "Program", process={"pid": 4722}))
    young = {"started_at": iso(now - 72)} if sick else {}
    ended = failure("ProcessEnded", "exit by SIGKILL; it had 2.0 GB", 73)
    thumbnailer = {**grown, **young, "last_failure": ended if sick else None}
    out.append(at("programs/thumbnailer", "Program", **thumbnailer))
    out.append(at("sessions", "Sessions", **_group("one_for_one")))
    out += [at(f"sessions/session-{n}", "Session") for n in range(sessions)]
    out.append(at("intake", "Intake", owned={"greenlets": 38}))
    by_hand = {"down_because": {"by": "operator"}, "ended_at": iso(now - 7300)}
    out.append(at("reports", "Reports", state="stopped", **by_hand))
    out.append(at("import", "Client", state="finished", ended_at=iso(now - 520_000)))
    return out


def _decisions(now: float) -> list[dict[str, Any]]:
    with_ = [f"{_FLEET}/tracker", f"{_FLEET}/notifier"]
    carrier = "ConnectionRefusedError: carrier.internal:8443"
    five = {"of": 5, "window": 60.0}
    ten = {"of": 5, "window": 600.0}
    rows: list[tuple[float, str, str, str, float, list[str], dict[str, Any] | None]] = [
        (9698, "cores/core-2", "exit code 4: the watchdog, loop held 30 s", "restart", 0, [], None),
        (745, "mailer", "KeyError: 'smtp_host'", "keep", 0, [], None),
        (
            638,
            "fleet/courier",
            "ValueError: bad order 88120: x at 19.90",
            "back_off",
            2.0,
            with_,
            {"used": 1, **five},
        ),
        (540, "programs/thumbnailer", "SIGKILL", "restart", 0, [], {"used": 1, **ten}),
        (394, "programs/thumbnailer", "SIGKILL", "restart", 0, [], {"used": 2, **ten}),
        (232, "programs/thumbnailer", "SIGKILL", "restart", 0, [], {"used": 3, **ten}),
        (
            182,
            "fleet/packing/packer-2",
            "UnicodeEncodeError: 'ascii' codec, é in café",
            "restart",
            0,
            [f"{_FLEET}/packing/packer-1", f"{_FLEET}/packing/packer-3"],
            {"used": 1, "of": 3, "window": 5.0},
        ),
        (73, "programs/thumbnailer", "SIGKILL", "restart", 0, [], {"used": 4, **ten}),
        (11, "fleet/courier", carrier, "back_off", 2.1, with_, {"used": 1, **five}),
        (8, "fleet/courier", carrier, "back_off", 4.0, with_, {"used": 2, **five}),
        (2, "fleet/courier", carrier, "back_off", 8.3, with_, {"used": 3, **five}),
    ]
    told: list[dict[str, Any]] = []
    for n, (age, path, error, word, delay, with_there, limit) in enumerate(rows):
        kind, _, message = error.partition(": ")
        told.append(
            {
                "seq": n + 1,
                "at": iso(now - age),
                "supervisor": f"shop/{path}".rpartition("/")[0],
                "path": f"shop/{path}",
                "incarnation": 100 + n
                if "courier" not in path
                else {638: 3, 11: 4, 8: 5, 2: 6}[int(age)],
                "kind": "crashed",
                "error": {"type": kind, "message": message, "at": iso(now - age), "incarnation": 1},
                "rule": {
                    "restart": "permanent",
                    "strategy": "one_for_one",
                    "on_failure": "stop" if word == "keep" else None,
                    "backoff": None,
                },
                "action": word,
                "with": with_there,
                "with_count": len(with_there),
                "limit": limit,
                "delay": delay,
                "next_try": None,
            }
        )
    return told


def _why(now: float) -> dict[str, Any]:
    def ruling(  # noqa: PLR0917 - a table
        age: float, life: int, used: int, delay: float, error: str, trace: str
    ) -> dict[str, Any]:
        kind, _, message = error.partition(": ")
        covered = [f"{_FLEET}/{name}" for name in ("courier", "tracker", "notifier")]
        return {
            "at": iso(now - age),
            "supervisor": _FLEET,
            "child": f"{_FLEET}/courier",
            "incarnation": life,
            "reason": "crashed",
            "failure": {
                "type": kind,
                "message": message,
                "at": iso(now - age),
                "incarnation": life,
            },
            "traceback": trace,
            "decision": "back_off",
            "strategy": "rest_for_one",
            "covered": covered,
            "covered_count": 3,
            "restarts": used,
            "max_restarts": 5,
            "max_seconds": 60.0,
            "delay": delay,
            "is_own": True,
        }

    carrier = "ConnectionRefusedError: carrier.internal:8443"
    first = (
        'Traceback (most recent call last):\n  File "/srv/shop/fleet.py", line 38, in run\n'
        "    order = self.parse(line)\nValueError: bad order 88120: x at 19.90\n"
    )
    rulings = [
        ruling(638, 3, 1, 2.0, "ValueError: bad order 88120: x at 19.90", first),
        ruling(11, 4, 1, 2.1, carrier, _TRACE),
        ruling(8, 5, 2, 4.0, carrier, _TRACE),
        ruling(2, 6, 3, 8.3, carrier, _TRACE),
    ]
    return {
        "path": f"{_FLEET}/courier",
        "state": "restarting",
        "count": 4,
        "rulings": rulings,
        "holds": [],
        "moves": [],
        "asks": [],
        "replacements": [],
    }


def _logs(now: float) -> list[dict[str, Any]]:
    rows: list[tuple[float, str, str, int, dict[str, str]]] = [
        (
            638,
            "error",
            "service crashed",
            3,
            {"step": "run", "exception": "ValueError: bad order 88120: x at 19.90"},
        ),
        (636, "info", "service restarted", 4, {}),
        (12, "info", "delivered", 4, {"order": "88412", "item": "black tea"}),
        (11.5, "info", "delivered", 4, {"order": "88413", "item": "honey"}),
        (11.2, "warning", "carrier is slow", 4, {"seconds": "1.9"}),
        (
            11,
            "error",
            "service crashed",
            4,
            {"step": "run", "exception": "ConnectionRefusedError: [Errno 111] Connection refused"},
        ),
        (11, "info", "service waits before its restart", 4, {"seconds": "2.1"}),
        (9, "info", "service restarted", 5, {}),
        (
            8,
            "error",
            "service crashed",
            5,
            {"step": "run", "exception": "ConnectionRefusedError: [Errno 111] Connection refused"},
        ),
        (8, "info", "service waits before its restart", 5, {"seconds": "4.0"}),
        (4, "info", "service restarted", 6, {}),
        (3, "debug", "connecting", 6, {"address": "carrier.internal:8443", "timeout": "2"}),
        (
            2,
            "error",
            "service crashed",
            6,
            {"step": "run", "exception": "ConnectionRefusedError: [Errno 111] Connection refused"},
        ),
        (2, "info", "service waits before its restart", 6, {"seconds": "8.3"}),
    ]
    told: list[dict[str, Any]] = [
        {
            "kind": "record",
            "path": f"{_FLEET}/courier",
            "at": iso(now - age),
            "level": level,
            "logger": "sprag",
            "event": event,
            "incarnation": life,
            "fields": fields,
        }
        for age, level, event, life, fields in rows
    ]
    return [*told, {"kind": "end", "reason": "that is all"}]


def _service(app: Canned, path: str, now: float) -> dict[str, Any] | None:
    told = next((each for each in app.lines if each.get("path") == path), None)
    if told is None:
        return None
    backoff = {"initial": 2.0, "maximum": 30.0, "factor": 2.0, "jitter": 0.1}
    policy = {
        "restart": "permanent",
        "shutdown": 5.0,
        "start_timeout": None,
        "significant": False,
        "on_failure": {},
        "backoff": backoff if path.endswith("courier") else None,
        "needs": None,
        "heartbeat": None,
        **told["policy"],
    }
    within = {"shop/fleet": 3, "shop/programs": 4}.get(path, 0)
    program = None
    if told["process"]:
        program = {
            "command": "thumbnailer --pool 4 --in /srv/img",
            "port": None,
            "output": [{"stream": "stderr", "line": "pool grows"}],
            "ended": {"code": None, "signal": "SIGKILL", "at": iso(now - 73), "asked": False},
        }
        told = {
            **told,
            "process": {
                **told["process"],
                "rss": 1_910_000_000,
                "descriptors": 41,
                "processes": 1,
                "threads": 9,
                "memory_limit": 2 << 30,
                "descriptors_limit": 1024,
            },
        }
    counters = {"child_restarts_within_window": within, "restarts": told["restarts"]}
    return {
        **told,
        "policy": policy,
        "module": "fleet",
        "counters": counters,
        "program": program,
        "crons": [],
        "probes": [],
        "arguments": {},
    }


def _top(app: Canned, now: float) -> dict[str, Any]:
    shares = {
        "shop": (0.001, 0, 0),
        "shop/ledger": (0.006, 41.8, 4),
        "shop/metrics": (0.004, 20.9, 1),
        "shop/intake": (0.014, 0, 0),
        "shop/sessions": (0.118, 0, 0),
        "shop/cores/core-1": (0.417, 0, 0),
        "shop/cores/core-1/http": (0.224, 318, 0),
        "shop/cores/core-1/catalog": (0.179, 140, 1),
        "shop/cores/core-1/cache": (0.012, 88, 0),
        "shop/cores/core-2": (0.382, 0, 0),
        **{
            f"shop/fleet/packing/packer-{n}": (share, 0, 0)
            for n, share in ((1, 0.031), (2, 0.028), (3, 0.03))
        },
    }
    rows: list[dict[str, Any]] = [
        {
            "path": path,
            "cpu": cpu,
            "events": events,
            "ticks": 0,
            "greenlets": 61 if path.endswith("http") else 1 if "packer" in path else 0,
            "timers": 0,
            "listeners": listeners,
            "restarts": 0,
            "process": None,
        }
        for path, (cpu, events, listeners) in shares.items()
    ]
    for path, pid, cpu, rss in (
        ("shop/programs/valkey", 4722, 0.023, 84e6),
        ("shop/programs/thumbnailer", 9150, 0.964, 1.91e9),
    ):
        rows.append(
            {
                "path": path,
                "cpu": 0,
                "events": 0,
                "ticks": 0,
                "greenlets": 0,
                "timers": 0,
                "listeners": 0,
                "restarts": 0,
                "process": {"pid": pid, "cpu": cpu, "rss": int(rss)},
            }
        )
    return {
        "cpu": {"services": 0.19 + random.random() * 0.05, "others": 0.02, "idle": 0.78},
        "services": rows,
        "greenlets": 9852,
        "count": len(app.lines),
    }


def shop(now: float, *, sick: bool = True, sessions: int = 200) -> Canned:
    """Return the shop, as it is at *now*."""
    app = Canned()
    app.lines = [*_services(now, sick=sick, sessions=sessions)]
    app.lines.append(live(app))
    decisions = _decisions(now)

    def why(path: str, _query: dict[str, str]) -> dict[str, Any]:
        if path.endswith("courier") and sick:
            return _why(now)
        return {"path": path, "state": "running", "count": 0, "rulings": []}

    lives: dict[str, Any] = {}
    ages = {"fleet/courier": (638, 11, 8, 2), "programs/thumbnailer": (540, 394, 232, 73)}
    for name, crashes in ages.items() if sick else ():
        pieces: list[Any] = [[0, 900 - crashes[0], "running", "crashed"]]
        for crash, after in pairwise(crashes):
            pieces.append([900 - crash + 0.5, 900 - after, "running", "crashed"])
        lives[f"shop/{name}"] = pieces
    lags = [0.003 + 0.002 * abs(math.sin(n / 3)) for n in range(60)]
    app.answers = {
        "decisions": lambda _path, _query: {"decisions": decisions if sick else [], "last": 11},
        "history": {"from": iso(now - 900), "step": 60, "restarts_per_minute": [], "lives": lives},
        "loop": [
            {"lag": each, "worst": 0.004, "busy": 0.23, "rss": 800_000_000, "held": None}
            for each in lags
        ],
        "service": lambda path, _query: _service(app, path, now),
        "why": why,
        "logs": lambda _path, _query: _logs(now) if sick else [],
        "stacks": lambda _path, _query: {
            "greenlets": 61,
            "count": 2,
            "stacks": [
                {
                    "service": "shop/cores/core-1/http",
                    "what": "greenlet, waiting in pool.query",
                    "count": 57,
                    "frames": [
                        {
                            "file": "/srv/http.py",
                            "line": 88,
                            "function": "handle",
                            "source": "row = self.pool.query(sql)",
                        },
                        {
                            "file": "/srv/pool.py",
                            "line": 31,
                            "function": "query",
                            "source": "conn = self._free.get()",
                        },
                    ],
                },
                {
                    "service": "shop/cores/core-1/http",
                    "what": "greenlet, reading a request",
                    "count": 4,
                    "frames": [
                        {
                            "file": "/srv/http.py",
                            "line": 61,
                            "function": "read",
                            "source": "head = sock.recv(8192)",
                        }
                    ],
                },
            ],
        },
        "top": lambda _path, _query: _top(app, now),
        "nodes": {
            "nodes": [
                {"name": "eu-1", "here": True, "state": "up", "age": 0.4, "answered": True},
                {"name": "eu-2", "here": False, "state": "up", "age": 0.9, "answered": True},
                {"name": "eu-3", "here": False, "state": "lost", "age": 41.0, "answered": False},
            ]
        },
    }
    app.lasting.add("loop")
    return app

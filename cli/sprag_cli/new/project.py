"""What a new project consists of: its files, as texts. Pure."""

from __future__ import annotations

import keyword
import re
import sys
from string import Template
from typing import Final

from sprag_cli.term.errors import CommandError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_TAKEN: Final = frozenset(
    {"sprag", "sprag_cli", "sprag_supervisor", "gevent", "greenlet", "pytest", "tests", "deploy"}
)


class BadName(CommandError):
    """Raised when a project cannot be called so."""

    def __init__(self, name: str, fault: str) -> None:
        """Name it, and what is wrong."""
        super().__init__(
            f"{name!r} {fault} — use a letter, then letters, digits, - or _, as in 'shop'"
        )


def module_of(name: str) -> str:
    """Return what the package of a project called *name* is called.

    Raises:
        BadName: There can be none.
    """
    if _NAME.fullmatch(name) is None:
        raise BadName(name, "is no name for a project")
    module = name.replace("-", "_").lower()
    if keyword.iskeyword(module):
        raise BadName(name, "is a word of Python's")
    if module in _TAKEN or module in sys.stdlib_module_names:
        raise BadName(name, "is what another package is called")
    return module


def files(name: str) -> dict[str, str]:
    """Return the files of a project called *name*, by their paths in it.

    Raises:
        BadName: It cannot be called so.
    """
    module = module_of(name)
    words = {"name": name.lower(), "module": module}
    texts = {
        "README.md": _README,
        "pyproject.toml": _PYPROJECT,
        ".gitignore": "__pycache__/\n.venv/\n*.egg-info/\n",
        ".dockerignore": ".git\n.venv\n**/__pycache__\ntests\n",
        "Dockerfile": _DOCKERFILE,
        f"deploy/{words['name']}.service": _UNIT,
        f"{module}/__init__.py": '"""$name."""\n',
        f"{module}/main.py": _MAIN,
        f"tests/test_{module}.py": _TEST,
    }
    return {path: Template(text).substitute(words) for path, text in texts.items()}


_MAIN: Final = '''\
"""The services of $name, and the app that supervises them: ``sprag run $module.main:app``."""

from sprag import App, Service


class Heart(Service):
    """Beats once a second."""

    def on_start(self):
        self.interval(self._beat, 1.0)

    def _beat(self):
        self.emit("beat")


class Counter(Service):
    """Counts the beats it hears."""

    def on_start(self):
        self.beats = 0
        self.listen("beat", self._count)

    def _count(self, _data):
        self.beats += 1
        self.set_status(f"{self.beats} beats")


def make_app():
    """Make the app: once for `sprag run`, and once for each test."""
    return App(name="$name", providers={"counter": Counter(), "heart": Heart()})


app = make_app()
'''

_TEST: Final = '''\
"""$name in virtual time: no test waits."""

from $module.main import make_app
from sprag.testing import virtual_time


def test_each_beat_is_counted():
    with virtual_time() as clock, make_app() as app:
        clock.advance(10)
        assert app.service("counter").beats == 10


def test_a_heart_that_crashes_beats_again():
    with virtual_time() as clock, make_app() as app:
        app.service("heart").spawn(_crash)
        clock.advance(5)
        assert app.service("heart").snapshot().restarts == 1
        assert app.service("counter").beats >= 4


def _crash():
    raise RuntimeError("on purpose")
'''

_README: Final = """\
# $name

An app of services under supervision, with sprag.

```console
$$ python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'
$$ .venv/bin/pytest
$$ .venv/bin/sprag run $module.main:app
```

While it runs, `sprag tree` shows what lives, and `sprag why` why something was restarted; Ctrl-C
stops it in order.
`sprag check $module.main:app` finds mistakes before that.

| file | is |
|---|---|
| `$module/main.py` | the services, and the app |
| `tests/` | tests in virtual time |
| `Dockerfile` | an image |
| `deploy/$name.service` | a unit of systemd |
"""

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["sprag-otp"]

[project.optional-dependencies]
dev = ["pytest", "sprag-otp[testing]"]

[tool.setuptools]
packages = ["$module"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""

_DOCKERFILE: Final = """\
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml ./
COPY $module ./$module
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --system --uid 1000 --no-create-home app
COPY --from=build /venv /venv
USER 1000
# One JSON object a line on stderr; nothing is written into the image at run time.
ENV PATH=/venv/bin:$$PATH PYTHONDONTWRITEBYTECODE=1
ENV SPRAG_LOG_FORMAT=json SPRAG_RUNTIME_DIR=/tmp/sprag
# Docker asks with SIGTERM and kills after 10 seconds, unless `docker stop --time` says otherwise.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \\
    CMD ["sprag", "status", "--timeout", "2"]
# No shell in between: `sprag` is process 1, gets the signals, and waits for orphans.
CMD ["sprag", "run", "$module.main:app", "--shutdown-timeout", "8"]
"""

_UNIT: Final = """\
[Unit]
Description=$name
After=network-online.target
Wants=network-online.target
# As many tries as one likes: an app that gives up is started again, with the pause below.
StartLimitIntervalSec=0

[Service]
# READY=1 when all of the tree is ready, STATUS= beside it in `systemctl status`.
Type=notify
NotifyAccess=main
# A user of its own, which systemd makes; User=$name if it has files somewhere.
DynamicUser=yes
WorkingDirectory=/srv/$name
EnvironmentFile=-/etc/$name.env
ExecStart=/srv/$name/.venv/bin/sprag run $module.main:app --shutdown-timeout 30
# SIGHUP: all that have an on_reload read their configuration again.
ExecReload=/bin/kill -HUP $$MAINPID
Restart=on-failure
RestartSec=2
WatchdogSec=30
# More than --shutdown-timeout.
TimeoutStopSec=40
KillMode=mixed
# Control sockets: `SPRAG_RUNTIME_DIR=/run/$name sprag tree` looks in.
RuntimeDirectory=$name
RuntimeDirectoryMode=0700
Environment=SPRAG_RUNTIME_DIR=/run/$name SPRAG_LOG_FORMAT=json
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""

"""What the commands that run a tree as the process, ``run`` and ``up``, are told of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from sprag._defaults import HOST
from sprag_cli.commands import options
from sprag_cli.run import binding

if TYPE_CHECKING:
    from collections.abc import Callable


class OpsPort(binding.Binding):
    """``PORT``, of this machine alone, or where a web server could listen, too."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return host and port."""
        text = str(value)
        if text.isascii() and text.isdigit():
            text = f"{HOST}:{text}"
        if "=" in text or text.startswith("unix:"):
            self.fail(f"{value!r} is no port: use PORT or HOST:PORT.", param, ctx)
        return super().convert(text, param, ctx).address


def options_of_running(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take what a command that runs a tree as the process is told of that."""
    for option in reversed(_RUNNING):
        function = option(function)
    return function


_RUNNING: Final = (
    options.setting(
        "--name", help="What 'sprag tree --app' calls it.  [default: the app's own name]"
    ),
    options.shutdown_timeout("How long the whole tree may take to stop after a signal."),
    options.setting(
        "--log-format",
        type=click.Choice(["auto", "console", "json"]),
        default="auto",
        help="auto: lines for people on a terminal, else one JSON object per line.",
    ),
    options.setting(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
        default="info",
        help="The lowest level that is shown.",
    ),
    options.setting(
        "--control/--no-control",
        default=True,
        help="Listen on a Unix socket, for 'sprag tree' and its like.",
    ),
    options.setting(
        "--tree/--no-tree", default=True, help="Print the tree once it is up (terminals)."
    ),
    options.setting(
        "--watchdog",
        type=options.Seconds(),
        metavar="SECONDS",
        help="Say who holds the loop for longer than this.  [default: do not watch]",
    ),
    options.setting(
        "--watchdog-exit",
        is_flag=True,
        help="With --watchdog: end the process then, with exit code 4.",
    ),
    options.setting(
        "--ops-port",
        type=OpsPort(),
        metavar="[HOST:]PORT",
        help="Answer /healthz, /readyz and /metrics there, beside whatever the app serves.  "
        "[default: nowhere]",
    ),
    options.setting(
        "--drain-delay",
        type=options.Seconds(0.0),
        default=0.0,
        metavar="SECONDS",
        help="After a SIGTERM be not ready for so long, and only then begin to stop.",
    ),
)

EXITS_OF_RUN: Final = """\b
Exit codes:
  0    stopped as asked
  1    the tree gave up
  2    wrong usage
  3    never came up
  4    stopped, but with stragglers or over the time limit
  129  ended by a SIGHUP that came after the app's own end
  130  ended at once by a second SIGINT (143: SIGTERM)"""

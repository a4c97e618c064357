"""Options and arguments that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from sprag_cli._complete import AppName, ServicePath

if TYPE_CHECKING:
    from collections.abc import Callable

Decorator: TypeAlias = "Callable[[Callable[..., Any]], Callable[..., Any]]"

SELECTORS: Final = (
    "PATH is a service, as in shop/fleet/courier, fleet/courier or /fleet/courier, or a glob: "
    "'fleet/*' for one level, 'fleet/**' for all below."
)


def exits(well: str, failed: str = "", late: str = "no answer in time") -> str:
    """Return the table of exit codes for a command's help; without 1 if it never ends so."""
    one = f"\n  1    {failed}" if failed else ""
    return f"""\b
Exit codes:
  0    {well}{one}
  2    wrong usage, or several apps run and --app does not say which
  3    no such app or service
  4    {late}
  130  ended by Ctrl-C before it was done"""


def paths_argument(*, required: bool = False) -> Decorator:
    """Take any number of PATHs."""
    return click.argument(
        "paths", metavar="PATH..." if required else "[PATH]...", nargs=-1, type=ServicePath()
    )


app_option: Decorator = click.option(
    "--app",
    type=AppName(),
    metavar="NAME|PID|SOCKET",
    envvar="SPRAG_APP",
    show_envvar=True,
    help="Which app.  [default: the only one that runs]",
)


def timeout_option(
    default: float = 5.0, text: str = "How long to wait for the app's answer."
) -> Decorator:
    """Take the seconds after which the command gives up."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        metavar="SECONDS",
        help=text,
    )


json_option: Decorator = click.option("--json", is_flag=True, help="Print JSON.")
ascii_option: Decorator = click.option("--ascii", is_flag=True, help="Draw in ASCII.")
failed_option: Decorator = click.option(
    "--failed", is_flag=True, help="Of these, and of all below them, those that have failed."
)

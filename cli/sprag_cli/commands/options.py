"""Options and arguments that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click
from click.core import ParameterSource

from sprag._defaults import LEAST
from sprag_cli.app.defaults import ANSWERING
from sprag_cli.complete.prompt import AppName, ServicePath

if TYPE_CHECKING:
    from collections.abc import Callable

Command: TypeAlias = "Callable[[Callable[..., Any]], click.Command]"
Decorator: TypeAlias = "Callable[[Callable[..., Any]], Callable[..., Any]]"

_ENDLESS: Final = 1e9
"""Seconds from which on a time counts as no limit at all: thirty years."""


class Seconds(click.FloatRange):
    """A number of seconds; `FloatRange` lets through what is no number.

    Args:
        least: The least that is accepted; 0.0 where 0 has a meaning.
        most: The most that is accepted; None: as long as it is a time.
        endless: Whether ``inf`` means that there is no limit.
    """

    name = "seconds"

    def __init__(
        self,
        least: float = LEAST,
        *,
        most: float | None = None,
        endless: bool = False,
    ) -> None:
        super().__init__(min=least, max=most)
        self._endless = endless

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds) or (seconds >= _ENDLESS and not self._endless):
            self.fail(f"{value!r} is not a number of seconds that can be waited for.", param, ctx)
        return math.inf if seconds >= _ENDLESS else seconds


class Whole(click.IntRange):
    """A whole number; `IntRange` calls what is none "not a valid integer range"."""

    name = "whole number"


class Duration(click.ParamType[float]):
    """A length of time as people write it: ``90``, ``90s``, ``30m``, ``1h30m``, ``2d``."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        text = str(value).strip().lower()
        found = re.fullmatch(_DURATION, text, re.ASCII)
        seconds = -1.0
        if found is not None and text:
            parts = zip(found.groups(), (86400, 3600, 60, 1), strict=True)
            seconds = sum(float(part or 0) * unit for part, unit in parts)
        if not LEAST <= seconds < _ENDLESS:
            accepted = "is not a length of time: use seconds, or 90s, 30m, 1h30m, 2d."
            self.fail(f"{value!r} {accepted}", param, ctx)
        return seconds


class _Setting(click.Option):
    """An option that its variable sets, too: ``SPRAG_`` and its name."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the option; or the variable, if that is what was given."""
        option = f"'{self.opts[0]}'"
        return option if ctx is None else f"'{said(ctx, self.name)}'"


def setting(*names: str, **rest: Any) -> Decorator:
    """Take an option that its variable sets, too: ``--log-format``, ``SPRAG_LOG_FORMAT``.

    What is given on the command line wins. An empty variable is none.

    Args:
        names: Of the option; the first one names the variable.
        rest: As for `click.option`.
    """
    variable = "SPRAG_" + names[0].partition("/")[0].strip("-").replace("-", "_").upper()
    return click.option(*names, cls=_Setting, envvar=variable, show_envvar=True, **rest)


def is_from_variable(ctx: click.Context, name: str) -> bool:
    """Whether the parameter *name* was given by its variable."""
    return ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT


def is_default(ctx: click.Context, name: str) -> bool:
    """Whether nobody has given the parameter *name*."""
    return ctx.get_parameter_source(name) is ParameterSource.DEFAULT


def said(ctx: click.Context, name: str) -> str:
    """Return by what the parameter *name* was given: its option, or its variable."""
    (found,) = [each for each in ctx.command.params if each.name == name]
    return str(found.envvar) if is_from_variable(ctx, name) else found.opts[0]


_DURATION: Final = r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s?)?"

_SELECTORS: Final = (
    "PATH is a service, as in shop/fleet/courier, fleet/courier or /fleet/courier, or a glob: "
    "'fleet/*' for one level, 'fleet/**' for all below."
)


def about_services(well: str, failed: str = "", late: str = "no answer in time") -> Command:
    """Make a command that is about services of a running app, and say in its help how it ends.

    Args:
        well: What 0 means.
        failed: What 1 means; without it the command never ends so.
        late: What 4 means.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        function.__doc__ = (function.__doc__ or "").replace("{selectors}", _SELECTORS)
        return click.command(epilog=_exits(well, failed, late))(function)

    return made


acting: Command = about_services(
    "done", "refused, or failed while it was done", "not done in time; it goes on"
)


def _exits(well: str, failed: str, late: str) -> str:
    one = f"\n  1    {failed}" if failed else ""
    return f"""\b
Exit codes:
  0    {well}{one}
  2    wrong usage, or several apps run and --app does not say which
  3    no such app or service
  4    {late}
  130  ended by Ctrl-C before it was done"""


def paths(*, required: bool = False) -> Decorator:
    """Take any number of PATHs."""
    return click.argument(
        "paths", metavar="PATH..." if required else "[PATH]...", nargs=-1, type=ServicePath()
    )


app: Decorator = click.option(
    "--app",
    type=AppName(),
    metavar="NAME|PID|SOCKET",
    envvar="SPRAG_APP",
    show_envvar=True,
    help="Which app.  [default: the only one that runs]",
)


def timeout(
    default: float = ANSWERING, text: str = "How long to wait for the app's answer."
) -> Decorator:
    """Take the seconds after which the command gives up."""
    return click.option(
        "--timeout",
        type=Seconds(endless=True),
        default=default,
        metavar="SECONDS",
        help=text,
    )


def shutdown_timeout(text: str) -> Decorator:
    """Take the seconds for the stop of the whole tree."""
    from sprag._defaults import SHUTDOWN_TIMEOUT

    return setting(
        "--shutdown-timeout",
        type=Seconds(0.0, endless=True),
        default=SHUTDOWN_TIMEOUT,
        metavar="SECONDS",
        help=text,
    )


as_json: Decorator = click.option("--json", is_flag=True, help="Print JSON.")
in_ascii: Decorator = click.option("--ascii", is_flag=True, help="Draw in ASCII.")
failed: Decorator = click.option(
    "--failed", is_flag=True, help="Of these, and of all below them, those that have failed."
)
no_wait: Decorator = click.option(
    "--wait/--no-wait", default=True, help="Whether to wait until it is done."
)

"""The commands and options of ``sprag``; what they do is in the module of each command."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sprag_cli._commands import COMMANDS
from sprag_cli._complete import SHELLS, script
from sprag_cli._exit import ClientExit, CommandError
from sprag_cli._options import Seconds
from sprag_cli._output import (
    OutputLost,
    complain,
    complain_at_length,
    discard,
    discard_unwritten,
)
from sprag_cli._plain import printable

if TYPE_CHECKING:
    from collections.abc import Generator

_RUN_EXITS = """\b
Exit codes:
  0    stopped as asked
  1    the tree gave up
  2    wrong usage
  3    never came up
  4    stopped, but with stragglers or over the time limit
  129  ended by a SIGHUP that came after the app's own end
  130  ended at once by a second SIGINT (143: SIGTERM)"""


_SHELLS = """\b
How to use it:
  bash  eval "$(sprag completion bash)"  in ~/.bashrc
  zsh   eval "$(sprag completion zsh)"   in ~/.zshrc, behind compinit
  fish  sprag completion fish | source   in ~/.config/fish/config.fish"""

_CHECK_EXITS = """\b
Exit codes:
  0  nothing found
  1  something is likely wrong
  2  wrong usage
  3  the module could not be imported"""


@contextmanager
def _harmless() -> Generator[None]:
    """Let click complain of what was typed without repeating it to the letter."""
    try:
        yield
    except click.UsageError as error:
        said = error.format_message()
        if said.isprintable():
            raise
        raise click.UsageError(printable(said), error.ctx) from None


class _Commands(click.Group):
    """A group that shows a `CommandError` as one line and ends with its exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; what click itself prints finds a full disk, too."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            if error.errno not in OutputLost.REASONS:
                raise
            lost = OutputLost(error)
            complain(lost.report())
            sys.exit(lost.exit_code)
        finally:
            discard_unwritten(sys.stdout)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the options of the group; ``--help`` without a reader is no error."""
        try:
            return super().make_context(*args, **options)
        except BrokenPipeError:
            discard(sys.stdout)
            raise click.exceptions.Exit(ClientExit.WELL) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words up to the command."""
        with _harmless():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command the user chose."""
        try:
            with _harmless():
                return super().invoke(ctx)
        except BrokenPipeError:
            if ctx.invoked_subcommand == "run":  # it may be the app's
                raise
            discard(sys.stdout)
            ctx.exit(ClientExit.WELL)
        except CommandError as error:
            complain_at_length(error.report())
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(ClientExit.INTERRUPTED)


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's signature
    if not asked or ctx.resilient_parsing:
        return
    from sprag import __version__

    click.echo(f"sprag {__version__}")
    ctx.exit()


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
    show_default=False,
)
def commands() -> None:
    """Run services under supervision, after Erlang/OTP, and look at them."""


@commands.command(epilog=_RUN_EXITS)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option("--name", help="What 'sprag tree --app' calls it.  [default: the app's own name]")
@click.option(
    "--shutdown-timeout",
    type=Seconds(endless=True),
    default=30.0,
    metavar="SECONDS",
    envvar="SPRAG_SHUTDOWN_TIMEOUT",
    show_envvar=True,
    help="How long the whole tree may take to stop after a signal.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    default="auto",
    envvar="SPRAG_LOG_FORMAT",
    show_envvar=True,
    help="auto: lines for people on a terminal, else one JSON object per line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="info",
    envvar="SPRAG_LOG_LEVEL",
    show_envvar=True,
    help="The lowest level that is shown.",
)
@click.option(
    "--control/--no-control",
    default=True,
    help="Listen on a Unix socket, for 'sprag tree' and its like.",
)
@click.option("--tree/--no-tree", default=True, help="Print the tree once it is up (terminals).")
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Where the web server listens, if the app has routes.  [default: 127.0.0.1]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Its port; 0 for any that is free.  [default: 8000]",
)
@click.option("--unix-socket", metavar="PATH", help="Listen on a Unix socket instead of a port.")
@click.option(
    "--watchdog",
    type=Seconds(above=True),
    metavar="SECONDS",
    envvar="SPRAG_WATCHDOG",
    show_envvar=True,
    help="Say who holds the loop for longer than this.  [default: do not watch]",
)
@click.option(
    "--watchdog-exit",
    is_flag=True,
    help="With --watchdog: end the process then, with exit code 4.",
)
def run(**options: Any) -> None:
    """Run an app until it is asked to stop.

    MODULE:ATTRIBUTE names an App, a Service or a Supervisor, or a class or function that makes
    one without arguments, as in shop.main:app. The first SIGTERM, SIGINT or SIGHUP stops the
    tree, a second SIGTERM or SIGINT ends the process at once.
    """
    from sprag_cli._run import RunOptions
    from sprag_cli._run import run as run_app

    sys.exit(run_app(RunOptions(**options)))


@commands.command(epilog=_CHECK_EXITS)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option(
    "--shutdown-timeout",
    type=Seconds(endless=True),
    default=30.0,
    metavar="SECONDS",
    envvar="SPRAG_SHUTDOWN_TIMEOUT",
    show_envvar=True,
    help="How long the whole tree may take to stop, as given to 'sprag run'.",
)
@click.option("--ignore", multiple=True, metavar="RULE", help="Do not apply this rule.")
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("--ascii", is_flag=True, help="Draw in ASCII.")
def check(**options: Any) -> None:
    """Look for what is likely wrong with an app.

    The app is imported as 'sprag run' does, and not started. Children that are adopted only when
    a service runs cannot be seen.
    """
    from sprag_cli._check import CheckOptions
    from sprag_cli._check import check as check_app

    sys.exit(check_app(CheckOptions(**options)))


@commands.command(epilog=_SHELLS)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete live paths.

    It completes commands and options too.
    """
    click.echo(script(commands, shell))


for _command in COMMANDS:
    commands.add_command(_command)

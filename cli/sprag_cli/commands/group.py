"""``sprag`` itself: the group of all commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final

import click
from click.exceptions import NoArgsIsHelpError

from sprag._exit_codes import ExitCode
from sprag_cli.app import elsewhere
from sprag_cli.term.ending import said_in_one_line
from sprag_cli.term.output import complain, discard, discard_unwritten

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class _WrongUsage(click.UsageError):
    """What click says of it, as every other error of ours: in one line, with what to do."""

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - always stderr
        """Say it."""
        command = "sprag" if self.ctx is None else self.ctx.command_path
        said = " ".join(self.format_message().split())
        complain(f"sprag: {said.removesuffix('.')} — '{command} --help' shows what is accepted")


@contextmanager
def _harmless() -> Generator[None]:
    """Let click complain of what was typed in one line, without repeating it to the letter."""
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise _WrongUsage(error.format_message(), error.ctx) from None


_NAMES: Final = (
    "init",
    "run",
    "up",
    "check",
    "convert",
    "cluster",
    "completion",
    "tree",
    "nodes",
    "status",
    "why",
    "events",
    "logs",
    "start",
    "stop",
    "restart",
    "scale",
    "signal",
    "hold",
    "release",
    "inspect",
    "reload",
    "blame",
    "stacks",
    "top",
    "observe",
    "wait",
    "_stdio",
)
_HERE: Final = ("init", "run", "up", "check", "convert", "cluster", "completion", "_stdio")
"""Those that ask no running app, and so none of another machine."""


class _Modules(Mapping[str, click.Command]):
    """The commands by their names; the module of one is loaded when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in _NAMES:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"sprag_cli.commands.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


class _Commands(click.Group):
    """A group that shows a `CommandError` as one line and ends with its exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Modules()  # type: ignore[assignment]  # nobody adds one

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; what click itself prints finds a full disk, too."""
        if "_SPRAG_COMPLETE" in os.environ:
            from sprag_cli.complete.shells import replace_clicks

            replace_clicks()
        try:
            with said_in_one_line(runs_an_app=True):  # it may be: nothing is read yet
                return super().main(*args, **options)
        finally:
            discard_unwritten(sys.stdout)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the options of the group; ``--help`` without a reader is no error."""
        try:
            return super().make_context(*args, **options)
        except BrokenPipeError:
            discard(sys.stdout)
            raise click.exceptions.Exit(ExitCode.WELL) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words up to the command."""
        with _harmless():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command the user chose."""
        runs_an_app = ctx.invoked_subcommand in ("run", "up")
        with said_in_one_line(runs_an_app=runs_an_app), _harmless():
            return super().invoke(ctx)


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
@click.option(
    "-H",
    "host",
    metavar="ssh://[USER@]HOST",
    help="Ask the apps of another machine, through ssh; SPRAG_REMOTE is where its sprag is.",
)
@click.pass_context
def commands(context: click.Context, host: str | None) -> None:
    """Run services under supervision, after Erlang/OTP, and look at them."""
    if host is not None and context.invoked_subcommand in _HERE:
        said = f"-H is for commands that ask a running app; '{context.invoked_subcommand}' does not"
        raise click.UsageError(said, context)
    elsewhere.choose(host)

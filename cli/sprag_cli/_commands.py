"""The commands that ask a running app, and those that act on it; their options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sprag_cli._options import (
    SELECTORS,
    Seconds,
    app_option,
    ascii_option,
    exits,
    failed_option,
    json_option,
    paths_argument,
    timeout_option,
)

if TYPE_CHECKING:
    from sprag_cli._act import Verb

_NOTHING_FAILED = "done, and none of these services has failed"
_SOME_FAILED = "done, and one of these services has failed"
_LINES = click.option(
    "--lines",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="How many lines of its log to show.  [default: 10, or what the window has room for]",
)


@click.command(epilog=exits("nothing shown is failed", "something shown is failed"))
@paths_argument()
@click.option("--json", is_flag=True, help="Print JSON; with --watch one object per change.")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C; changes only, on a pipe.")
@click.option(
    "--interval",
    type=Seconds(0.1),
    default=1.0,
    metavar="SECONDS",
    help="With --watch: time between two looks.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    metavar="LEVELS",
    help="Levels to show below the first.  [default: all]",
)
@click.option("--failed", is_flag=True, help="Only what has failed, and the way to it.")
@ascii_option
@app_option
@timeout_option()
def tree(**options: Any) -> None:
    """Show the living tree of a running app.

    {selectors} One path is where the tree begins; several, and globs, are shown with the way to
    them.
    """
    from sprag_cli._tree import TreeOptions, show

    sys.exit(show(TreeOptions(**options)))


@click.command(epilog=exits(_NOTHING_FAILED, _SOME_FAILED))
@paths_argument()
@failed_option
@json_option
@_LINES
@click.option(
    "--tracebacks",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="How many failures to show with their traceback; the others get a line.  "
    "[default: 1, or what the window has room for of it]",
)
@ascii_option
@app_option
@timeout_option()
def status(**options: Any) -> None:
    """Show a service in full.

    Its policy, counters, last failures and last log lines. {selectors} Without one: the root.
    """
    from sprag_cli._status import StatusOptions, show

    sys.exit(show(StatusOptions(**options)))


@click.command(epilog=exits(_NOTHING_FAILED, _SOME_FAILED))
@paths_argument()
@failed_option
@json_option
@click.option(
    "--lines",
    type=click.IntRange(min=1),
    default=10,
    metavar="NUMBER",
    help="How many decisions to tell, the latest.",
)
@ascii_option
@app_option
@timeout_option()
def why(**options: Any) -> None:
    """Explain why a service was restarted, or was not.

    Which crash led to which decision of its supervisor, who was restarted along with it, and
    how near the limit was. {selectors}
    """
    from sprag_cli._why import WhyOptions, show

    sys.exit(show(WhyOptions(**options)))


@click.command(epilog=exits("ended by Ctrl-C, by --limit, or with the app", "cut off by the app"))
@paths_argument()
@click.option("--failed", is_flag=True, help="Only failures.")
@click.option("--json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="End after so many changes.  [default: never]",
)
@ascii_option
@app_option
@timeout_option()
def events(**options: Any) -> None:
    """Show how things are, then what changes, as it happens.

    {selectors} What is below counts too.
    """
    from sprag_cli._events import EventOptions, follow

    sys.exit(follow(EventOptions(**options)))


@click.command(epilog=exits("done"))
@paths_argument()
@failed_option
@json_option
@click.option("--all", is_flag=True, help="Show sprag's own greenlets and gevent's hub too.")
@ascii_option
@app_option
@timeout_option()
def stacks(**options: Any) -> None:
    """Show where every greenlet is, by service.

    {selectors} What is below counts too. Without one: all, and those of no service.
    """
    from sprag_cli._stacks import StackOptions, show

    sys.exit(show(StackOptions(**options)))


@click.command(epilog=exits("done"))
@paths_argument()
@failed_option
@click.option("--json", is_flag=True, help="Print JSON; one object a measurement.")
@click.option("--once", is_flag=True, help="Measure once, print, end.")
@click.option(
    "--interval",
    type=Seconds(0.1, most=60),
    default=1.0,
    metavar="SECONDS",
    help="How long one measurement takes.",
)
@click.option(
    "--sort",
    type=click.Choice(["cpu", "events", "ticks", "greenlets", "timers", "restarts", "path"]),
    default="cpu",
    help="What the first rows have most of.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0, max=1000),
    default=30,
    metavar="NUMBER",
    help="How many rows to print; a live table is as long as the window.",
)
@ascii_option
@app_option
@timeout_option(text="How long to wait for the app's answer, beyond the interval.")
def top(**options: Any) -> None:
    """Show what each service uses, live.

    CPU share, greenlets, timers, events. {selectors} What is below counts too.

    CPU is that of the thread with the loop, by sampling, which costs the app nothing while
    nobody looks. On a terminal the keys in the second line sort, q or Ctrl-C ends.
    """
    from sprag_cli._top import TopOptions, show

    sys.exit(show(TopOptions(**options)))


@click.command(
    epilog=exits("ready", "not ready in time: something has failed", "not ready in time")
)
@paths_argument()
@failed_option
@json_option
@app_option
@timeout_option(30.0, "How long to wait, also for an app that does not run yet.")
def wait(**options: Any) -> None:
    """Wait until everything runs that should, for scripts.

    Ready is what runs, was stopped on purpose, or has finished. {selectors} What is below is to
    be ready too.
    """
    from sprag_cli._wait import WaitOptions
    from sprag_cli._wait import wait as wait_for

    sys.exit(wait_for(WaitOptions(**options)))


# -- acting --------------------------------------------------------------------------

_NO_WAIT = click.option("--wait/--no-wait", default=True, help="Whether to wait until it is done.")
_ACT_EXITS = exits("done", "refused, or failed while it was done", "not done in time; it goes on")


def _act(verb: Verb, options: dict[str, Any]) -> None:
    from sprag_cli._act import ActOptions, act

    sys.exit(act(ActOptions(verb, **options)))


@click.command(epilog=_ACT_EXITS)
@paths_argument(required=True)
@failed_option
@json_option
@_NO_WAIT
@ascii_option
@app_option
@timeout_option(30.0, "How long to wait for each service; a start then goes on.")
def start(**options: Any) -> None:
    """Start services that are down.

    {selectors} One that runs already is left alone.
    """
    _act("start", options)


@click.command(epilog=_ACT_EXITS)
@paths_argument()
@failed_option
@json_option
@_NO_WAIT
@ascii_option
@app_option
@timeout_option(30.0, "How long each stop may take; what is left then is killed.")
@click.pass_context
def stop(context: click.Context, /, **options: Any) -> None:
    """Stop services on purpose.

    They stay down until they are started again. {selectors} What is below stops too.

    No PATH ends the app itself: 'sprag stop --app NAME', without a PATH, does.
    """
    # Not by SPRAG_APP: that may have been set long ago, for other commands.
    is_typed = context.get_parameter_source("app") is ParameterSource.COMMANDLINE
    whole = is_typed and not options["paths"] and not options["failed"]
    _act("stop", {**options, "whole": whole})


@click.command(epilog=_ACT_EXITS)
@paths_argument(required=True)
@failed_option
@json_option
@_NO_WAIT
@ascii_option
@app_option
@timeout_option(30.0, "How long each stop may take, and the start after it.")
def restart(**options: Any) -> None:
    """Stop services and start them again.

    {selectors} It does not count toward the restart limit.
    """
    _act("restart", options)


COMMANDS = (tree, status, why, events, start, stop, restart, stacks, top, wait)

for _each in COMMANDS:
    _each.help = (_each.help or "").replace("{selectors}", SELECTORS)

"""``sprag stop``: services on purpose, or the whole app."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from sprag_cli.app.defaults import ACTING
from sprag_cli.commands import options


@options.acting
@options.paths()
@options.failed
@options.as_json
@options.no_wait
@options.in_ascii
@options.app
@options.timeout(ACTING, "How long each stop may take; what is left then is killed.")
@click.pass_context
def stop(context: click.Context, /, **asked: Any) -> None:
    """Stop services on purpose.

    They stay down until they are started again. {selectors} What is below stops too.

    No PATH ends the app itself: 'sprag stop --app NAME', without a PATH, does.
    """
    from sprag_cli.act.manage import ActOptions, act

    # Not by SPRAG_APP: that may have been set long ago, for other commands.
    is_typed = context.get_parameter_source("app") is ParameterSource.COMMANDLINE
    whole = is_typed and not asked["paths"] and not asked["failed"]
    sys.exit(act(ActOptions(verb="stop", whole=whole, **asked)))

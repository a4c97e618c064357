"""``sprag start``: services that are down."""

from __future__ import annotations

import sys
from typing import Any

from sprag_cli.app.defaults import ACTING
from sprag_cli.commands import options


@options.acting
@options.paths(required=True)
@options.failed
@options.as_json
@options.no_wait
@options.in_ascii
@options.app
@options.timeout(ACTING, "How long to wait for each service; a start then goes on.")
def start(**asked: Any) -> None:
    """Start services that are down.

    {selectors} One that runs already is left alone.
    """
    from sprag_cli.act.manage import ActOptions, act

    sys.exit(act(ActOptions(verb="start", whole=False, **asked)))

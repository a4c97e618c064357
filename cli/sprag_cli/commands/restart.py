"""``sprag restart``: a stop and a start."""

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
@options.timeout(ACTING, "How long each stop may take, and the start after it.")
def restart(**asked: Any) -> None:
    """Stop services and start them again.

    {selectors} It does not count toward the restart limit.
    """
    from sprag_cli.act.manage import ActOptions, act

    sys.exit(act(ActOptions(verb="restart", whole=False, **asked)))

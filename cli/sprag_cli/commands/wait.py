"""``sprag wait``: until everything runs that should, for scripts."""

from __future__ import annotations

import sys
from typing import Any

from sprag_cli.app.defaults import ACTING
from sprag_cli.commands import options


@options.about_services("ready", "not ready in time: something has failed", "not ready in time")
@options.paths()
@options.failed
@options.as_json
@options.app
@options.timeout(ACTING, "How long to wait, also for an app that does not run yet.")
def wait(**asked: Any) -> None:
    """Wait until everything runs that should, for scripts.

    Ready is what runs, was stopped on purpose, or has finished. {selectors} What is below is to
    be ready too.
    """
    from sprag_cli.act.wait import WaitOptions, wait_for

    sys.exit(wait_for(WaitOptions(**asked)))

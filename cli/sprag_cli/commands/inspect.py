"""``sprag inspect``: the inside of a service."""

from __future__ import annotations

import sys
from typing import Any

from sprag_cli.commands import options


@options.about_services("done", "done, and an on_inspect has raised or taken too long")
@options.paths(required=True)
@options.failed
@options.as_json
@options.in_ascii
@options.app
@options.timeout()
def inspect(**asked: Any) -> None:
    """Show the inside of services: what their on_inspect returns, or else their attributes.

    Numbers, short texts, lists and dicts are shown, all else as its class, and no secret; no code
    of a service runs but its on_inspect. {selectors}
    """
    from sprag_cli.draw.inspect import InspectOptions, show

    sys.exit(show(InspectOptions(**asked)))

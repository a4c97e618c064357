"""``sprag release``: what has waited is decided."""

from __future__ import annotations

import sys
from typing import Any

from sprag_cli.commands import options


@options.about_services("released, or not held", "refused, or held with what is above it")
@options.paths(required=True)
@options.as_json
@options.in_ascii
@options.app
@options.timeout()
def release(**asked: Any) -> None:
    """Release services that are held: what has waited is decided, in its order.

    Each end counts at the time at which it happened. {selectors}
    """
    from sprag_cli.act.hold import HoldOptions, release

    sys.exit(release(HoldOptions(failed=False, seconds=None, **asked)))

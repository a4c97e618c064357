"""``sprag blame``: where the time of a start went."""

from __future__ import annotations

import sys
from typing import Any

from sprag_cli.commands import options


@options.about_services("shown")
@options.as_json
@options.in_ascii
@options.app
@options.timeout()
def blame(**asked: Any) -> None:
    """Show where the time of the app's start went: the seconds of each service, the longest first.

    Without those of the children that started meanwhile, and with them. Marked are those on the
    critical path: had one of them been faster, the app had been up earlier.
    """
    from sprag_cli.draw.blame import BlameOptions, show

    sys.exit(show(BlameOptions(**asked)))

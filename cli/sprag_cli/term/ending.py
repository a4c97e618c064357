"""How a command ends that does not end well: one line on stderr, and an exit code."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from sprag._exit_codes import ExitCode
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import OutputLost, complain_at_length, discard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def said_in_one_line(*, runs_an_app: bool = False) -> Generator[None]:
    """Leave the process, in its way, with whatever ends the command within.

    Args:
        runs_an_app: A reader that has gone away may be one of the app's: it ends it as any error.

    Raises:
        SystemExit: Why it has ended has been said.
    """
    try:
        yield
    except CommandError as error:
        complain_at_length(error.report())
        sys.exit(error.exit_code)
    except BrokenPipeError:
        if runs_an_app:
            raise
        discard(sys.stdout)
        sys.exit(ExitCode.WELL)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno not in OutputLost.REASONS:
            raise
        lost = OutputLost(error)
        complain_at_length(lost.report())
        sys.exit(lost.exit_code)

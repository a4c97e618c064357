"""Where the processes of programs live: in this machine; in a test, somewhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag.programs import spawning, starting
from sprag.programs.notify import NotifySocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.programs.probes import Probe, Site
    from sprag.programs.reach import Process
    from sprag.programs.run import Run
    from sprag.programs.settings import Outlet, Settings
    from sprag.programs.spawning import Launch


class World:
    """This machine."""

    def must_be_possible(self, name: str, settings: Settings, site: Site) -> None:
        """Refuse what cannot go well, before anything of the program is looked at.

        Raises:
            CannotRun: No process can be started here.
            PortTaken: Somebody answers where the program is to.
        """
        starting.must_be_possible(name)
        starting.must_be_free(settings, site)

    def check(self, launch: Launch) -> None:
        """See whether it can be started, as far as that can be seen without.

        Raises:
            CannotRun: It cannot.
        """
        spawning.check(launch)

    def start(self, launch: Launch, run: Run, outlet: Outlet) -> Process:
        """Start the process and begin to read what it writes. In an engine greenlet.

        Raises:
            CannotRun: It could not be started.
        """
        return starting.start(launch, run, outlet)

    def notify_socket(self, hear: Callable[[dict[str, str]], object]) -> NotifySocket | None:
        """Return where it says how it is; None: it has other ways."""
        return NotifySocket(hear)

    def asked(self, probe: Probe, run: Run) -> Probe:
        """Return what is asked instead of *probe*."""
        del run
        return probe

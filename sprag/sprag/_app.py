"""The App: the root of a tree, with providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag._supervisor import Supervisor
from sprag_supervisor import StopReport, _supervising
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag._service import Service


class App(Supervisor):
    """The root supervisor of an application.

    Args:
        providers: Services by name, started in this order; any service of the tree
            finds them with ``self.service(name)``.
        name: The app's name, by which the command line finds it. Default: "app".
        strategy: Whom it restarts when a provider fails, as for `Service`.
        max_restarts: With more restarts than this …
        max_seconds: … within this many seconds the app gives up.

    Raises:
        BadPolicy: A policy value is not accepted.
        BadValue: A provider is no service, or its name is not a plain text.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Service] | None = None,
        name: str | None = None,
        strategy: str = "one_for_one",
        max_restarts: int = 3,
        max_seconds: float = 5.0,
    ) -> None:
        given = dict(providers or {})
        for key in given:
            if not isinstance(key, str) or not key or "/" in key:
                raise BadValue("provider", key, "a name that is not empty and holds no slash")
        super().__init__(
            [(service, {"name": key}) for key, service in given.items()],
            name=name or "app",
            strategy=strategy,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
        )

    def _prepare_(self) -> None:
        tree = self._tree_
        assert tree is not None
        tree.providers = {}
        for child, name, policy in self._static_:
            if name is not None and tree.root is self:
                tree.providers[name] = child
            _supervising.adopt(self, child, name, policy)

    def _run_hook_(self) -> None:
        return None  # `run` is not a body here: it is called by whoever owns the process

    def start(self) -> None:
        """Start the providers in order; see `Service.start`."""
        super().start()

    def stop(self, timeout: float | None = 30.0) -> StopReport:
        """Stop the app, by default within 30 seconds; see `Service.stop`."""
        return super().stop(timeout)

    def run(self, *, shutdown_timeout: float = 30.0) -> int:
        """Run the app as the process: start, wait for a signal or its end, stop.

        Owns SIGTERM and SIGINT meanwhile: the first one stops the app within
        *shutdown_timeout* seconds, the second ends the process at once. Blocks until
        the app has ended.

        Returns:
            The exit code: 0 stopped as asked, 1 gave up, 3 never came up, 4 stopped
            with stragglers or over budget; or the code of a SystemExit in a service.
        """
        from sprag.host import run

        return run(self, shutdown_timeout=shutdown_timeout)

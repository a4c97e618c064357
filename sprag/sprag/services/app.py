"""The App: the root of a tree, with providers and routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Never

from sprag._defaults import HOST, PORT, SHUTDOWN_TIMEOUT
from sprag.services.service import Service
from sprag.services.supervisor import Child, Supervisor, has_class
from sprag_supervisor import (
    StopReport,
    adopt,
    adopt_all,
    attribute_of,
    check_callable,
    choices,
    is_a,
    is_class,
    made_of,
    shown,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.cluster.cluster import Cluster
    from sprag.process.listening import Address
    from sprag.services.crashes import Crash, CrashReports
    from sprag.web import Limits, Page
    from sprag.web._door import Place
    from sprag.web._wsgi import Wsgi
    from sprag_supervisor import Seconds, Tree


_SERVER: Final = "web"
"""The name of the web server among the app's children."""


class App(Supervisor):
    """The root supervisor of an application.

    Args:
        providers: Services by name, or classes that are called without arguments, or pairs of
            one and its policy; started in this order. Any service of the tree finds them with
            ``self.service(name)``.
        routes: Module or package whose controllers are mounted, as in ``"app.routes"``;
            it is imported when the app starts. Needs the extra ``web``.
        shell: The frame around every page: a function ``(page) -> text``, or
            ``shell(template=…, css=[…])``. Default: sprag's own.
        limits: What clients may ask of the web server.
        cluster: The engine that its nodes share, where there are several; see `Cluster`.
        metrics: Whether its web server answers ``/metrics``, for Prometheus. Needs the extra
            ``metrics``. Of workers only the parent tells, at ``--ops-port``, which needs no word.
        on_crash: ``on_crash(crash)`` is called for each crash below it, one after another, with
            a `Crash`: the exception itself, and what is done about it. In a greenlet that belongs
            to no service; it may block for 30 seconds. Whatever it does, supervision goes on.
        observer: Where among its routes the observer page is, as in "/_sprag"; None (default):
            nowhere. It is read-only there, and needs *observer_auth*.
        observer_auth: Called with the WSGI environ of each request for the page and what it
            shows; true: it is answered, else 403.
        name: The app's name, by which the command line finds it. Default: "app".
        strategy: Whom it restarts when a provider fails, as for `Service`.
        max_restarts: With more restarts than this (`math.inf`: no limit) …
        max_seconds: … within this many seconds the app gives up.

    Raises:
        BadPolicy: A policy value is not accepted.
        BadValue: A provider is no service, or its name is not a plain text; *routes* is not
            the name of a module, *shell* or *on_crash* no function, *cluster* no `Cluster`, or
            *limits* are none, or *metrics* neither true nor false; *observer* is no path, or comes
            without *routes* or without a function *observer_auth*.
        ImportError: *metrics* are wanted, and the extra ``metrics`` is not there.
    """

    _exit_seconds_ = SHUTDOWN_TIMEOUT
    _run_is_hook_ = False  # it is called by whoever owns the process
    __slots__ = ("_reports_", "_serve_", "_wsgi_")
    # Where to serve, the WSGI callable that others hold, who is told of crashes: they outlive
    # a restart.
    _keeps_slots_ = True
    _web_: tuple[str | None, Callable[[Page], str] | None, Limits | None] = None, None, None
    _cluster_: Cluster | None = None
    _metrics_: bool = False
    _observer_: tuple[str, Callable[[Mapping[str, Any]], object]] | None = None
    _on_crash_: Callable[[Crash], object] | None = None
    _serve_: tuple[Place, ...]
    _wsgi_: Wsgi
    _reports_: CrashReports

    def __init__(
        self,
        *misplaced: Never,
        providers: Mapping[str, Child] | None = None,
        routes: str | None = None,
        shell: Callable[[Page], str] | None = None,
        limits: Limits | None = None,
        cluster: Cluster | None = None,
        metrics: bool = False,
        on_crash: Callable[[Crash], object] | None = None,
        observer: str | None = None,
        observer_auth: Callable[[Mapping[str, Any]], object] | None = None,
        name: str | None = None,
        strategy: str = "one_for_one",
        max_restarts: float = 3,
        max_seconds: Seconds = 5.0,
        **unknown: Never,
    ) -> None:
        for keyword in unknown:
            raise BadValue("App's keyword", keyword, choices(keyword, _KEYWORDS))
        if misplaced:
            accepted = "keywords, as in App(providers={'feed': Feed()}, name='shop')"
            raise BadValue("App's argument", misplaced[0], accepted)
        given = _checked_providers({} if providers is None else providers)
        if providers is not None and any(map(has_class, dict(providers).values())):
            self._instead_of_(providers, given)  # the same ones in each life
        if routes is not None:
            if not is_a(routes, str) or not all(map(str.isidentifier, routes.split("."))):
                raise BadValue("routes", routes, "the dotted name of a module, as in 'app.routes'")
            if _SERVER in given:
                raise BadValue("provider", _SERVER, "another name: this one is the web server's")
        if shell is not None and not callable(shell):
            raise BadValue("shell", shell, "a function (page) -> text, or shell(template=…)")
        if limits is not None:
            from sprag.web._limits import Limits

            if not is_a(limits, Limits):
                raise BadValue("limits", limits, "Limits(…), as in Limits(max_body=4096)")
        if cluster is not None:
            self._cluster_ = _checked_cluster(cluster)
        self._tell_others(metrics, on_crash)
        self._observer_ = _checked_observer(observer, observer_auth, routes)
        self._web_ = routes, shell, limits
        super().__init__(
            [(service, {**policy, "name": key}) for key, (service, policy) in given.items()],
            name="app" if name is None else name,
            strategy=strategy,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
        )

    def _tell_others(self, metrics: Any, on_crash: Callable[[Crash], object] | None) -> None:
        """Take note of who watches it from outside."""
        if metrics is not False:
            self._metrics_ = _checked_metrics(metrics)
        if on_crash is not None:
            check_callable("on_crash", on_crash)
            self._on_crash_ = on_crash

    @property
    def wsgi(self) -> Wsgi:
        """The WSGI callable with all routes, for gunicorn or a test client.

        It starts nothing: start the app in the process that serves it.
        """
        found: Wsgi | None = attribute_of(self, "_wsgi_")
        if found is None:
            from sprag.web._limits import Limits
            from sprag.web._wsgi import Wsgi

            routes, shell, limits = self._web_
            found = self._wsgi_ = Wsgi(self, routes, shell, limits or Limits())
        return found

    @property
    def has_routes(self) -> bool:
        """Whether the app was given routes."""
        return self._web_[0] is not None

    @property
    def serve(self) -> Address | None:
        """Where the app's own web server is to listen; None (default) for no server.

        A host and a port (0: any that is free), or the path of a Unix socket. Taken note
        of when the app starts: the server, `web`, is then its last child. `run` sets it;
        an embedded app is served by others, through `wsgi`.

        Raises:
            BadValue: It is set to something else.
        """
        places = self._places_
        return places[0].address if places else None

    @serve.setter
    def serve(self, address: Address | None) -> None:
        self._serve_ = ()
        if address is not None:
            from sprag.process.listening import checked
            from sprag.web._door import Place

            self._serve_ = (Place(checked(address)),)

    @property
    def _places_(self) -> tuple[Place, ...]:
        """Where it is to serve: `serve`, or all that ``sprag run`` was told."""
        found: tuple[Place, ...] | None = attribute_of(self, "_serve_")
        return found or ()

    def _found_(self, tree: Tree) -> None:
        super()._found_(tree)
        if self._on_crash_ is not None:
            from sprag.services.crashes import CrashReports

            self._reports_ = CrashReports(tree, self._on_crash_)

    def _prepare_(self) -> None:
        tree = self._tree_
        assert tree is not None
        if self._on_crash_ is not None and tree.root is not self:
            accepted = "one at the root of the tree, which hears of all crashes"
            raise BadValue("on_crash", self._on_crash_, accepted)
        places = self._places_
        if self._cluster_ is not None and tree.root is self:
            from sprag.cluster.joining import join

            join(self, self._cluster_)
        if self.has_routes or places:
            self.wsgi.load()  # before anything is started: it may be the user's code that fails
        if tree.root is self:  # all at once: each finds the others in its on_start
            tree.providers = {name: child for child, name, _ in self._static_ if name is not None}
        adopt_all(self, self._static_, by_needs=self._by_needs_)
        if places:
            server, policy = self.wsgi.server(places)
            adopt(self, server, _SERVER, policy)

    def _will_stop_(self) -> None:
        super()._will_stop_()
        server: Any = (self._children_ or {}).get(_SERVER) if self._places_ else None
        if server is not None:
            server._let_clients_go_()

    def start(self) -> None:
        """Start the providers in order; see `Service.start`."""
        super().start()

    def stop(self, timeout: Seconds | None = SHUTDOWN_TIMEOUT) -> StopReport:
        """Stop the app, by default within 30 seconds; see `Service.stop`."""
        return super().stop(timeout)

    def run(
        self,
        *,
        shutdown_timeout: Seconds = SHUTDOWN_TIMEOUT,
        host: str = HOST,
        port: int = PORT,
        unix_socket: str | None = None,
    ) -> int:
        """Run the app as the process: start, wait for a signal or its end, stop.

        To be called in the main thread. Owns SIGTERM, SIGINT and SIGHUP meanwhile: the
        first one stops the app within *shutdown_timeout* seconds, a second SIGTERM or SIGINT
        ends the process at once. A SIGHUP stops it only if the process has a controlling terminal
        now; else it reloads it, see `reload_tree`. SIGUSR1 writes the tree and all stacks to
        stderr. Blocks until the app has ended. With routes, the app serves them meanwhile.

        Args:
            shutdown_timeout: Seconds for the whole stop; `math.inf` for no limit.
            host: Where the web server listens, if there are routes, and `serve` says nothing
                else.
            port: Likewise; 0 for any that is free, which the log names.
            unix_socket: Path of a Unix socket to listen on instead.

        Returns:
            The exit code: 0 stopped as asked, 1 gave up, 3 never came up, 4 stopped
            with stragglers or over budget; or the code of a SystemExit in a service.

        Raises:
            AlreadyStarted: It runs already.
            BadValue: It has a parent, *shutdown_timeout* is no time, or *host*, *port* or
                *unix_socket* no address.
            ValueError: This is not the main thread.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        from sprag.host import run

        before = self._places_
        if self.has_routes and not before:
            self.serve = unix_socket or (host, port)
        try:
            return run(self, shutdown_timeout=shutdown_timeout)
        finally:
            self._serve_ = before


_KEYWORDS: Final = tuple(App.__init__.__kwdefaults__ or ())


def _checked_observer(
    path: Any, auth: Any, routes: str | None
) -> tuple[str, Callable[[Mapping[str, Any]], object]] | None:
    """Return where the observer page is, and who may see it; None: nowhere.

    Raises:
        BadValue: One of both is missing or of no use, or there are no routes.
    """
    if path is None and auth is None:
        return None
    if not is_a(path, str) or _OBSERVER.fullmatch(path) is None:
        raise BadValue("observer", path, "a path of its own, as in '/_sprag'")
    if not callable(auth):
        accepted = "a function (environ) -> bool that says who may see the page"
        raise BadValue("observer_auth", auth, accepted)
    if routes is None:
        raise BadValue("observer", path, "routes= beside it; without any, use 'sprag observe'")
    return path, auth


_OBSERVER: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def _checked_providers(given: Any) -> dict[str, tuple[Service, dict[str, Any]]]:
    """Return the providers by name, each with the policy that it was given there.

    Raises:
        BadValue: They are no mapping of plain names and services.
        BadPolicy: A policy keyword of one is unknown or wrong.
    """
    if not issubclass(type(given), Mapping):
        accepted = "services by their names, as in {'feed': Feed()}"
        raise BadValue("providers", given, accepted)
    mapping: Mapping[Any, Any] = given
    return {_checked_name(key): _checked(key, each) for key, each in dict(mapping).items()}


def _checked_cluster(cluster: Any) -> Cluster:
    from sprag.cluster.cluster import Cluster

    if not is_a(cluster, Cluster):
        raise BadValue("cluster", cluster, "Cluster(…), as in Cluster('redis://localhost')")
    return cluster


def _checked_metrics(metrics: Any) -> bool:
    if metrics is not True:
        raise BadValue("metrics", metrics, "True or False")
    import_module("sprag.metrics")  # says what to install, while it is still the author who looks

    return True


def _checked_name(key: Any) -> str:
    if not is_a(key, str) or not key or "/" in key:
        raise BadValue("provider", key, "a name that is not empty and holds no slash")
    return key


def _checked(key: str, given: Any) -> tuple[Service, dict[str, Any]]:
    place = f"providers[{shown(key)}]"
    accepted = "a service, or its class; or a pair of one and its policy, (Feed(), {'needs': ()})"
    service: Any = given
    policy: dict[str, Any] = {}
    if type(given) in (tuple, list):
        parts: list[Any] = [*given]
        if len(parts) != 2 or type(parts[1]) is not dict:
            raise BadValue(place, given, accepted)
        service, policy = parts
    if is_class(service):
        service = made_of(service, place, accepted)
    if not is_a(service, Service):
        raise BadValue(place, service, accepted)
    service._policy_.with_(policy)
    return service, dict(policy)

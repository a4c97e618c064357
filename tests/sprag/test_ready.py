"""`on_ready`: once the whole app is up; and providers that start after who asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import spawn
from sprag import App, DynamicSupervisor, Service, State, Supervisor, current_service
from sprag.exceptions import BadValue, NotRunning, StartFailed
from sprag_supervisor.life import bringing_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Noted(Service):
    """Notes its hooks."""

    def __init__(self, journal: list[str], name: str, *, takes: float = 0.0) -> None:
        self.journal = journal
        self.called = name
        self.takes = takes

    def on_start(self) -> None:
        gevent.sleep(self.takes)
        self.journal.append(f"start {self.called}")

    def on_ready(self) -> None:
        assert current_service() is self
        self.journal.append(f"ready {self.called}")

    def fail(self) -> None:
        raise ValueError


def test_on_ready_runs_once_the_whole_app_is_up_in_start_order(clock: VirtualClock) -> None:
    journal: list[str] = []
    inner = Supervisor([(Noted(journal, "b"), {"name": "b"})])
    app = App(
        providers={"a": Noted(journal, "a"), "inner": inner, "c": Noted(journal, "c", takes=5.0)}
    )
    with app:
        clock.settle()
        assert journal == ["start a", "start b", "start c", "ready a", "ready b", "ready c"]
    app.start()
    clock.settle()
    assert journal[6:] == ["start a", "start b", "start c", "ready a", "ready b", "ready c"]
    app.stop()


def test_on_ready_runs_again_after_each_restart(clock: VirtualClock) -> None:
    journal: list[str] = []
    a, b = Noted(journal, "a"), Noted(journal, "b")
    with App(providers={"a": a, "b": b}):
        clock.settle()
        journal.clear()
        a.spawn(a.fail)
        clock.settle()
        assert journal == ["start a", "ready a"]


def test_a_service_that_restarts_while_the_app_still_starts_waits_for_the_app(
    clock: VirtualClock,
) -> None:
    journal: list[str] = []
    a = Noted(journal, "a")
    app = App(providers={"inner": Supervisor([a]), "slow": Noted(journal, "slow", takes=5.0)})
    starting = spawn(app.start)
    clock.advance(1)
    a.spawn(a.fail)
    clock.advance(1)
    assert journal == ["start a", "start a"]
    clock.advance(5)
    starting.get()
    assert journal == ["start a", "start a", "start slow", "ready a", "ready slow"]
    app.stop()


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_a_child_that_is_added_to_an_app_that_is_up_is_ready_at_once(
    clock: VirtualClock, kind: Callable[[], Any]
) -> None:
    journal: list[str] = []
    pool = kind()
    with App(providers={"pool": pool}):
        pool.start_child(Noted(journal, "a"))
        clock.settle()
        assert journal == ["start a", "ready a"]


def test_the_root_itself_and_a_lone_service_have_an_on_ready(clock: VirtualClock) -> None:
    journal: list[str] = []
    with Noted(journal, "root") as root:
        root.adopt(Noted(journal, "child"))
        clock.settle()
    assert journal == ["start root", "ready root", "start child", "ready child"]


def test_on_ready_holds_up_nobody(clock: VirtualClock) -> None:
    class Waits(Noted):
        def on_ready(self) -> None:
            gevent.sleep(60)
            super().on_ready()

    journal: list[str] = []
    with App(providers={"a": Waits(journal, "a"), "b": Noted(journal, "b")}):
        clock.settle()
        assert journal == ["start a", "start b", "ready b"]
        clock.advance(60)
        assert journal[-1] == "ready a"


def test_an_exception_in_on_ready_is_a_crash(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Noted):
        def on_ready(self) -> None:
            super().on_ready()
            if self._incarnation_ == 1:
                raise ValueError("not ready")

    journal: list[str] = []
    fragile = Fragile(journal, "a")
    with App(providers={"a": fragile}):
        clock.settle()
        assert fragile.snapshot().incarnation == 2
        assert journal == ["start a", "ready a"] * 2
    assert "on_ready" in caplog.text


def test_a_stop_cuts_on_ready_short_and_one_that_has_not_begun_never_does(
    clock: VirtualClock,
) -> None:
    cut: list[str] = []

    class Waits(Noted):
        def on_ready(self) -> None:
            try:
                gevent.sleep(1e6)
            finally:
                cut.append(self.called)

        def on_drain(self) -> None:
            gevent.sleep(1)  # what is scheduled would run now

    with App(providers={"a": Waits([], "a")}):
        clock.settle()
    assert cut == ["a"]
    app = App(providers={"b": Waits([], "b")})
    app.start()
    app.stop()
    assert cut == ["a"]


def test_a_start_of_the_app_that_fails_makes_nobody_ready(clock: VirtualClock) -> None:
    class Broken(Service):
        fails = True

        def on_start(self) -> None:
            if Broken.fails:
                raise ValueError

    journal: list[str] = []
    app = App(providers={"a": Noted(journal, "a"), "b": Broken()})
    with pytest.raises(StartFailed):
        app.start()
    clock.settle()
    assert journal == ["start a"]
    Broken.fails = False
    with app:
        clock.settle()
        assert journal == ["start a", "start a", "ready a"]


def test_an_on_ready_that_would_never_run_is_refused() -> None:
    async def waits(self: Service) -> None: ...

    with pytest.raises(BadValue, match="on_ready"):
        type("Never", (Service,), {"on_ready": waits})


def test_what_on_ready_emits_reaches_all_and_on_start_only_who_listens_already(
    clock: VirtualClock,
) -> None:
    class Emits(Service):
        def on_start(self) -> None:
            self.heard = [self.emit("hello")]

        def on_ready(self) -> None:
            self.heard.append(self.emit("hello"))

    class Listens(Service):
        def on_start(self) -> None:
            self.listen("hello", lambda _: None)

    emits = Emits()
    with App(providers={"first": Listens(), "emits": emits, "last": Listens()}):
        clock.settle()
        assert emits.heard == [1, 2]


def test_who_has_no_on_ready_has_no_greenlet_for_it() -> None:
    with App(providers={"a": Service()}) as app:
        assert app.snapshot().children[0].owned.greenlets == 0
        assert app.service("a")._holdings_ is None
    with Service() as alone:
        assert alone.snapshot().owned.greenlets == 0


def test_an_app_in_which_nobody_has_an_on_ready_is_not_searched_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Service] = []
    get_ready = bringing_up._get_ready

    def noted(node: Any, tree: Any) -> None:
        asked.append(node)
        get_ready(node, tree)

    monkeypatch.setattr(bringing_up, "_get_ready", noted)
    with App(providers={"a": Service(), "b": Supervisor([Service()])}) as app:
        assert asked == []
        app.adopt(ready := Noted([], "ready"))
        app.adopt(Service())
        assert asked == [ready]


# -- providers by name -------------------------------------------------------------------


def test_every_on_start_finds_every_provider_in_whatever_order_they_start() -> None:
    found: dict[str, Service] = {}

    class Asks(Service):
        def __init__(self, other: str) -> None:
            self.other = other

        def on_start(self) -> None:
            found[self.other] = self.service(self.other)

    a, b = Asks("b"), Asks("a")
    app = App(providers={"a": a, "b": b})
    with app:
        assert found == {"a": a, "b": b}
    found.clear()
    with app:
        assert found == {"a": a, "b": b}


@pytest.mark.parametrize("start", ["first", "again", "group restart"])
@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("interval", (print, 1)),
        ("spawn", (print,)),
        ("listen", ("event", print)),
        ("add_cleanup", (print,)),
        ("adopt", (Service(),)),
        ("finish", ()),
    ],
)
def test_what_needs_a_provider_that_starts_later_says_so(
    clock: VirtualClock, action: str, args: tuple[object, ...], start: str
) -> None:
    said: list[str] = []

    class Early(Service):
        def on_start(self) -> None:
            with pytest.raises(NotRunning) as caught:
                getattr(self.service("late"), action)(*args)
            said.append(str(caught.value))

        def fail(self) -> None:
            raise ValueError

    early = Early()
    app = App(providers={"early": early, "late": Service()}, strategy="one_for_all")
    with app:
        if start == "group restart":
            early.spawn(early.fail)
            clock.settle()
            assert early.snapshot().incarnation == 2
    if start == "again":
        app.start()
        app.stop()
    assert len(said) == (1 if start == "first" else 2)
    for each in said:
        assert "'late' starts after 'early'" in each
        assert "put it before" in each
        assert "on_ready" in each


def test_a_provider_that_starts_later_is_not_started_as_a_tree_of_its_own(
    clock: VirtualClock,
) -> None:
    class Early(Service):
        def on_start(self) -> None:
            with pytest.raises(NotRunning, match="'late' starts after 'early'"):
                self.service("late").start()

    late = Service()
    app = App(providers={"early": Early(), "late": late})
    for _ in range(2):
        with app:
            assert late.snapshot().path == "app/late"


def test_who_calls_from_below_a_provider_is_told_the_same(clock: VirtualClock) -> None:
    class Deep(Service):
        def on_start(self) -> None:
            self.service("late").emit("event")

    with pytest.raises(StartFailed, match="'late' starts after 'boss'"):
        App(providers={"boss": Supervisor([Deep()]), "late": Service()}).start()


def test_a_provider_that_has_started_and_is_stopped_is_not_said_to_start_later(
    clock: VirtualClock,
) -> None:
    class Asks(Service):
        def ask(self) -> None:
            self.service("late").spawn(print)

    asks, late = Asks(), Service()
    with App(providers={"asks": asks, "late": late}) as app:
        late.stop()
        with pytest.raises(NotRunning, match="start it again first"):
            asks.ask()
        assert app._state_ is State.RUNNING

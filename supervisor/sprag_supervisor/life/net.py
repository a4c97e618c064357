"""The net under the engine: what escapes sprag's own code.

A user's code runs in three places only: the body of a hook, the call of a listener, the run of an
owned greenlet. Each catches what it raises, and that is a crash of the service. Whatever arrives
elsewhere is a bug of sprag, or a KeyboardInterrupt that Python has raised wherever it happened to
be. It must not leave a service `stopping` for ever, a turn taken, or anybody waiting. So it is
caught where the engine's work begins: in `drive` for each service, in `attend` for each item, in
`guard.report_crash`, in `start`, and in the pool's run. All come here.

Tier 1, `engine_error`: the bug is reported, and the service goes down by the general path.
Tier 2, `bugs.give_in`, if that fails as well: plain assignments, each in a `try` of its own,
that call nothing of the engine.

What makes tier 1 possible: work that is done again goes on where it stopped. A state changes in
one assignment, made before anything is called and after all records are made; an `Ending` knows
which of its steps have begun; the news of an end knows who has been told.

Guarded by tests/faults, which raises at every call, return and line of every function.
"""

from __future__ import annotations

from sprag_supervisor.life.bugs import give_in, report_bug
from sprag_supervisor.life.stopping import bring_down
from sprag_supervisor.loop.calls import faults
from sprag_supervisor.tree.node import Node


def engine_error(
    node: Node | None,
    step: str,
    error: BaseException,
    crash: BaseException | None = None,
    incarnation: int = 0,
) -> None:
    """Report what escaped the engine's code and bring *node* down. Never raises.

    Args:
        node: Whose affairs were in hand; None: nobody's.
        step: Which they were.
        error: What escaped.
        crash: What the service itself has raised, if that was being dealt with.
        incarnation: Which life of it; 0: the present one.
    """
    bug = report_bug(node, step, error)
    if node is None or incarnation not in (0, node._incarnation_):
        return
    try:
        bring_down(node, next(each for each in (crash, bug, error) if each is not None))
    except BaseException as second:  # noqa: BLE001 - tier 2 is for this
        report_bug(node, "bringing it down after a bug in sprag", second)
        give_in(node)


def _of_an_errand(concerns: object, step: str, error: BaseException) -> None:
    engine_error(concerns if isinstance(concerns, Node) else None, step, error)


faults.tell = report_bug
faults.bring_down = _of_an_errand

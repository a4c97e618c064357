"""An app that looks for the first of its programs that exits: what honcho's users expect then.

With ``--abort-on-exit`` that stops all, and its code is ours. Without it a Procfile's programs are
restarted; who knows that otherwise is told at the first exit, once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sprag import Program
from sprag_cli.up.app import App
from sprag_supervisor import State, path_of, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag import Lifecycle
    from sprag_supervisor import Node

_EVENTS: Final = ("sprag:crashed", "sprag:finished")
_ENDED: Final = (State.FINISHED, State.FAILED)


class FirstExit(App):
    """An app that looks for the first exit of a program.

    Args:
        aborts: Whether it stops all: programs must stay down then. Else it is only told.
        **given: As for `App`.
    """

    def __init__(self, *, aborts: bool, **given: Any) -> None:
        super().__init__(**given)
        self._aborts_ = aborts
        self._is_told_ = False

    def on_start(self) -> None:
        """Listen; and look who has exited before."""
        for event in _EVENTS:
            self.listen(event, self._heard)
        for program in _programs_below(self):
            if program._state_ in _ENDED:
                self._see(program)

    def _heard(self, event: Lifecycle) -> None:
        program = _found_at(self, event.path)
        if isinstance(program, Program) and program._run_ is not None:  # not the group of several
            self._see(program)

    def _see(self, program: Program) -> None:
        if self._is_told_:
            return
        self._is_told_ = True
        name = path_of(program).removeprefix(f"{path_of(self)}/")
        if self._aborts_:
            code = exit_code_of(program)
            event = "a program has exited, and that stops all (--abort-on-exit)"
            say(logging.WARNING, self, event, program=name, code=code)
            raise SystemExit(code)
        event = "a program has exited, and is seen to; --abort-on-exit would stop all"
        say(logging.INFO, self, event, program=name)


def exit_code_of(program: Program) -> int:
    """Return the exit code that a program has ended with; of a signal what a shell says of it."""
    run = program._run_
    code = None if run is None or run.child is None else run.child.code
    if code is None:
        return 1
    return 128 - code if code < 0 else code


def _programs_below(node: Node) -> Iterator[Program]:
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, Program) and each._run_ is not None:
            yield each
        pending.extend((each._children_ or {}).values())


def _found_at(root: Node, path: str) -> Node | None:
    found: Node | None = root
    for name in path.removeprefix(path_of(root)).split("/")[1:]:
        found = None if found is None else (found._children_ or {}).get(name)
    return found

"""What can go wrong with workers."""

from __future__ import annotations

from sprag_supervisor import SpragFieldsError

__all__ = ["GenerationFailed", "WorkerEnded", "WorkerHeld"]


class WorkerEnded(SpragFieldsError):
    """A worker has ended before it was ready.

    Attributes:
        worker: Its path.
        pid: The process id it had.
        how: How it has ended.
        code: Its exit code; negative: of the signal that has killed it.
        why: What it has said of that; empty: nothing.
    """

    worker: str
    pid: int
    how: str
    code: int
    why: str

    def __init__(self, worker: str, pid: int, how: str, code: int, why: str) -> None:
        super().__init__(worker=worker, pid=pid, how=how, code=code, why=why)

    def _message(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.worker} (pid {self.pid}) {self.how} before it was ready{why}"


class WorkerHeld(SpragFieldsError):
    """A worker has shown no sign of life for too long, and was killed.

    Attributes:
        worker: Its path.
        pid: The process id it had.
        seconds: For how long its loop has not turned.
    """

    worker: str
    pid: int
    seconds: float

    def __init__(self, worker: str, pid: int, seconds: float) -> None:
        super().__init__(worker=worker, pid=pid, seconds=seconds)

    def _message(self) -> str:
        return (
            f"{self.worker} (pid {self.pid}) was killed: its loop had not turned for "
            f"{self.seconds:.0f} s (--watchdog); its stacks are in the log, if it could write them"
        )


class GenerationFailed(SpragFieldsError):
    """A new generation of workers has not come up: those that were there serve on.

    Attributes:
        generation: Its number.
        why: What the worker said that did not come up.
    """

    generation: int
    why: str
    _template = "generation {generation} does not come up, and the workers serve on: {why}"

    def __init__(self, generation: int, why: str) -> None:
        super().__init__(generation=generation, why=why)

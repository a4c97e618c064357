"""What can go wrong with a program.

`sprag.exceptions` has these names, too; they are here so that who runs no programs loads none.
"""

from __future__ import annotations

import signal

from sprag_supervisor import SpragFieldsError

__all__ = [
    "BadEnvFile",
    "CannotRun",
    "FatalExit",
    "PortTaken",
    "ProgramExited",
    "ProgramKilled",
]


class CannotRun(SpragFieldsError):
    """A program cannot be run: no such binary, directory, user, or not allowed.

    Attributes:
        program: What was to be run.
        why: What is wrong, and what to do.
    """

    program: str
    why: str
    _template = "{program} cannot be run: {why}"

    def __init__(self, program: str, why: str) -> None:
        super().__init__(program=program, why=why)


class BadEnvFile(SpragFieldsError, ValueError):
    """A line of an env file is not ``NAME=value``."""

    path: str
    line: int
    why: str
    _template = "{path}:{line}: {why}"

    def __init__(self, path: str, line: int, why: str) -> None:
        super().__init__(path=path, line=line, why=why)


class PortTaken(SpragFieldsError):
    """Somebody else answers already at the port that tells when a program is ready."""

    port: int
    owner: str

    def __init__(self, port: int, owner: str) -> None:
        super().__init__(port=port, owner=owner)

    def _message(self) -> str:
        by = f" by {self.owner}" if self.owner else ""
        return f"port {self.port} is taken{by}: stop that first, or choose another port"


class ProgramExited(SpragFieldsError):
    """A program has ended with an exit code that is none of its ``success_codes``.

    Attributes:
        program: What was run.
        pid: The process id it had.
        code: Its exit code.
        why: What it has told its parent of that, as a worker does; empty: nothing.
    """

    program: str
    pid: int
    code: int
    why: str
    _template = "{program} (pid {pid}) has exited with code {code}"

    def __init__(self, program: str, pid: int, code: int, why: str = "") -> None:
        super().__init__(program=program, pid=pid, code=code, why=why)

    def _message(self) -> str:
        return super()._message() + (f": {self.why}" if self.why else "")


class FatalExit(ProgramExited):
    """A program has ended with one of its ``fatal_codes``: it is not restarted."""

    _template = "{program} (pid {pid}) has exited with code {code}, one of its fatal_codes"


class ProgramKilled(SpragFieldsError):
    """A program was ended by a signal that sprag has not sent.

    Attributes:
        program: What was run.
        pid: The process id it had.
        number: The signal.
        why: ``out of memory``, if it was the kernel that has killed it for that; ``perhaps out of
            memory``, if that can only be guessed; empty: nobody knows.
    """

    program: str
    pid: int
    number: int
    why: str

    def __init__(self, program: str, pid: int, number: int, why: str = "") -> None:
        super().__init__(program=program, pid=pid, number=number, why=why)

    def _message(self) -> str:
        return f"{self.program} (pid {self.pid}) {killed_by(self.number, self.why)}"


def killed_by(number: int, why: str = "") -> str:
    """Return ``was killed by SIGKILL: out of memory``."""
    said = f"was killed by {signal_name(number)}"
    return f"{said}: {why}" if why else said


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

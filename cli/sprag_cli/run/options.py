"""What `sprag run` and its like were asked for; `commands` explains it, and has the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sprag_cli.run.binding import Bind
    from sprag_cli.run.logs import LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What every command that runs a tree as the process is told; `commands` has the defaults."""

    name: str | None
    shutdown_timeout: float
    log_format: LogFormat
    log_level: str
    control: bool
    tree: bool
    watchdog: float | None
    watchdog_exit: bool
    drain_delay: float
    ops_port: tuple[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(Running):
    """The options of ``sprag run``; `commands` explains them, and has their defaults."""

    target: str
    binds: tuple[Bind, ...]
    socket_mode: int | None
    workers: int | None
    max_lifetime: float | None
    max_memory: int | None
    env_file: str | None
    reload: bool
    reload_dir: tuple[str, ...]
    reload_include: tuple[str, ...]
    reload_exclude: tuple[str, ...]

"""``sprag up``: read a file, and run, check or show what it declares."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sprag._exit_codes import ExitCode
from sprag_cli.check.check import examined, render
from sprag_cli.check.lint import Finding
from sprag_cli.run.load import UserCodeFailed
from sprag_cli.run.options import Running
from sprag_cli.run.run import run_made
from sprag_cli.term.output import painted, write
from sprag_cli.term.screen import screen_of
from sprag_cli.up.build import Exits, make_app
from sprag_cli.up.faults import BadFile, shown_path
from sprag_cli.up.permissions import refuse_untrusted
from sprag_cli.up.procfile import is_procfile, read_procfile
from sprag_cli.up.replicas import with_formation
from sprag_cli.up.show import drawn
from sprag_cli.up.source import Source
from sprag_cli.up.sprag_toml import read_toml
from sprag_cli.up.surroundings import exposed_files, missing
from sprag_cli.up.watch import watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sprag
    from sprag_cli.up.declared import Declared
    from sprag_supervisor import Node

USUAL: Final = ("sprag.toml", "Procfile")
"""The files that are looked for, the first that is there."""
EXPOSED: Final = "env-file-exposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(Running):
    """The options of ``sprag up``; `commands` explains them, and has their defaults.

    Attributes:
        keeps_budget: The time for the stop was given, and wins over the file's.
    """

    file: str | None
    keeps_budget: bool
    formation: Mapping[str, int]
    abort_on_exit: bool
    watch: bool
    check: bool
    dry_run: bool
    ascii: bool


def up(options: UpOptions) -> int:
    """Carry out ``sprag up``: blocks until the app has ended.

    The working directory becomes that of the file: Python services are looked for there.

    Returns:
        The exit code.

    Raises:
        CommandError: The file cannot be read, or what it declares cannot be run.
    """
    file = Path(options.file) if options.file is not None else usual_file()
    how: Exits = "abort" if options.abort_on_exit else "restart"
    if how == "restart" and is_procfile(file):
        how = "tell"

    def reading(file: Path) -> Declared:
        declared = read(file)
        return with_formation(declared, options.formation) if options.formation else declared

    source = Source(file, reading, how)
    declared = source.declared
    seconds = declared.root.settings.get("shutdown_timeout")
    if seconds is not None and not options.keeps_budget:
        options = replace(options, shutdown_timeout=seconds)
    if options.dry_run:
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        write(
            sys.stdout,
            painted(drawn(declared, width=screen.width, charset=screen.charset), screen),
        )
        return ExitCode.WELL
    try:
        os.chdir(declared.folder)
    except OSError as error:
        raise BadFile(f"{declared.folder}: {error.strerror or error}") from None
    if options.check:
        return _check(declared, options)

    def is_up(app: sprag.Service) -> None:
        if options.watch:
            watch(source, app)

    return run_made(source.make, options, is_up)


def usual_file() -> Path:
    """Return the file to read where none is given.

    Raises:
        BadFile: There is none here.
    """
    for name in USUAL:
        if (file := Path(name)).exists():
            return file
    raise BadFile(f"there is no {' and no '.join(USUAL)} here: name a file, or write one")


def read(file: Path) -> Declared:
    """Return what *file* declares.

    Raises:
        BadFile: It cannot be read, or is wrong.
        Untrusted: Anybody may write it, and we are root.
    """
    refuse_untrusted(file)
    return read_procfile(file) if is_procfile(file) else read_toml(file)


def _check(declared: Declared, options: UpOptions) -> int:
    try:
        app = make_app(declared)
    except SystemExit as error:  # as in 'sprag check': it has not come to its end
        inside = error.__traceback__ and error.__traceback__.tb_next
        doing = f"making what {shown_path(declared.file)} declares"
        raise UserCodeFailed(doing, error.with_traceback(inside)) from error
    plan, findings = examined(cast("Node", app), options.shutdown_timeout, frozenset())
    for path, file, may in exposed_files(declared):
        remedy = f"chmod o-rwx {shown_path(file)}"
        findings.append(Finding(EXPOSED, path, f"anybody may {may} {shown_path(file)}", remedy))
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    count = sum(1 for _ in plan.walk())
    lines = render(plan.path, count, findings, [], width=screen.width, charset=screen.charset)
    write(sys.stdout, painted(lines, screen))
    if not_here := missing(declared):
        write(sys.stdout, "\n".join(["", "not on this machine:", *not_here, ""]))
    return ExitCode.FAILED if findings else ExitCode.WELL

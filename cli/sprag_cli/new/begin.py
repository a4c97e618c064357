"""``sprag init``: write the files of a new project."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from sprag._exit_codes import ExitCode
from sprag_cli.new.project import files, module_of
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import write


class CannotBegin(CommandError):
    """Raised when a project cannot be written down."""

    exit_code = ExitCode.FAILED

    def __init__(self, folder: Path, reason: str) -> None:
        """Say where, and why."""
        super().__init__(f"{folder}: {reason}")


def begin(name: str, where: Path) -> int:
    """Write a project called *name* into a new folder in *where*, all of it or nothing.

    Raises:
        CommandError: It cannot be called so, is there already, or cannot be written.
    """
    texts = files(name)
    folder = where / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotBegin(folder, "is there already — nothing was changed; use another name")
    try:
        _write(texts, folder, where)
    except OSError as error:
        raise CannotBegin(folder, f"cannot be written: {error.strerror or error}") from None
    module = module_of(name)
    rows = [f"  {folder.name}/{path}\n" for path in texts]
    steps = [f"  cd {folder.name}\n", f"  sprag run {module}.main:app\n", "  sprag tree\n"]
    ahead = "run it, and look at it from another terminal:\n"
    write(sys.stdout, "".join([f"{name} is there:\n", *rows, ahead, *steps]))
    return ExitCode.WELL


def _write(texts: dict[str, str], folder: Path, where: Path) -> None:
    half_done = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=where))
    try:
        for path, text in texts.items():
            file = half_done / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        half_done.chmod(0o755)
        half_done.replace(folder)
    except BaseException:
        shutil.rmtree(half_done, ignore_errors=True)
        raise

"""The static folder beside the routes, under ``/static/``."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sprag.web.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug.wrappers import Response

PREFIX: Final = "/static/"


class StaticFiles:
    """Plain files for everybody: those below the given folders, and no others.

    A name is refused (as if there were no such file) when a part of it is empty, hidden,
    ``..``, no UTF-8, or holds a backslash or NUL; and when the file, with all links
    followed, lies outside its folder.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [folder.resolve() for folder in folders if folder.is_dir()]

    def find(self, name: str) -> Path | None:
        """Return the file that *name*, the part behind ``/static/``, stands for."""
        parts = name.split("/")
        if any(not part or part[0] == "." or "\\" in part or "\0" in part for part in parts):
            return None
        for folder in self._folders:
            path = Path(os.path.realpath(folder.joinpath(*parts)))
            try:
                if path.is_relative_to(folder) and path.is_file():
                    return path
            except OSError:  # the name is too long, say
                continue
        return None

    def url_of(self, name: str) -> str | None:
        """Return the path under which the file called *name* is served, if there is one."""
        name = name.removeprefix("static/")
        return None if self.find(name) is None else PREFIX + quote(name)


def send(path: Path, environ: dict[str, Any]) -> Response | None:
    """Return the answer for a GET of the file; None if it cannot be read.

    Raises:
        HTTPError: 503: the process has no file descriptor left for it.
    """
    from werkzeug.utils import send_file

    try:
        # Conditional and range requests are Werkzeug's; a browser asks each time.
        answer = send_file(
            path, environ, download_name=path.name.encode("utf-8", "replace").decode()
        )
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise HTTPError(503, "too many files are open", {"Retry-After": "1"}) from error
        return None  # not ours to read, or gone meanwhile
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer

"""Files of environment variables, ``.env`` by custom: ``NAME=value``, a line each.

As docker and honcho read them, as far as they agree: blank lines and comments, ``export`` in front,
quotes around a value. Nothing is interpolated: what is there is what the program gets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sprag.programs.exceptions import BadEnvFile

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_QUOTED: Final = re.compile(
    r"""(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*(?:#.*)?\Z"""
)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*\Z")
_ESCAPED: Final = re.compile(r"\\(.)")
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t"}
_LARGEST: Final = 1 << 20


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of the file at *path*; of two of one name the later.

    Raises:
        OSError: It cannot be read.
        BadEnvFile: A line is no ``NAME=value``, the file is no text, or larger than 1 MB.
    """
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise BadEnvFile(str(path), 1, "the file is larger than 1 MB: is it an env file?")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadEnvFile(str(path), line, "this is not UTF-8") from None
    return parse_env(text, str(path))


def parse_env(text: str, path: str) -> dict[str, str]:
    """Return the variables in *text*, which is that of *path*.

    Raises:
        BadEnvFile: As for `read_env_file`.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals:
            why = "a line is NAME=value, a comment that begins with #, or empty"
            raise BadEnvFile(path, number, why)
        if not _NAME.match(name):
            why = "a name has letters, digits and _, and begins with no digit"
            raise BadEnvFile(path, number, why)
        found[name] = _value(value.strip(), path, number)
    return found


def _value(given: str, path: str, number: int) -> str:
    if given[:1] in ('"', "'"):
        quoted = _QUOTED.match(given)
        if quoted is None:
            raise BadEnvFile(path, number, "the quotes do not close on this line")
        text = quoted["text"]
        value = text if quoted["quote"] == "'" else _ESCAPED.sub(_unescaped, text)
    else:
        value = _COMMENT.sub("", given).rstrip()
    if "\0" in value:
        raise BadEnvFile(path, number, "a value has no zero byte")
    return value


def _unescaped(found: re.Match[str]) -> str:
    return _MEANT.get(found[1], found[1])

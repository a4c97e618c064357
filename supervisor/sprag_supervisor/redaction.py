"""How a value of somebody else's is told, so that no secret is told with it.

Here alone is decided what of an argument is shown: in the log of a crash, in what ``sprag status``
says, and in the message of an error that names what was given. None of the object's code runs,
and what is shown is bounded. A secret is known by its name (that of a parameter or of a key of a
dict, at any depth) or by what a text looks like: ``://user:password@``, ``token=…``, ``Bearer …``.
"""

from __future__ import annotations

import re
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, cast

from sprag_supervisor.foreign import attribute_of, class_name, is_a, member_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REDACTED: Final = "***"
"""What stands for a secret."""
LONGEST: Final = 80
"""Characters of a text that is shown."""
_MOST: Final = 10
"""Elements of a collection that are shown, …"""
_DEPTH: Final = 4
"""… collections within each other, …"""
_ARGUMENTS: Final = 20
"""… and arguments."""
_BITS: Final = 256
_LOOKED_AT: Final = 1000
_MAX_WRAPPERS: Final = 20
_OURS: Final = ("sprag.", "sprag_supervisor.")

_PARTS: Final = ("passw", "passphrase", "secret", "token", "apikey", "credential", "authoriz")
"""What makes a name a secret's wherever it stands in it …"""
_WORDS: Final = frozenset(
    {
        *("pwd", "pw", "pass", "auth", "key", "keys", "pin", "otp", "jwt", "salt", "bearer"),
        *("cookie", "cookies", "session", "signature", "cred", "creds"),
    }
)
"""… and what does as a word of its own, as in ``api_key``, ``sshKey``, ``KEY``."""
_BETWEEN_WORDS: Final = re.compile(r"[^a-zA-Z]+|(?<=[a-z])(?=[A-Z])")
_VALUE: Final = r"""(?:b?'(?:[^'\\]|\\.)*+'|b?"(?:[^"\\]|\\.)*+"|[^\s,;&)}\]]++)"""
# A message of any length is looked at, and somebody waits: each begins at the beginning of a word,
# and gives nothing back, so that the time goes with the length (test_redaction, "the time").
_USER_INFO: Final = re.compile(r"://([^\s'\"<>]*+)")
_SCHEME: Final = re.compile(
    r"\b(bearer|basic|authorization:\s*+\w++)\s++[^\s'\",]++", re.IGNORECASE
)
_PAIR: Final = re.compile(
    rf"""(?<![\w.-])
        (?=[\w.-]*?(?:passw|passphrase|pwd|secret|token|credential|authoriz
            |(?:api|access|account|private)[-_]?key))
        ([\w.-]++\\?['"]?\s*+[:=]\s*+|--?[\w-]++\s++)
        {_VALUE}""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def is_secret(name: str) -> bool:
    """Whether what goes by this *name* is not to be shown."""
    lower = name.lower()
    squeezed = lower.replace("_", "").replace("-", "")
    if any(part in squeezed for part in _PARTS):
        return True
    words = [word.lower() for word in _BETWEEN_WORDS.split(name)]
    return not _WORDS.isdisjoint(words)


def redacted(text: str) -> str:
    """Return *text* without what looks like a secret in it."""
    if "://" in text:
        text = _USER_INFO.sub(_without_user, text)
    return _PAIR.sub(rf"\1{REDACTED}", _SCHEME.sub(rf"\1 {REDACTED}", text))


def _without_user(found: re.Match[str]) -> str:
    _, at, host = found[1].rpartition("@")
    return f"://{REDACTED}@{host}" if at else found[0]


def told(value: object, name: str = "", *, texts: bool) -> str:
    """Return what may be shown of *value*, on one line.

    Numbers, bools, None and members of enums as they are, everything else as its class:
    ``<str>``. None of the value's own code runs.

    Args:
        value: Anything.
        name: What it goes by: that of a secret hides all but None, True and False.
        texts: Show short texts, too, without what looks like a secret in them, and what is in
            lists, tuples, sets and dicts.
    """
    return _told(value, name, texts=texts, depth=0)


def arguments_told(
    kind: type, args: tuple[object, ...], keywords: Mapping[str, object], *, texts: bool
) -> dict[str, str]:
    """Return what may be shown of the arguments that an object of *kind* was made with.

    By the names of the parameters of its ``__init__``. A text whose parameter has no name that
    can be found is not shown. Of sprag's own classes nothing is told: what they are given is
    in the tree.

    Args:
        kind: The class.
        args: The positional arguments.
        keywords: The others.
        texts: As for `told`.
    """
    function = _init_of(kind)
    names: tuple[str, ...] = ()
    rest = ""
    if function is not None:
        if str(function.__globals__.get("__name__")).startswith(_OURS):
            return {}
        code = function.__code__
        names = code.co_varnames[1 : code.co_argcount]
        if code.co_flags & 4:  # it takes *args
            rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    shown: dict[str, str] = {}
    for number, value in enumerate(args[:_ARGUMENTS]):
        if number < len(names):
            shown[names[number]] = told(value, names[number], texts=texts)
        else:
            label = f"{rest or 'argument'}[{number - len(names)}]"
            shown[label] = told(value, rest, texts=texts and bool(rest))
    for name in list(keywords)[: _ARGUMENTS - len(shown)]:
        shown[_key(name)] = told(keywords[name], name, texts=texts)
    left = len(args) + len(keywords) - len(shown)
    if left > 0:
        shown["…"] = f"{left} more"
    return shown


def _init_of(kind: type) -> FunctionType | None:
    """Return the function behind ``__init__``, past decorators that say what they wrap."""
    found = member_of(kind, "__init__")
    for _ in range(_MAX_WRAPPERS):
        if type(found) is not FunctionType or "__wrapped__" not in found.__dict__:
            break
        found = found.__dict__["__wrapped__"]
    return found if type(found) is FunctionType else None


def _told(value: object, name: str, *, texts: bool, depth: int) -> str:
    kind = _kind_of(value)
    if value is None or kind is bool:
        return repr(value)
    if name and is_secret(name):
        return REDACTED
    if issubclass(kind, Enum):
        member = attribute_of(value, "_name_")
        return f"{class_name(kind)}.{member}" if type(member) is str else f"<{class_name(kind)}>"
    if is_a(value, int):
        bits = int.bit_length(value)
        return int.__repr__(value) if bits <= _BITS else f"<int of {bits} bits>"
    for number in (float, complex):
        if issubclass(kind, number):
            return str(cast("Any", number).__repr__(value))
    if texts and is_a(value, str):
        text = str.__str__(value)
        return repr(redacted(text)) if len(text) <= LONGEST else f"<str of {len(text)} characters>"
    if texts and kind in _BRACKETS:
        return _elements(value, name, depth)
    return f"<{class_name(kind)}>"


_BRACKETS: Final[dict[type, str]] = {
    list: "[]",
    tuple: "()",
    set: "{}",
    frozenset: "{}",
    dict: "{}",
}


def _elements(value: Any, name: str, depth: int) -> str:
    kind = _kind_of(value)
    opening, closing = tuple(_BRACKETS[kind])
    count = len(value)
    if depth == _DEPTH:
        return f"{opening}…{closing}" if count else opening + closing
    parts: list[str] = []
    option: str | None = None
    try:
        each: Any
        for each in _some(value.items() if kind is dict else value):
            if kind is dict:
                parts.append(": ".join(_pair(*each, name=name, depth=depth)))
            elif _is_named(each):
                # As in the headers of a request.
                parts.append(f"({', '.join(_pair(*each, name=name, depth=depth))})")
            else:
                own = name if option is None else option
                parts.append(_told(each, own, texts=True, depth=depth + 1))
                option = _option(each)
    except RuntimeError:  # another thread changes it
        return f"<{class_name(kind)}>"
    if count > len(parts):
        parts.append(f"… {count - len(parts)} more")
    return f"{opening}{', '.join(parts)}{closing}"


def _kind_of(value: object) -> type[object]:
    return type(value)


def _is_named(each: Any) -> bool:
    return _kind_of(each) is tuple and len(each) == 2 and is_a(each[0], str)


def _option(each: object) -> str | None:
    """Return *each* if it is an option of a command, whose value comes next."""
    text = str.__str__(each) if is_a(each, str) else ""
    return text if text.startswith("-") and "=" not in text and len(text) <= LONGEST else None


def _some(values: Iterable[Any]) -> Iterable[Any]:
    for number, each in enumerate(values):
        if number == _MOST:
            return
        yield each


def _pair(key: object, value: object, *, name: str, depth: int) -> tuple[str, str]:
    """Return a key and its value: whose name is the key, and that of all they are in."""
    if is_a(key, str):
        text = str.__str__(key)
        return repr(_key(text)), _told(value, text, texts=True, depth=depth + 1)
    return (
        _told(key, name, texts=True, depth=depth + 1),
        _told(value, name, texts=True, depth=depth + 1),
    )


def _key(text: str) -> str:
    text = redacted(text[:_LOOKED_AT])  # before it is cut, which might part a secret's marks
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

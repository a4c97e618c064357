"""What all errors of sprag have in common: a message that is made of facts, and says what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Final

from sprag_supervisor.foreign import class_name
from sprag_supervisor.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable


class SpragError(Exception):
    """Root of all errors that sprag raises on purpose."""


_SHOWN: Final = 200
_LOOKED_AT: Final = 1000
_LISTED: Final = 20
"""Choices that are listed; a supervisor may have any number of children."""
_COMPARED: Final = 1000


def shown(given: object) -> str:
    """Return the repr of something foreign: cut, without what looks like a secret.

    And whatever its ``__repr__`` raises.
    """
    try:
        text = str.__str__(repr(given[:_LOOKED_AT] if type(given) is str else given))
    except BaseException as error:  # noqa: BLE001 - ours is what must be told
        return f"<{class_name(type(given))}, whose __repr__ raised {class_name(type(error))}>"
    text = redacted(text[:_LOOKED_AT])  # before it is cut, which might part a secret's marks
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _rebuild(cls: type[SpragFieldsError], fields: dict[str, object]) -> SpragFieldsError:
    return cls(**fields)


class SpragFieldsError(SpragError):
    """An error whose message is made from its fields."""

    _template: ClassVar[str] = ""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)
        self._fields = fields
        super().__init__(self._message())

    def _message(self) -> str:
        fields = self._fields
        if "given" in fields:
            fields = {**fields, "shown": shown(fields["given"])}
        return self._template.format_map(fields)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self._fields), vars(self)  # with any notes


def _word(given: object) -> str:
    try:
        return str.__str__(str(given))[:_SHOWN]
    except BaseException:  # noqa: BLE001 - as above
        return ""


def choices(given: object, accepted: Iterable[str]) -> str:
    """Return the accepted values as text, the likeliest first when *given* is a misspelling."""
    names = list(accepted)
    near = get_close_matches(_word(given), names[:_COMPARED], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(name) for name in names[:_LISTED]) + more + hint

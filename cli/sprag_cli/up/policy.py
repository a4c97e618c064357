"""The policy of what a file declares: what is written there, over the defaults of a file.

Who writes no Python has no other place to say that a program may be gone for a while. So in a file
nothing gives up unless it says when: a supervisor has no restart limit, and restarts wait longer
and longer.
"""

from __future__ import annotations

import builtins
import math
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import sprag
from sprag import exceptions
from sprag.exceptions import BadPolicy
from sprag.programs import exceptions as of_programs
from sprag_cli.up.declared import Entry, Group, Program, PythonService
from sprag_cli.up.kinds import is_table
from sprag_cli.up.plan import starts_in_order
from sprag_supervisor import KEYWORDS, choices

if TYPE_CHECKING:
    from sprag_supervisor import Policy


def policy_of(entry: Entry, settings: dict[str, Any], parent: Group) -> dict[str, Any]:
    """Take the policy out of *settings*, and return it with the defaults of a file.

    Raises:
        BadPolicy: There is no such exception.
    """
    policy = {each: settings.pop(each) for each in KEYWORDS if each in settings}
    if "backoff" in policy:
        policy["backoff"] = _backoff(policy["backoff"])
    if "on_failure" in policy:
        given = policy["on_failure"]
        policy["on_failure"] = {_exception(name): _action(given[name]) for name in given}
    if isinstance(entry, PythonService):
        return policy
    defaults = dict(_DEFAULTS[type(entry)])
    if not starts_in_order(parent):
        defaults["needs"] = ()
    return {**defaults, **policy}


def over_class(own: Policy, given: dict[str, Any], parent: Group) -> dict[str, Any]:
    """Return what is laid over the policy of a Python service's class.

    That is what the file says, and where neither says anything the default of a file.

    Raises:
        BadPolicy: It is none.
    """
    defaults: dict[str, Any] = {}
    if own.backoff is None:
        defaults["backoff"] = sprag.Backoff()
    if own.needs is None and not starts_in_order(parent):
        defaults["needs"] = ()
    laid_over = {**defaults, **given}
    own.with_(laid_over)  # raises here, where the place in the file is known
    return laid_over


def _backoff(given: dict[str, Any] | None) -> sprag.Backoff | None:
    return None if given is None else sprag.Backoff(**given)


def _action(given: Any) -> Any:
    if not is_table(given):
        return given
    if "exit" in given:
        return sprag.ExitApp(given["exit"])
    return sprag.Backoff(**given)


def _exception(name: str) -> Any:
    """Return the class of an exception: one of sprag's, of Python's, or ``module:Class``."""
    module, colon, attribute = name.rpartition(":")
    if colon:
        try:
            found: Any = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise BadPolicy("on_failure", name, f"the class of an exception ({error})") from None
        return found
    for place in (of_programs, exceptions, builtins):
        if isinstance(found := getattr(place, name, None), type):
            return found
    ours = (*of_programs.__all__, "ProbeFailed", "StartTimeout", "Unresponsive")
    accepted = f"{choices(name, ours)}, another of sprag's or Python's, or module:Class"
    raise BadPolicy("on_failure", name, accepted)


_DEFAULTS: Final[dict[type[Entry], dict[str, Any]]] = {
    # Its limit is that of its replicas.
    Program: {"backoff": sprag.Backoff(), "retry_start": True, "max_restarts": math.inf},
    Group: {"backoff": sprag.Backoff(), "max_restarts": math.inf},
}

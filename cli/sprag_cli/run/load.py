"""Turn ``module:attribute`` into the object it names.

What the user typed wrong ends in one line that says how to type it right. What the user's own
code does wrong keeps its traceback, from the user's first line on.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import PurePath
from types import ModuleType, TracebackType
from typing import Final, TypeAlias, cast

import sprag
import sprag_supervisor
from sprag._exit_codes import ExitCode
from sprag.exceptions import SpragError
from sprag_cli.term.errors import CommandError
from sprag_cli.term.plain import printable
from sprag_supervisor import cause_of, shown_as, traceback_of

_SPRAG: Final = tuple(
    f"{os.path.dirname(os.path.realpath(str(package.__file__)))}{os.sep}"  # noqa: PTH120 - text
    for package in (sprag, sprag_supervisor)
)
"""The folders of sprag's own code."""
_PYTHON: Final = f"{os.path.dirname(os.__file__)}{os.sep}"  # noqa: PTH120 - text

IsService: TypeAlias = Callable[[object], bool]

_ACCEPTED: Final = (
    "an App, Service or Supervisor, or a class or function that makes one without arguments"
)
_CONVENTIONAL: Final = "app"


class BadTarget(CommandError):
    """Raised when the target does not have the form ``module:attribute``."""

    exit_code = ExitCode.USAGE

    def __init__(self, target: str, remedy: str) -> None:
        """Say what was given and how to write it instead."""
        super().__init__(
            f"{target!r} is not a target — write module:attribute, as in shop.main:app — {remedy}"
        )


class ModuleMissing(CommandError):
    """Raised when there is no module of that name."""

    exit_code = ExitCode.USAGE

    def __init__(self, target: str, missing: str, remedy: str) -> None:
        """Say which module is missing, where it was looked for, and what to do.

        Args:
            target: The target as given.
            missing: The first part of the module's name that cannot be found.
            remedy: What to do.
        """
        super().__init__(
            f"no module {missing!r} for {target!r} — {_looked_for_in(_here())} — {remedy}"
        )


class AttributeMissing(CommandError):
    """Raised when the module has no such attribute, or none was given and none stands out."""

    exit_code = ExitCode.USAGE

    def __init__(self, target: str, fault: str, remedy: str) -> None:
        """Say what is missing and what to write instead."""
        super().__init__(f"{target!r}: {fault} — {remedy}")


class NotAService(CommandError):
    """Raised when the target names something that cannot be run."""

    exit_code = ExitCode.USAGE

    def __init__(self, target: str, found: str, remedy: str) -> None:
        """Say what was found instead of a service."""
        super().__init__(f"{target!r} {found} — sprag runs {_ACCEPTED} — {remedy}")


class NeedsArguments(CommandError):
    """Raised when the class or function cannot be called without arguments."""

    exit_code = ExitCode.USAGE

    def __init__(self, target: str, reason: str) -> None:
        """Say which argument is missing."""
        super().__init__(
            f"{target!r} cannot be called without arguments ({reason}) — sprag runs {_ACCEPTED} "
            "— give its parameters defaults, or name a function that passes them"
        )


class UserCodeFailed(CommandError):
    """Raised when the user's own code raises while it is imported or called.

    Attributes:
        trace: The traceback, without the frames of sprag and of the import system.
    """

    exit_code = ExitCode.NEVER_CAME_UP

    def __init__(self, doing: str, error: BaseException) -> None:
        """Keep the user's part of the traceback of *error*.

        Args:
            doing: What failed, as in ``importing shop.main``.
            error: What was raised; the cause of this error.
        """
        self.trace = _trimmed(error)
        self._where = _where(error)
        super().__init__(f"{doing} raised {type(error).__name__}; nothing was started")

    def in_short(self) -> str:
        """Return the user's last line, and what was raised there."""
        return printable(self._where)

    def report(self) -> str:
        """Return the traceback and one line."""
        return f"{self.trace}{super().report()}"


class Refused(CommandError):
    """Raised when sprag refuses what the user's code asks of it: the text says what to write."""

    exit_code = ExitCode.NEVER_CAME_UP

    def __init__(self, doing: str, error: BaseException) -> None:
        """Say at which line of the user's the error arose."""
        users = [each for each in traceback.extract_tb(traceback_of(error)) if _is_users(each)]
        where = f"{os.path.relpath(users[-1].filename)}:{users[-1].lineno}" if users else doing
        super().__init__(f"{where}: {error}")


def _where(error: BaseException) -> str:
    """Return ``shop/main.py:3: NameError: …``."""
    while (cause := cause_of(error)) is not None:
        error = cause
    _kind, shown, _place = shown_as(error, None)
    said = traceback.format_exception_only(shown)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{os.path.relpath(error.filename)}:{error.lineno}: {said}"
    users = [each for each in traceback.extract_tb(traceback_of(error)) if _is_users(each)]
    return f"{os.path.relpath(users[-1].filename)}:{users[-1].lineno}: {said}" if users else said


def failed(doing: str, error: BaseException) -> CommandError:
    """Return what is to be said of an exception that the user's code has raised."""
    return (Refused if isinstance(error, SpragError) else UserCodeFailed)(doing, error)


def load(target: str, *, is_service: IsService) -> object:
    """Import what *target* names and make an instance of it.

    The current directory goes first into ``sys.path`` and stays there.

    Args:
        target: ``module:attribute``; the attribute may be dotted. Without one, ``app`` is taken,
            else the only service instance in the module.
        is_service: Tells whether an object can be run.

    Returns:
        An object that satisfies *is_service*.

    Raises:
        CommandError: One of the classes above, each with its exit code.
    """
    return _instance(named_by(target, is_service=is_service), target, is_service)


def look_for(target: str) -> None:
    """Refuse a target that cannot be one, and import nothing.

    What can be told without that is told: the form of it, and whether there is such a module, or
    such a package.

    Raises:
        BadTarget: It does not have the form ``module:attribute``.
        ModuleMissing: There is no module of that name.
    """
    name = _parse(target)[0].partition(".")[0]
    here = _here()
    if name in sys.modules or (here is not None and PathFinder.find_spec(name, [here])):
        return
    finders = (each for each in sys.meta_path if hasattr(each, "find_spec"))  # as Python's own look
    if not any(finder.find_spec(name, None) for finder in finders):
        raise ModuleMissing(target, name, _module_remedy(name, target))


def named_by(target: str, *, is_service: IsService) -> object:
    """Import what *target* names, and return it as it is; see `load`.

    Raises:
        CommandError: There is no such thing, or importing it has failed.
    """
    module_name, attribute = _parse(target)
    here = _here()
    if here is not None and sys.path[:1] != [here]:
        sys.path.insert(0, here)
    module = _imported(module_name, target)
    if attribute is None:
        attribute = _only_service(module, target, is_service)
    return _attribute(module, attribute, target, is_service)


def _parse(target: str) -> tuple[str, str | None]:
    module, colon, attribute = target.partition(":")
    path = PurePath(module)
    if path.suffix == ".py" or "/" in module or os.sep in module:
        parts = [part for part in path.with_suffix("").parts if part not in {".", "..", os.sep}]
        if (bad := next((part for part in parts if not part.isidentifier()), None)) is not None:
            better = re.sub(r"\W", "_", bad)
            better = better if better.isidentifier() else f"app_{better}"
            raise BadTarget(
                target, f"no module can be called {bad!r}: rename it, to {better!r} for instance"
            )
        remedy = f"'sprag run {'.'.join(parts)}:{attribute or _CONVENTIONAL}', from the folder"
        raise BadTarget(target, f"{remedy} that holds {parts[0]}" if parts else "name a module")
    if attribute.endswith(")"):
        plain = f"{module}:{attribute.partition('(')[0]}"
        raise BadTarget(target, f"leave out the brackets, 'sprag run {plain}' calls it")
    if not _dotted(module):
        odd = next(part for part in module.split(".") if not part.isidentifier())
        if odd:
            raise BadTarget(target, f"no module can be called {odd!r}: rename it")
        raise BadTarget(target, "the part before the colon must be a module's dotted name")
    if colon and not _dotted(attribute):
        raise BadTarget(target, "the part after the colon must be the name of an attribute")
    return module, attribute if colon else None


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _imported(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{name}.".startswith(f"{missing}.") and not _users(error.__traceback__):
            raise ModuleMissing(target, missing, _module_remedy(missing, target)) from None
        raise UserCodeFailed(f"importing {name}", error) from error
    except Exception as error:
        raise failed(f"importing {name}", error) from error


def _here() -> str | None:
    """Return the working directory; None if it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - sys.path holds text
    except OSError:
        return None


def _looked_for_in(here: str | None) -> str:
    if here is None:
        return (
            "the working directory is gone, so modules are looked for only where packages are "
            "installed"
        )
    return f"modules are looked for in {here} and where packages are installed"


def _module_remedy(missing: str, target: str) -> str:
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent)
    if package is not None and hasattr(package, last):
        return f"did you mean {parent}:{last}?"
    if package is None:
        paths = [here] if (here := _here()) is not None else []
    else:
        paths = list(cast("list[str]", getattr(package, "__path__", [])))
    names = [module.name for module in pkgutil.iter_modules(paths)]
    alike = get_close_matches(last, names, n=1)
    if alike:
        full = f"{parent}.{alike[0]}" if parent else alike[0]
        return f"did you mean {full}{target[len(missing) :]}?"
    return "run sprag from the folder that holds it, or install it"


def _only_service(module: ModuleType, target: str, is_service: IsService) -> str:
    if hasattr(module, _CONVENTIONAL):
        return _CONVENTIONAL
    names = _services(module, is_service)
    if len(names) == 1:
        return names[0]
    if names:
        remedy = " or ".join(f"'sprag run {target}:{name}'" for name in names)
        raise AttributeMissing(target, f"holds {len(names)} services and no 'app'", remedy)
    fault = "holds neither an 'app' nor any other service instance"
    raise AttributeMissing(target, fault, f"say which attribute to run: 'sprag run {target}:NAME'")


def _services(module: ModuleType, is_service: IsService) -> list[str]:
    held = vars(module).items()
    return [name for name, value in held if not name.startswith("__") and is_service(value)]


def _attribute(module: ModuleType, attribute: str, target: str, is_service: IsService) -> object:
    found: object = module
    where = module.__name__
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            alike = get_close_matches(part, dir(found), n=1)
            services = _services(module, is_service) if found is module else []
            remedy = "name one that it has"
            if alike:
                colon = ":" if found is module else "."
                remedy = f"did you mean {where}{colon}{alike[0]}?"
            elif services:
                remedy = f"it holds {', '.join(services)}"
            raise AttributeMissing(target, f"{where} has no {part!r}", remedy) from None
        where = f"{where}{':' if where == module.__name__ else '.'}{part}"
    return found


def _instance(found: object, target: str, is_service: IsService) -> object:
    if not inspect.isclass(found) and is_service(found):
        return found
    if not callable(found):
        remedy = "name the attribute that holds it"
        raise NotAService(target, f"is {_described(found)}", remedy)
    if (reason := _wants(found)) is not None:
        raise NeedsArguments(target, reason)
    try:
        made = found()
    except Exception as error:
        raise failed(f"calling {target}", error) from error
    if inspect.iscoroutine(made):
        made.close()
        raise NotAService(target, "is an async function", "gevent needs no async: use plain def")
    if inspect.isclass(made) or not is_service(made):
        what = "makes" if inspect.isclass(found) else "returned"
        remedy = "derive it from Service" if inspect.isclass(found) else "return the service"
        raise NotAService(target, f"{what} {_described(made)}", remedy)
    return made


def _wants(found: Callable[..., object]) -> str | None:
    """Return why *found* cannot be called without arguments, or ``None`` if it can."""
    try:
        inspect.signature(found).bind()
        if inspect.isclass(found):
            # A metaclass with its own __call__ hides what __init__ asks for.
            inspect.signature(found.__init__).bind(None)
    except TypeError as error:
        return str(error)
    except ValueError:
        return None  # built in, without a signature: calling it will tell
    return None


def _described(found: object) -> str:
    if found is None:
        return "None"
    if isinstance(found, ModuleType):
        return f"the module {found.__name__}"
    kind = type(found).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _users(trace: TracebackType | None) -> bool:
    """Tell whether any frame of a traceback belongs to neither sprag nor the import system."""
    return any(not _ours(each.filename) for each in traceback.extract_tb(trace))


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Whether a frame belongs to neither sprag, the import system nor this module."""
    name = frame.filename
    is_pythons = name.startswith(_PYTHON) and "site-packages" not in name
    return not _ours(name) and not is_pythons and not name.startswith(("<", *_SPRAG))


def _ours(filename: str) -> bool:
    machinery = {__file__, importlib.__file__}
    return filename.startswith("<frozen importlib") or filename in machinery


def _trimmed(error: BaseException) -> str:
    shown = traceback.TracebackException(*shown_as(error, error.__traceback__))
    pending = [shown]
    while pending:
        each = pending.pop()
        kept = [frame for frame in each.stack if not _ours(frame.filename)]
        if any(_is_users(frame) for frame in kept):
            kept = [frame for frame in kept if not frame.filename.startswith(_SPRAG)]
        each.stack = traceback.StackSummary.from_list(kept)
        chained = [each.__cause__, each.__context__, *(each.exceptions or ())]
        pending += [other for other in chained if other is not None]
    return "".join(shown.format())

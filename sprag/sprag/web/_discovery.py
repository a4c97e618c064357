"""Find the controllers in the module or package that ``routes`` names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from sprag.web._controller import Controller
from sprag.web.exceptions import RoutesMissing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType, TracebackType


def discover(routes: str) -> list[type[Controller]]:
    """Import *routes* and everything below it; return the controllers with a route of their own.

    Each class comes once, however many modules import it.

    Raises:
        RoutesMissing: There is no such module.
        Exception: What one of the modules raised, with the traceback of the user's part.
    """
    found: dict[type[Controller], None] = {}
    for module in _modules(routes):
        for value in tuple(vars(module).values()):
            if not inspect.isclass(value) or not issubclass(value, Controller):
                continue
            if vars(value).get("route") is not None:
                found[value] = None
    return list(found)


def folders(routes: str) -> list[Path]:
    """Return where the routes' templates and static files may lie, the nearest first.

    That is the folder of the module, or of the package and the one around it.
    """
    module = importlib.import_module(routes)
    inside = [Path(place) for place in getattr(module, "__path__", ())]
    if not inside and module.__file__ is not None:
        return [Path(module.__file__).parent.resolve()]
    return [folder.resolve() for place in inside for folder in (place, place.parent)]


def top_folder(routes: str) -> Path:
    """Return the folder that holds the top package of *routes*: ``app/shell.html`` is below it."""
    name = routes.partition(".")[0]
    module = importlib.import_module(name)
    places = [*getattr(module, "__path__", ()), module.__file__]
    return Path(next(filter(None, places))).parent.resolve()


def _modules(name: str) -> Iterator[ModuleType]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{name}.".startswith(f"{missing}.") and _users_part(error.__traceback__) is None:
            raise RoutesMissing(name, missing) from None
        raise error.with_traceback(_users_part(error.__traceback__)) from error.__cause__
    except Exception as error:  # noqa: BLE001 - raised again, without our part of it
        raise error.with_traceback(_users_part(error.__traceback__)) from error.__cause__
    yield module
    for below in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if not below.name.endswith(".__main__"):
            yield from _modules(below.name)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Drop what brought us to the user's first line: the import system and this module."""
    ours = {__file__, importlib.__file__}
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if filename not in ours and not filename.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None

"""Make the tree that a file declares: an `App` with programs, services and groups.

The user's own classes are imported and called here; `entry` has patched the standard library by
then, and the working directory is the file's folder.
"""

from __future__ import annotations

import math
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import sprag
from sprag.exceptions import BadPolicy, SpragError
from sprag_cli.run.load import failed, named_by
from sprag_cli.up.app import App
from sprag_cli.up.declared import Declared, Entry, Group, Program, PythonService
from sprag_cli.up.faults import BadFile, Faults, dotted
from sprag_cli.up.first_exit import FirstExit
from sprag_cli.up.policy import over_class, policy_of

if TYPE_CHECKING:
    from sprag_cli.up.app import Rereads
    from sprag_cli.up.faults import Key

_STREAMS: Final = ("log", "inherit")


Exits = Literal["restart", "tell", "abort"]
"""What becomes of programs that exit: they are restarted, at the first it is told that they are,
or the first stops all."""


def make_app(
    declared: Declared, exits: Exits = "restart", source: Rereads | None = None
) -> sprag.App:
    """Return the app that *declared* stands for; nothing of it is started.

    Args:
        declared: What is to run.
        exits: What becomes of programs that exit.
        source: Reads the file again for it; None: nobody does.

    Raises:
        BadFile: sprag refuses what the file asks for.
        CommandError: A Python service cannot be imported, or made.
    """
    return _Builder(declared, exits, source).app()


class _Builder:
    def __init__(self, declared: Declared, exits: Exits, source: Rereads | None) -> None:
        self._declared = declared
        self._exits = exits
        self._source = source

    def app(self) -> sprag.App:
        root = self._declared.root
        given: dict[str, Any] = {"max_restarts": math.inf, **root.settings, "name": root.name}
        for key in ("in_order", "shutdown_timeout"):
            given.pop(key, None)
        given["source"] = self._source
        given["providers"] = {
            each.name: self._made(each, root, (each.name,)) for each in root.members
        }
        try:
            if self._exits == "restart":
                return App(**given)
            return FirstExit(aborts=self._exits == "abort", **given)
        except SpragError as error:
            raise self._refused(root, ("app",), error) from None

    def _made(self, entry: Entry, parent: Group, key: Key) -> tuple[sprag.Service, dict[str, Any]]:
        """Return what *entry* stands for, and the policy that is laid over what it asks for.

        That of a Python service is not put into it: each restart renews what is in it.
        """
        settings = dict(entry.settings)
        try:
            if settings.get("significant") and "auto_shutdown" not in parent.settings:
                raise BadPolicy("significant", True, "it in a group with auto_shutdown set")
            policy = policy_of(entry, settings, parent)
            if isinstance(entry, Program):
                return self._program(entry, settings, policy), {}
            if isinstance(entry, Group):
                return self._group(entry, policy, key), {}
            assert isinstance(entry, PythonService)
            service = self._service(entry, settings, key)
            return service, over_class(service._policy_, policy, parent)
        except SpragError as error:
            raise self._refused(entry, key, error) from None

    def _program(
        self, entry: Program, settings: dict[str, Any], policy: dict[str, Any]
    ) -> sprag.Service:
        if self._exits == "abort":
            policy |= {"restart": "transient", "on_failure": {Exception: "stop"}}
            policy["retry_start"] = False
            settings.pop("settle", None)  # one that exits early has exited, and has a code
        folder = self._declared.folder
        given = {**settings, "cwd": folder / settings.get("cwd", "")}
        if "env_file" in settings:
            given["env_file"] = folder / settings["env_file"]
        if settings.get("output", "log") not in _STREAMS:
            given["output"] = folder / settings["output"]
        for key in ("ready", "alive"):
            if key in settings:
                given[key] = probe_of(settings[key])
        return sprag.Program(**given, **policy, name=entry.name)

    def _group(self, entry: Group, policy: dict[str, Any], key: Key) -> sprag.Service:
        children: list[tuple[sprag.Service, dict[str, Any]]] = []
        for each in entry.members:
            service, given = self._made(each, entry, (*key, each.name))
            children.append((service, {**given, "name": each.name}))
        return sprag.Supervisor(children, name=entry.name, **policy)

    def _service(self, entry: Entry, settings: dict[str, Any], key: Key) -> sprag.Service:
        target, args = settings["use"], settings.get("args", {})
        found = named_by(target, is_service=is_service)
        if not callable(found):
            accepted = "write a class of a service, or a function that makes one"
            raise self._refused(entry, key, f"{target} is none of a service's — {accepted}", "use")
        try:
            signature(found).bind(**args)
        except TypeError as error:
            fault = f"{target} does not take these arguments: {error}"
            raise self._refused(entry, key, fault, "args" if args else "use") from None
        except ValueError:
            pass  # built in, without a signature: calling it will tell
        try:
            made = found(**args)
        except Exception as error:
            raise failed(f"calling {target}", error) from error
        if not is_service(made):
            what = f"{target} makes {type(made).__name__}, and no service"
            raise self._refused(entry, key, what, "use")
        return cast("sprag.Service", made)

    def _refused(self, entry: Entry, key: Key, error: SpragError | str, at: str = "") -> BadFile:
        """Say where in the file stands what is refused."""
        argument = at or getattr(error, "keyword", "") or getattr(error, "argument", "")
        line = entry.lines.get(argument.partition(".")[0], entry.line)
        place = Faults(self._declared.file).place(line)
        return BadFile(f"{place}: {dotted(key)}: {error}")


def is_service(found: object) -> bool:
    """Whether *found* can be run."""
    return isinstance(found, sprag.Service)


def probe_of(declared: Any) -> Any:
    """Return the probe that is declared, as `Program` takes it."""
    from sprag import programs

    made = getattr(programs, declared.kind.capitalize())
    if declared.kind == "notify":
        return made(**declared.more)
    return made(declared.value, **declared.more)

"""Where the process begins: patch first, if it will run an app; only then load anything.

Nothing but ``sys`` is imported here at the top. click loads threading, structlog loads ssl and
socket: what they take from those modules before they are patched stays unpatched for ever. The
other commands are clients and must start fast: they never load gevent.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the ``sprag`` command line and leave the process with its exit code."""
    try:
        command = _loaded()
    except KeyboardInterrupt:  # a Ctrl-C, or the stop of workers of which this is a new one
        from sprag._exit_codes import ExitCode

        sys.exit(ExitCode.FORCED_INT)
    try:
        command()
    finally:
        from sprag_cli.term.output import discard_unwritten

        discard_unwritten(sys.stderr)  # or Python would end with a code of its own, 120


def _loaded() -> "Callable[[], object]":
    """Patch, if it is to run an app, and return what carries the command out."""
    _open_streams()
    if _is_bare_tree():
        from sprag_cli.commands.bare import tree

        return tree
    if _command(sys.argv[1:]) in ("run", "up", "check") and not _only_reloads(sys.argv[1:]):
        _patch()

        from sprag_cli.run.unhandled import escape_what_is_printed

        escape_what_is_printed()

    from sprag_cli.commands.group import commands

    return lambda: commands(prog_name="sprag")


def _is_bare_tree() -> bool:
    """Whether it is ``sprag tree``, and nothing but that tells what to do."""
    import os

    if sys.argv[1:] != ["tree"]:
        return False
    return not any(name in os.environ for name in ("SPRAG_APP", "_SPRAG_COMPLETE"))


def _patch() -> None:
    """Let gevent patch; it need not look for plugins of its own where there are none.

    Before and after each module it asks for them, and for each answer reads the metadata of every
    package: 25 times, two thirds of what patching takes.
    """
    from gevent import events, monkey

    of_events = events.__dict__
    ask = of_events["notify_and_call_entry_points"]
    if not _may_have_plugins():
        of_events["notify_and_call_entry_points"] = of_events["notify"]
    try:
        monkey.patch_all()
    finally:
        of_events["notify_and_call_entry_points"] = ask
    _let_native_threads_log(monkey.get_original("_thread", "RLock"))


def _let_native_threads_log(lock: "Callable[[], object]") -> None:
    """Give `logging` a lock of the system's back, where gevent has put one of its own.

    For that one, native threads that log at the same time can wait for ever. Nothing that logging
    does while it holds this lock lets other greenlets run.
    """
    import logging

    logging.__dict__["_lock"] = lock()


def _may_have_plugins() -> bool:
    """Say whether a package that is installed may have a plugin for gevent's patching.

    ``importlib.metadata`` would know, but is an eighth of a start to load. What only it can read
    may have one. gevent's own is about an argument that is not given here.
    """
    import os

    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:  # a zip archive
            return True
        except OSError:
            continue
        for name in names:
            if name.endswith(".egg"):
                return True
            if name.endswith((".dist-info", ".egg-info")) and not name.startswith("gevent-"):
                try:
                    with open(f"{folder or '.'}/{name}/entry_points.txt", "rb") as file:
                        if b"gevent.plugins.monkey" in file.read():
                            return True
                except OSError:
                    pass  # most have none
    return sum(hasattr(finder, "find_distributions") for finder in sys.meta_path) > 1


def _command(arguments: list[str]) -> str | None:
    return next((each for each in arguments if not each.startswith("-")), None)


def _only_reloads(arguments: list[str]) -> bool:
    """Whether this is the parent of ``--reload``, which runs no app, and waits in threads."""
    import os

    if "SPRAG_RELOADER" in os.environ or _command(arguments) != "run":
        return False
    return "--reload" in arguments or os.environ.get("SPRAG_RELOAD", "").lower() in _TRUE


_TRUE = ("1", "on", "t", "true", "y", "yes")


def _open_streams() -> None:
    """Give whoever was started without stdout or stderr the null device, not ``None``."""
    import os

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115

"""The standard library's own Popen, in a process in which gevent has put its own in that place.

gevent forks in Python, which copies the page tables of a large app and runs Python in the child:
3 ms and more, of a held loop. The standard library asks the kernel for a child that shares all with
us until its exec. gevent takes its pieces out of the module; so it is loaded once more, by another
name, and with an `os` that is the standard library's own: gevent's `os.close` puts the closing off
until the loop has gone round, for which the pipe of an exec cannot wait.

Nobody may ask what this returns how the process ends: gevent's loop waits for all children there
are (`child`), and of two who wait one loses exit codes.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, Final

from gevent import monkey

close: Final[Any] = monkey.get_original("os", "close")
"""Close a descriptor now. It must not be watched any more."""


def start(words: tuple[str, ...], **options: Any) -> int:
    """Start a process as `subprocess.Popen` does, and return its id. Blocks for its exec.

    Raises:
        OSError: The kernel says no.
    """
    process = _module().Popen(words, **options)
    process.returncode = 0  # it need not ask
    pid: int = process.pid
    return pid


@cache
def _module() -> Any:
    spec = spec_from_file_location("sprag.programs._subprocess", subprocess.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    plain = ModuleType("os")
    vars(plain).update(vars(os))
    saved: Any = vars(monkey)["saved"]
    for name in saved.get("os", ()):
        setattr(plain, name, monkey.get_original("os", name))
    module.os = plain  # type: ignore[attr-defined]
    return module

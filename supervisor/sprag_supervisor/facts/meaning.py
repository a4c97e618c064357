"""What an exception comes to: a crash, a kill, the end of the program."""

from __future__ import annotations

from gevent import GreenletExit

from sprag_supervisor.foreign import is_a
from sprag_supervisor.rules.groups import leaves_of


def meaning_of(error: BaseException) -> BaseException:
    """Return what *error* comes to: a group means the KeyboardInterrupt or SystemExit in it.

    A group of nothing but kills is a kill. Any other exception means itself.
    """
    kind = type(error)
    if not issubclass(kind, BaseExceptionGroup):
        return error
    leaves = list(leaves_of(error))
    for special in (KeyboardInterrupt, SystemExit):
        for leaf in leaves:
            if is_a(leaf, special):
                return leaf
    if all(is_a(leaf, GreenletExit) for leaf in leaves):
        return leaves[0]
    return error

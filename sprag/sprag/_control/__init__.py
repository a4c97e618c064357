"""The control plane of a running app: HTTP and JSON for this user's eyes only.

    curl --unix-socket "$XDG_RUNTIME_DIR/sprag/shop.4711.sock" http://app/v1/tree

It lives beside the tree, not in it: it answers while the tree starts, fails and stops.
`_http` reads what may be hostile, `_server` serves connections, `_routes` says which
module answers what; each resource has a module of its own.
"""

from sprag._control._place import runtime_directory
from sprag._control._server import ControlSocket

__all__ = ["ControlSocket", "runtime_directory"]

"""The control plane of a running app: HTTP and JSON for this user's eyes only.

    curl --unix-socket "$XDG_RUNTIME_DIR/sprag/shop.4711.sock" http://app/v1/tree

It lives beside the tree, not in it: it answers while the tree starts, fails and stops.
`http` reads what may be hostile, `server` serves connections, `routes` says which
module answers what; each resource has a module of its own. `place` is for the command line
too, which loads no gevent: so nothing is loaded here.
"""

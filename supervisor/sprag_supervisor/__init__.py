"""The engine of sprag: nodes, strategies, restart limits, shutdown, snapshots.

Users import `sprag`; this package holds what it is made of. A stranger reads it in
this order: `_states`, `_policy`, `_decide` (pure), `_node`, `_starting`, `_ending`, `_adopting`,
`_supervising`, and `_pool` for how hooks are run.
"""

from sprag_supervisor._decide import Reason
from sprag_supervisor._failure import Failure
from sprag_supervisor._history import Exit
from sprag_supervisor._managing import ChildCounts, ChildInfo, ChildSpec
from sprag_supervisor._node import Node
from sprag_supervisor._policy import Backoff, Policy
from sprag_supervisor._report import Outcome, StopEntry, StopReport
from sprag_supervisor._snapshot import Owned, Snapshot, picture, pictures, snapshot
from sprag_supervisor._states import State
from sprag_supervisor._stragglers import Straggler
from sprag_supervisor._tree import Lifecycle, Tree

__all__ = [
    "Backoff",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "Exit",
    "Failure",
    "Lifecycle",
    "Node",
    "Outcome",
    "Owned",
    "Policy",
    "Reason",
    "Snapshot",
    "State",
    "StopEntry",
    "StopReport",
    "Straggler",
    "Tree",
    "picture",
    "pictures",
    "snapshot",
]

"""The engine of sprag: nodes, strategies, restart limits, shutdown, snapshots.

Users import `sprag`; this package holds what it is made of. This module is its one face: the
library and the command line import nothing behind it. Its layers, each of which imports only
those below it:

- `process`: forks, the end of the program, the start of a tree
- `life`: how services come up, go down, and are supervised; `views`: what can be seen of it
- `tree`: the records that hold each other
- `facts`: what is remembered and told
- `loop`: how greenlets wait for each other and share their work
- `rules`: states, policies, decisions: pure

A stranger reads it in the order of docs/internals.md.
"""

from sprag_supervisor.escaping import plain, plain_lines
from sprag_supervisor.facts.asked import AskNote
from sprag_supervisor.facts.because import Because
from sprag_supervisor.facts.crash import users_part
from sprag_supervisor.facts.failure import Failure, as_text
from sprag_supervisor.facts.folding import folded, said_of
from sprag_supervisor.facts.hold import Hold, HoldNote
from sprag_supervisor.facts.lifecycle import Lifecycle, Move
from sprag_supervisor.facts.meaning import meaning_of
from sprag_supervisor.facts.memory import Exit, History, Ruling
from sprag_supervisor.facts.move import Moved, MoveNote
from sprag_supervisor.facts.replacement import ReplacementNote
from sprag_supervisor.facts.report import Outcome, StopEntry, StopReport
from sprag_supervisor.facts.stand_in import shown_as, stand_in
from sprag_supervisor.facts.straggler import Straggler
from sprag_supervisor.foreign import (
    attribute_of,
    cause_of,
    class_name,
    function_name,
    is_a,
    module_name,
    module_of,
    qualified_name,
    traceback_of,
)
from sprag_supervisor.life.adopting import adopt, adopt_all
from sprag_supervisor.life.beating import beat
from sprag_supervisor.life.by_hand import start_again, tree_of
from sprag_supervisor.life.declaring import set_ready, set_status
from sprag_supervisor.life.draining import still_drain
from sprag_supervisor.life.ending import Ending, spare
from sprag_supervisor.life.guard import (
    Managed,
    await_turn,
    end_cleanly,
    is_killers,
    report_crash,
    spawn_managed,
    start_managed,
)
from sprag_supervisor.life.holding import hold_exits, release_exits
from sprag_supervisor.life.managing import (
    ChildCounts,
    ChildInfo,
    ChildSpec,
    child_of,
    childspec_of,
    count_children,
    delete_child,
    restart_child,
    which_children,
)
from sprag_supervisor.life.pending import end_in_next_turn
from sprag_supervisor.life.placing import refuse_present
from sprag_supervisor.life.recycling import Lifetime, recycle_after
from sprag_supervisor.life.renewing import order_children, renew
from sprag_supervisor.life.resting import note_why
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.stopping import request_exit, request_stop
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.calls import Call, Work
from sprag_supervisor.loop.greenlets import frame_of, is_dead
from sprag_supervisor.loop.heap import all_of, everything, freeze, unfreeze
from sprag_supervisor.loop.left_behind import left_behind
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.loop.pool import Worker, was_thrown_in
from sprag_supervisor.loop.pools import idle_greenlets
from sprag_supervisor.loop.room import has_room, need_room
from sprag_supervisor.loop.turn import Turn
from sprag_supervisor.loop.waiting import waits_for_caller
from sprag_supervisor.process.roots import forget_hub, start_root
from sprag_supervisor.record import Record
from sprag_supervisor.redaction import arguments_told, is_secret, redacted, told
from sprag_supervisor.rules.backoff import Backoff, ExitApp
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.graph import NeedsThemselvesError, start_order
from sprag_supervisor.rules.policy import (
    KEYWORDS,
    Policy,
    Restart,
    Strategy,
    check_need,
)
from sprag_supervisor.rules.seconds import (
    LEAST,
    Seconds,
    as_count,
    as_number,
    in_seconds,
    seconds_of,
)
from sprag_supervisor.rules.states import ACTIVE, DOWN, RUNNING, SETTLED, State
from sprag_supervisor.tree.acquiring import may_acquire, not_active
from sprag_supervisor.tree.callables import (
    NEVER_RUNS,
    check_asked_result,
    check_callable,
    check_result,
    run_for_effect,
)
from sprag_supervisor.tree.classes import is_class, made_of
from sprag_supervisor.tree.drainers import forget_work, note_work
from sprag_supervisor.tree.group import next_try_of
from sprag_supervisor.tree.held import hold_of, is_held
from sprag_supervisor.tree.holdings import Holdings, held_by, hold, holdings_of, let_go
from sprag_supervisor.tree.home import (
    get_ident,
    living,
    must_be_able_to_wait,
    must_be_at_home,
    refuse,
)
from sprag_supervisor.tree.hooks import hook
from sprag_supervisor.tree.living import announce_move
from sprag_supervisor.tree.log import (
    Onlooker,
    backlogs,
    catch_up,
    configured,
    listening,
    logger,
    say,
    text_of,
)
from sprag_supervisor.tree.making import arguments_of, remember_arguments
from sprag_supervisor.tree.mistakes import (
    Mistake,
    hidden_methods,
    is_ours,
    is_policy,
    mentioned,
    mistakes_in,
)
from sprag_supervisor.tree.moves import is_active, is_at_work, settled
from sprag_supervisor.tree.names import (
    called,
    checked_name,
    is_within,
    name_of,
    path_of,
    wanted_name,
)
from sprag_supervisor.tree.node import Node, Tree
from sprag_supervisor.tree.seat import Seat, context_of, current_node, seat
from sprag_supervisor.tree.stragglers import keep as keep_straggler
from sprag_supervisor.tree.stragglers import stragglers_of
from sprag_supervisor.views.because import why_down
from sprag_supervisor.views.owned import owned_by
from sprag_supervisor.views.readiness import Lack, not_ready
from sprag_supervisor.views.snapshot import Owned, Snapshot
from sprag_supervisor.views.taking import (
    picture,
    pictures,
    snapshot,
    status_of,
    uptime_of,
    walk,
)
from sprag_supervisor.wording import SpragFieldsError, choices, shown

__all__ = [
    "ACTIVE",
    "DOWN",
    "KEYWORDS",
    "LEAST",
    "NEVER_RUNS",
    "RUNNING",
    "SETTLED",
    "AskNote",
    "Backoff",
    "Because",
    "Call",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "Ending",
    "Exit",
    "ExitApp",
    "Failure",
    "History",
    "Hold",
    "HoldNote",
    "Holdings",
    "Lack",
    "Lifecycle",
    "Lifetime",
    "Managed",
    "Mistake",
    "Move",
    "MoveNote",
    "Moved",
    "NeedsThemselvesError",
    "Node",
    "Onlooker",
    "Outcome",
    "Owned",
    "Pace",
    "Parking",
    "Policy",
    "Reason",
    "Record",
    "ReplacementNote",
    "Restart",
    "Ruling",
    "Seat",
    "Seconds",
    "Snapshot",
    "SpragFieldsError",
    "Starting",
    "State",
    "StopEntry",
    "StopReport",
    "Straggler",
    "Strategy",
    "Tree",
    "Turn",
    "Work",
    "Worker",
    "adopt",
    "adopt_all",
    "all_of",
    "announce_move",
    "arguments_of",
    "arguments_told",
    "as_count",
    "as_number",
    "as_text",
    "attribute_of",
    "await_turn",
    "backlogs",
    "beat",
    "called",
    "catch_up",
    "cause_of",
    "check_asked_result",
    "check_callable",
    "check_need",
    "check_result",
    "checked_name",
    "child_of",
    "childspec_of",
    "choices",
    "class_name",
    "clock",
    "configured",
    "context_of",
    "count_children",
    "current_node",
    "delete_child",
    "end_cleanly",
    "end_in_next_turn",
    "everything",
    "folded",
    "forget_hub",
    "forget_work",
    "frame_of",
    "freeze",
    "function_name",
    "get_ident",
    "has_room",
    "held_by",
    "hidden_methods",
    "hold",
    "hold_exits",
    "hold_of",
    "holdings_of",
    "hook",
    "idle_greenlets",
    "in_seconds",
    "is_a",
    "is_active",
    "is_at_work",
    "is_class",
    "is_dead",
    "is_held",
    "is_killers",
    "is_ours",
    "is_policy",
    "is_secret",
    "is_within",
    "keep_straggler",
    "left_behind",
    "let_go",
    "listening",
    "living",
    "logger",
    "made_of",
    "may_acquire",
    "meaning_of",
    "mentioned",
    "mistakes_in",
    "module_name",
    "module_of",
    "must_be_able_to_wait",
    "must_be_at_home",
    "name_of",
    "need_room",
    "next_try_of",
    "not_active",
    "not_ready",
    "note_why",
    "note_work",
    "order_children",
    "owned_by",
    "path_of",
    "picture",
    "pictures",
    "plain",
    "plain_lines",
    "qualified_name",
    "recycle_after",
    "redacted",
    "refuse",
    "refuse_present",
    "release_exits",
    "remember_arguments",
    "renew",
    "report_crash",
    "request_exit",
    "request_stop",
    "restart_child",
    "run_for_effect",
    "said_of",
    "say",
    "seat",
    "seconds_of",
    "set_ready",
    "set_status",
    "settled",
    "shown",
    "shown_as",
    "snapshot",
    "spare",
    "spawn_managed",
    "stand_in",
    "start_again",
    "start_managed",
    "start_order",
    "start_root",
    "status_of",
    "still_drain",
    "stragglers_of",
    "text_of",
    "told",
    "traceback_of",
    "tree_of",
    "unfreeze",
    "uptime_of",
    "users_part",
    "waits_for_caller",
    "walk",
    "wanted_name",
    "was_thrown_in",
    "which_children",
    "why_down",
]

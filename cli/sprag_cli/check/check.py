"""``sprag check``: what is likely wrong with an app, without starting it.

The user's app is loaded as `run` does; `entry` has patched the standard library by then.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import sprag
from sprag._exit_codes import ExitCode
from sprag.cluster.lease import STOP_ROOM
from sprag.exceptions import LikelyMistake, SpragError
from sprag.services.supervisor import Supervisor
from sprag.web._controller import Controller, mistakes_of_controller
from sprag_cli.check.asked import unknown
from sprag_cli.check.lint import CANNOT_START, LIKELY_MISTAKE, Finding, Plan, lint
from sprag_cli.run.load import UserCodeFailed, load
from sprag_cli.term import deep_json
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import counted, wrapped
from sprag_supervisor import (
    KEYWORDS,
    Node,
    State,
    hidden_methods,
    is_ours,
    is_policy,
    mentioned,
    mistakes_in,
    wanted_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADOPTING = frozenset({"adopt", "start_child"})
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The options of ``sprag check``; `commands` explains them, and has their defaults."""

    target: str
    shutdown_timeout: float
    ignore: tuple[str, ...]
    json: bool
    ascii: bool


def check_app(options: CheckOptions) -> int:
    """Carry out ``sprag check``: 1 if anything was found.

    Raises:
        CommandError: The target cannot be loaded; the error says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LikelyMistake)  # they are among the findings
        try:
            service = load(options.target, is_service=lambda one: isinstance(one, sprag.Service))
            root, findings = examined(
                cast("Node", service), options.shutdown_timeout, frozenset(options.ignore)
            )
        except SystemExit as error:  # a check that has not come to its end has found nothing well
            inside = error.__traceback__ and error.__traceback__.tb_next
            raise UserCodeFailed(
                f"loading {options.target}", error.with_traceback(inside)
            ) from error
    unseen = [plan.path for plan in root.walk() if plan.may_adopt]
    count = sum(1 for _ in root.walk())
    if options.json:
        told: dict[str, Any] = {
            "target": options.target,
            "services": count,
            "findings": [asdict(finding) for finding in findings],
            "unseen_below": unseen,
        }
        write(sys.stdout, deep_json.dumps(told, indent=2) + "\n")
    else:
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        lines = render(
            root.path, count, findings, unseen, width=screen.width, charset=screen.charset
        )
        write(sys.stdout, painted(lines, screen))
    return ExitCode.FAILED if findings else ExitCode.WELL


def examined(root: Node, budget: float, ignored: frozenset[str]) -> tuple[Plan, list[Finding]]:
    """Return the picture of a tree that has not been started, and all that is found in it.

    Args:
        root: The tree.
        budget: Seconds that the whole of it may take to stop.
        ignored: Rules that are not applied.

    Raises:
        UserCodeFailed: A module of the routes raises.
    """
    refusals = list(_refusals(root))
    plan = plan_of(root)
    findings = [each for each in refusals if each.rule not in ignored]
    findings += lint(plan, budget, ignored)
    classes = _classes_of(root, plan)
    findings += [each for each in unknown(plan, classes) if each.rule not in ignored]
    findings += [each for each in _mistakes() if each.rule not in ignored]
    return plan, findings


def _classes_of(root: Node, top: Plan) -> list[type]:
    """Return the classes of a tree's services, and of the controllers there are with routes."""
    found: dict[type, None] = {plan.cls: None for plan in top.walk() if plan.cls is not None}
    if isinstance(root, sprag.App) and root.has_routes:
        pending: list[type] = [Controller]
        while pending:
            below: list[type] = type.__subclasses__(pending.pop())
            pending.extend(below)
            found.update(dict.fromkeys(below))
    return list(found)


def _refusals(root: Node) -> Iterator[Finding]:
    """Yield what ``sprag run`` would refuse, as far as it can be told without a start.

    Raises:
        UserCodeFailed: A module of the routes raises.
    """
    path = wanted_name(root)
    if root._state_ is not State.NEW or root._parent_ is not None:
        fault = "it has been started, or has a parent, before 'sprag run' can start it"
        yield Finding(CANNOT_START, path, fault, "make it, and leave the start to 'sprag run'")
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            fault = "the same service has two places in the tree, and is refused at the second"
            yield Finding(CANNOT_START, wanted_name(node), fault, "make another instance")
            continue
        seen.add(id(node))
        pending.extend(child for child, _, _ in _static_children(node))
        for name, value in vars(node).items() if hasattr(node, "__dict__") else ():
            if name in KEYWORDS and isinstance(value, str) and is_policy(name, value, type(node)):
                fault = f"self.{name} = {value!r} is an attribute, and no policy"
                remedy = f"write {name}={value!r} behind the class's bases"
                yield Finding(LIKELY_MISTAKE, wanted_name(node), fault, remedy)
    if isinstance(root, sprag.App) and root.has_routes:
        try:
            root.wsgi.load()
        except SpragError as error:
            yield Finding(CANNOT_START, path, str(error), "it is refused when the app starts")
        except Exception as error:
            raise UserCodeFailed("loading the routes", error) from error


def _mistakes() -> Iterator[Finding]:
    """Yield what is likely a mistake in any class of services or controllers that was loaded."""
    pending: list[type] = [Controller, Node]
    seen: set[type] = set()
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.add(cls)
        pending.extend(reversed(type.__subclasses__(cls)))
        if is_ours(cls):
            continue
        is_service = Node in cls.__mro__
        found = mistakes_in(cls) if is_service else mistakes_of_controller(cls)
        for where, fault, remedy in found:
            yield Finding(LIKELY_MISTAKE, f"{cls.__module__}.{where}", fault, remedy)
        for where, fault, remedy in hidden_methods(cls) if is_service else ():
            yield Finding("hides-sprags", f"{cls.__module__}.{where}", fault, remedy)


def plan_of(root: Node) -> Plan:
    """Return the static picture of a tree that has not been started."""
    top = _planned(root, wanted_name(root), None, {})
    cluster = root._cluster_ if isinstance(root, sprag.App) else None
    pending = [(root, top)]
    while pending:
        service, plan = pending.pop()
        taken: set[str] = set()
        for child, given, policy in _static_children(service):
            name = given or _free(wanted_name(child), taken)
            taken.add(name)
            below = _planned(child, f"{plan.path}/{name}", plan, policy)
            plan.children.append(below)
            pending.append((child, below))
            once = below if isinstance(child, sprag.Singleton) else _planned_shard(child, below)
            if cluster is not None and once is not None:
                once.stop_within = cluster.ttl * STOP_ROOM
    return top


def _planned_shard(service: Node, plan: Plan) -> Plan | None:
    """Return the plan of one of the partitions below *plan*, if it is known what they are."""
    given: Any = service._shard_ if isinstance(service, sprag.Sharded) else None
    if not isinstance(given, type):
        return None
    shard: Any = given
    below = _planned_of(shard, shard._class_policy_, f"{plan.path}/0/{shard.__name__}", plan)
    plan.children.append(below)
    return below


def _static_children(service: Node) -> tuple[tuple[Node, str | None, dict[str, Any]], ...]:
    if isinstance(service, sprag.Singleton):
        return () if service._only_ is None else (service._only_,)
    return service._static_ if isinstance(service, Supervisor) else ()


def _planned(service: Node, path: str, parent: Plan | None, policy: dict[str, Any]) -> Plan:
    return _planned_of(type(service), service._policy_.with_(policy), path, parent)


def _planned_of(cls: type[Any], policy: Any, path: str, parent: Plan | None) -> Plan:
    is_program = issubclass(cls, sprag.Program)
    has_stop_hooks = cls.on_stop is not Node.on_stop or cls.on_drain is not Node.on_drain
    return Plan(
        path,
        policy,
        stops_together=cls._stops_together_,
        stop_takes_time=has_stop_hooks or is_program,
        beats="beat" in mentioned(cls) or is_program,
        may_adopt=cls._forgets_ended_ or _adopts(cls),
        parent=parent,
        cls=cls,
    )


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _adopts(cls: type) -> bool:
    """Whether any method of the user's own mentions `adopt` or `start_child`."""
    for base in cls.__mro__:
        if base.__module__.startswith(("sprag.", "sprag_supervisor.")):
            continue
        for value in vars(base).values():
            code = getattr(getattr(value, "__func__", value), "__code__", None)
            if code is not None and not _ADOPTING.isdisjoint(code.co_names):
                return True
    return False


def render(
    name: str,
    count: int,
    findings: list[Finding],
    unseen: list[str],
    *,
    width: int,
    charset: Charset,
) -> list[Line]:
    """Draw the findings.

    Args:
        name: The app's.
        count: Services that were looked at.
        findings: What was found.
        unseen: Services that adopt more when they run.
        width: Cells per line; longer ones are broken.
        charset: The characters to draw with.
    """
    found = counted(len(findings), "finding") if findings else "nothing found"
    lines: list[Line] = [[(f"{name}: {counted(count, 'service')}, {found}", Tone.PLAIN)]]
    arrow = "-> " if charset.ascii_only else "→ "
    for finding in findings:
        lines += [[], [(printable(finding.path), Tone.NAME), (f"  {finding.rule}", Tone.BAD)]]
        lines += _indented(finding.message, width, "  ", "  ")
        lines += _indented(finding.remedy, width, f"  {arrow}", "  " + " " * len(arrow))
    if unseen:
        named = ", ".join(unseen[:_NAMED])
        more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
        said = f"not seen: children that are adopted at run time, below {named}{more}"
        lines += [[], *_indented(said, width, "", "")]
    return charset.lines(lines)


def _indented(text: str, width: int, first: str, rest: str) -> Iterator[Line]:
    for number, line in enumerate(wrapped(text, width - len(rest))):
        yield [((rest if number else first) + line, Tone.PLAIN)]

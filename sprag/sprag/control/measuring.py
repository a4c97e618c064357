"""``GET /v1/metrics``: what is measured in this process, the program's own metrics included.

The parent of workers asks each of them for it, and tells all with ``worker=<slot>``.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet

from sprag.control.figures import Family, Labels, figures_of
from sprag.control.forwarding import Beyond, answer, slot_of
from sprag.control.http import Answer, Refused, Request
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag.control.desk import Desk
    from sprag_supervisor import Tree

_PATH: Final = "/v1/metrics"
_PATIENCE: Final = 3.0
"""Seconds that workers have."""
_MOST: Final = 50_000
"""Samples of the program's own that are taken along."""


def metrics(desk: Desk) -> Answer:
    """Return what is measured here: of a parent, without what its workers say."""
    return Answer({**desk.about(), "families": [_told(each) for each in own_families(desk.tree)]})


def own_families(tree: Tree) -> list[Family]:
    """Return what is measured in this process: sprag's, and the program's own metrics."""
    ours = figures_of(tree).families()
    names = {family.name for family in ours}
    return [*ours, *(each for each in _of_the_program() if each.name not in names)]


def families(tree: Tree) -> list[Family]:
    """Return what is measured in this process, and in each of its workers, all side by side."""
    slots = [slot_of(child) for child in (tree.root._children_ or {}).values()]
    asked = {
        str(slot.number): Greenlet(_ask, Beyond(slot, ""))
        for slot in slots
        if slot is not None and slot.serves
    }
    for each in asked.values():
        each.start()
    merged = {family.name: family for family in own_families(tree)}
    until = clock.now() + _PATIENCE
    for worker, asking in asked.items():
        asking.join(max(until - clock.now(), 0.0))
        asking.kill(block=False)
        for family in asking.value or ():
            samples = [
                (suffix, _of_worker(worker, labels), value)
                for suffix, labels, value in family.samples
            ]
            before = merged.get(family.name)
            known = () if before is None else before.samples
            merged[family.name] = family._replace(samples=[*known, *samples])
    return list(merged.values())


def _of_worker(worker: str, labels: Labels) -> Labels:
    """Return *labels* with the worker's; one of the program's of this name is another's now."""
    if "worker" in labels:
        labels = {**labels, "exported_worker": labels["worker"]}
    return {**labels, "worker": worker}


def _ask(found: Beyond) -> list[Family]:
    try:
        body = cast("Iterable[bytes]", answer(_PATH, Request("GET", _PATH), found).body)
        told: dict[str, Any] = json.loads(b"".join(body))
        return [_family(each) for each in told["families"]]
    except (OSError, Refused, ValueError, KeyError, TypeError):
        return []  # `sprag tree` says what is wrong with it


def _of_the_program() -> Iterator[Family]:
    """Yield what the program itself has registered, if it has loaded prometheus_client."""
    module: Any = sys.modules.get("prometheus_client")
    left = _MOST
    try:
        for metric in () if module is None else module.REGISTRY.collect():
            samples = [
                (sample.name.removeprefix(metric.name), dict(sample.labels), float(sample.value))
                for sample in metric.samples[:left]
                if not sample.name.endswith("_created")
            ]
            left -= len(samples)
            yield Family(metric.name, metric.type, metric.documentation, samples)
    except Exception:
        # What sprag measures is told all the same: it may show why.
        logging.getLogger("sprag").exception("the program's own metrics cannot be collected")


def _told(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "kind": family.kind,
        "text": family.text,
        # JSON has neither infinity nor NaN.
        "samples": [[suffix, labels, str(value)] for suffix, labels, value in family.samples],
    }


def _family(told: dict[str, Any]) -> Family:
    samples = [(suffix, dict(labels), float(value)) for suffix, labels, value in told["samples"]]
    return Family(told["name"], told["kind"], told["text"], samples)

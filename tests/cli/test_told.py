from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.app.told import (
    AmbiguousPath,
    Below,
    NoSuchService,
    because_text,
    below,
    children_of,
    count_of,
    cut,
    find,
    number_of,
    only_failed,
    text_of,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Make: TypeAlias = Callable[..., dict[str, Any]]


def names(root: Any, depth: int | None = None) -> list[str]:
    return [text_of(node, "name") for node, _ in walk(root, depth)]


def test_walking_goes_from_parents_to_children_in_start_order(shop: dict[str, Any]) -> None:
    assert names(shop) == ["shop", "metrics", "intake", "fleet", "courier", "printer"]
    assert names(shop, 1) == ["shop", "metrics", "intake", "fleet"]
    assert names(shop, 0) == ["shop"]


def test_the_trail_says_where_the_last_children_are(shop: dict[str, Any]) -> None:
    trails = [list(trail) for _, trail in walk(shop)]
    assert trails == [[], [False], [False], [True], [True, False], [True, True]]


@pytest.mark.parametrize("path", ["shop/fleet/courier", "fleet/courier", "/fleet/courier/"])
def test_a_path_may_begin_at_the_root_or_at_its_children(shop: dict[str, Any], path: str) -> None:
    assert find(shop, path)["name"] == "courier"


@pytest.mark.parametrize("path", ["shop", "/", ""])
def test_the_root_has_its_own_path(shop: dict[str, Any], path: str) -> None:
    assert find(shop, path) is shop


def test_a_path_that_can_mean_two_services_is_refused_with_what_to_write(make: Make) -> None:
    deep = make("a", "Child", "running", make("b", "Leaf"), make("c", "Deep"))
    root = make("a", "Root", "running", deep, make("c", "Flat"))
    with pytest.raises(AmbiguousPath) as caught:
        find(root, "a")
    assert (
        str(caught.value)
        == "'a' can mean the app a or a/a: write '/' for the app a or '/a' for a/a"
    )
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(AmbiguousPath, match="write '/c' for a/c or '/a/c' for a/a/c"):
        find(root, "a/c")
    assert find(root, "/") is root
    assert find(root, "/a")["class"] == "Child"
    assert find(root, "/c")["class"] == "Flat"
    assert find(root, "/a/c")["class"] == "Deep"


def test_a_root_and_a_child_of_one_name_are_told_apart_where_only_one_fits(make: Make) -> None:
    root = make("a", "Root", "running", make("a", "Child", "running", make("b", "Leaf")))
    assert find(root, "a/a")["class"] == "Child"
    assert find(root, "a/b")["class"] == "Leaf"
    assert find(root, "a/a/b")["class"] == "Leaf"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "fleet/curier",
            (
                "no service 'fleet/curier' — shop/fleet has courier, printer"
                " — did you mean shop/fleet/courier or shop/fleet/printer?"
            ),
        ),
        (
            "shop/flet",
            "no service 'shop/flet' — shop has metrics, intake, fleet — did you mean shop/fleet?",
        ),
        (
            "courier",
            (
                "no service 'courier' — shop has metrics, intake, fleet"
                " — did you mean shop/fleet/courier?"
            ),
        ),
        (
            "fleet/courier/x",
            (
                "no service 'fleet/courier/x' — shop/fleet/courier has no children"
                " — 'sprag tree' shows all"
            ),
        ),
    ],
)
def test_an_unknown_path_names_what_is_there(shop: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(NoSuchService) as caught:
        find(shop, path)
    assert str(caught.value) == message
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def test_a_long_list_of_names_is_shortened(make: Make) -> None:
    root = make("r", "R", "running", *(make(f"w{each}", "W") for each in range(100)))
    with pytest.raises(NoSuchService, match="r has w0, w1, w2, w3, w4, w5 and 94 more"):
        find(root, "z")


def test_what_is_below_is_counted_without_the_node_itself(make: Make) -> None:
    root = make("r", "R", "failed", make("a", "A", "failed"), make("b", "B"))
    assert below(root) == Below(services=2, failed=1)
    assert below(make("leaf", "L", "failed")) == Below(services=0, failed=0)


def test_only_the_failed_and_the_way_to_them_are_kept(shop: dict[str, Any]) -> None:
    assert only_failed(shop) is None
    shop["children"][2]["children"][1]["state"] = "failed"
    kept = only_failed(shop)
    assert kept is not None
    assert names(kept) == ["shop", "fleet", "printer"]
    assert len(children_of(shop)) == 3


def test_a_cut_tree_says_how_many_services_are_hidden(shop: dict[str, Any]) -> None:
    short = cut(shop, 1)
    assert names(short) == ["shop", "metrics", "intake", "fleet"]
    assert [child.get("hidden") for child in children_of(short)] == [None, None, 2]
    assert "hidden" not in shop["children"][2]


def test_depth_is_no_limit(make: Make) -> None:
    root = make("leaf", "Leaf", "failed")
    for _ in range(5000):
        root = make("n", "N", "running", root)
    assert below(root) == Below(5000, 1)
    kept = only_failed(root)
    assert kept is not None
    assert len(names(kept)) == 5001
    assert find(root, "/" + "/".join(["n"] * 4999))["name"] == "n"


def test_values_of_the_wrong_kind_count_as_missing() -> None:
    node: dict[str, Any] = {"name": 3, "uptime": True, "children": {"a": 1}, "restarts": "2"}
    assert text_of(node, "name") == ""
    assert number_of(node, "uptime") is None
    assert number_of(node, "restarts") is None
    assert children_of(node) == []


@pytest.mark.parametrize("told", [True, "1", None, [], 10**400, -(10**400), math.inf, math.nan])
def test_what_cannot_be_reckoned_with_is_no_number(told: object) -> None:
    assert number_of({"restarts": told}, "restarts") is None
    assert count_of({"restarts": told}, "restarts") == 0


@pytest.mark.parametrize(
    ("by", "state", "said"),
    [
        ("operator", "stopped", "by an operator"),
        ("code", "stopped", "by the app itself"),
        ("group", "stopped", "with courier"),
        ("group", "restarting", "restarts with courier"),
        ("parent", "stopped", "with courier"),
        ("ignored", "stopped", "its on_start raised Ignore"),
        ("crashed", "failed", ""),
        ("what a newer app says", "stopped", ""),
    ],
)
def test_why_a_service_is_down_is_said_where_nothing_else_tells(
    by: str, state: str, said: str
) -> None:
    because = {"by": by, "with": "shop/fleet/courier"}
    assert because_text({"state": state, "down_because": because}) == said
    assert because_text({"state": "running", "down_because": None}) == ""

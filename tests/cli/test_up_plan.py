"""What a save means for what runs: a plan, of which nothing is carried out here."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprag_cli.up.plan import Change, Plan, plan, without
from sprag_cli.up.sprag_toml import declared_in

A = "[program.a]\ncommand = ['a']\n"
B = "[program.b]\ncommand = ['b']\n"
GROUP = """\
[group.g]
{of_group}
[group.g.program.first]
command = ['first']
{of_first}
[group.g.group.h.program.last]
command = ['last']
{of_last}
"""


def planned(before: str, after: str, stale: tuple[str, ...] = ()) -> Plan:
    file = Path("/srv/shop/sprag.toml")
    return plan(declared_in(before, file).root, declared_in(after, file).root, stale)


def group(of_group: str = "", of_first: str = "", of_last: str = "") -> str:
    return GROUP.format(of_group=of_group, of_first=of_first, of_last=of_last)


def test_where_nothing_has_changed_there_is_nothing_to_do() -> None:
    assert not planned(A + group(), f"# other words\n{A}\n\n{group()}")


def test_one_is_added_and_one_removed_and_the_others_are_let_alone() -> None:
    steps = planned(A + B, A + "[program.c]\ncommand = ['c']\n")
    assert steps.changes == (Change("c", "added"), Change("b", "removed"))


@pytest.mark.parametrize(
    "key",
    ["port = 80", "env = { X = '1' }", "needs = []", "success_codes = [2]", "cwd = 'x'"],
)
def test_a_key_of_a_life_restarts_it(key: str) -> None:
    changed = Change("a", "restarted", (key.partition(" ")[0],))
    assert planned(A + B, f"{A}{key}\n{B}").changes == (changed,)
    assert planned(f"{A}{key}\n{B}", A + B).changes == (changed,)


@pytest.mark.parametrize(
    "key",
    [
        "backoff = false",
        "restart = 'transient'",
        "shutdown = 1",
        "on_failure = { OSError = 'stop' }",
    ],
)
def test_a_word_of_policy_restarts_nothing(key: str) -> None:
    changed = Change("a", "policy", (key.partition(" ")[0],))
    assert planned(A + B, f"{A}{key}\n{B}").changes == (changed,)


def test_a_key_of_a_life_beside_a_word_of_policy_restarts_it_once() -> None:
    steps = planned(A, f"{A}port = 80\nshutdown = 1\n")
    assert steps.changes == (Change("a", "restarted", ("port", "shutdown")),)


def test_of_replicas_there_may_be_more_while_the_others_run_on() -> None:
    several = f"{A}replicas = 2\n"
    steps = planned(several, f"{A}replicas = 3\nshutdown = 1\n")
    assert steps.changes == (Change("a", "scaled", ("replicas", "shutdown")),)
    assert steps.told()["scales"] == "a (replicas, shutdown)"
    for given in (A, f"{A}replicas = 3\nport = 80\n"):
        assert planned(several, given).paths("restarted") == {"a"}


def test_a_heartbeat_begins_with_a_life() -> None:
    service = "[service.a]\nuse = 'm:C'\n"
    steps = planned(service, f"{service}heartbeat = 5\n")
    assert steps.changes == (Change("a", "restarted", ("heartbeat",)),)


def test_another_class_or_another_argument_restarts_a_python_service() -> None:
    steps = planned(
        "[service.a]\nuse = 'm:C'\n[service.b]\nuse = 'm:C'\nargs = { x = 1 }\n",
        "[service.a]\nuse = 'm:D'\n[service.b]\nuse = 'm:C'\nargs = { x = true }\n",
    )
    assert [(each.path, each.keys) for each in steps.changes] == [("a", ("use",)), ("b", ("args",))]


def test_what_was_a_program_and_is_a_service_is_of_another_kind() -> None:
    steps = planned(A, "[service.a]\nuse = 'm:C'\n")
    assert steps.changes == (Change("a", "restarted", ("kind",)),)


def test_members_of_groups_change_by_themselves() -> None:
    steps = planned(group(), group(of_last="port = 80"))
    assert steps.changes == (Change("g/h/last", "restarted", ("port",)),)
    steps = planned(group(), group(of_group="max_restarts = 3", of_first="shutdown = 2"))
    assert steps.changes == (
        Change("g", "policy", ("max_restarts",)),
        Change("g/first", "policy", ("shutdown",)),
    )


def test_a_group_that_starts_anew_starts_with_all_that_is_in_it() -> None:
    steps = planned(A + group(), A + group(of_group="needs = ['a']", of_last="port = 80"))
    assert steps.changes == (Change("g", "restarted", ("needs",)),)
    assert planned(A + group(), A).changes == (Change("g", "removed"),)
    assert planned(A, A + group()).changes == (Change("g", "added"),)


def test_the_order_counts_only_where_one_starts_after_another() -> None:
    assert not planned(A + B, B + A)
    ordered = "[app]\nin_order = true\n"
    assert planned(ordered + A + B, ordered + B + A).changes == (Change("", "policy", ("order",)),)
    assert planned(ordered + A, ordered + B + A).changes == (Change("b", "added"),)
    nested = "[group.g]\nstrategy = 'rest_for_one'\n"
    one, two = A.replace("program", "group.g.program"), B.replace("program", "group.g.program")
    steps = planned(nested + one + two, nested + two + one)
    assert steps.changes == (Change("g", "policy", ("order",)),)


def test_an_env_file_that_has_changed_restarts_those_that_read_it() -> None:
    given = f"{A}env_file = '.env'\n{B}env_file = 'other'\n"
    steps = planned(given, given, (".env",))
    assert steps.changes == (Change("a", "restarted", ("env_file",)),)


def test_what_holds_for_a_whole_run_is_told_and_the_rest_of_the_app_is_policy() -> None:
    steps = planned(
        f"[app]\nname = 'shop'\n{A}",
        f"[app]\nname = 'ship'\nshutdown_timeout = 5\nmax_restarts = 3\n{A}",
    )
    assert steps.changes == (Change("", "policy", ("max_restarts",)),)
    assert steps.out_of_reach == ("name", "shutdown_timeout")
    told = steps.told()
    assert told["needs_a_restart_of_the_app"] == "name, shutdown_timeout"
    assert told["new_policy"] == "the app (max_restarts)"


def test_a_long_plan_is_cut() -> None:
    many = "".join(f"[program.p{number}]\ncommand = ['x']\n" for number in range(30))
    assert planned(A, A + many).told()["starts"].endswith(", p19 and 10 more")


def test_what_could_not_be_started_is_not_there() -> None:
    root = declared_in(A + B + group(), Path("/srv/shop/sprag.toml")).root
    left = without(root, {"b", "g/h/last"})
    assert [path for path, _ in left.placed()] == ["shop/a", "shop/g", "shop/g/first", "shop/g/h"]

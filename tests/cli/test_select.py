from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.app.select import NoMatch, matcher, select
from sprag_cli.app.told import NoSuchService

if TYPE_CHECKING:
    from collections.abc import Callable


def paths(root: dict[str, Any], *patterns: str, failed: bool = False) -> list[str]:
    return [path for path, _ in select(root, patterns, failed=failed)]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], ["shop"]),
        (["fleet"], ["shop/fleet"]),
        (["shop/fleet/courier", "fleet/courier"], ["shop/fleet/courier"]),
        (["fleet/*"], ["shop/fleet/courier", "shop/fleet/printer"]),
        (["shop/*/c*"], ["shop/fleet/courier"]),
        (["*"], ["shop/metrics", "shop/intake", "shop/fleet"]),
        (["/fleet", "/"], ["shop/fleet", "shop"]),
        (["/fleet/*"], ["shop/fleet/courier", "shop/fleet/printer"]),
        (["shop/**"], [f"shop/{x}" for x in
                       ("metrics", "intake", "fleet", "fleet/courier", "fleet/printer")]),
        (["*/[cp]?????r"], ["shop/fleet/courier", "shop/fleet/printer"]),
        (["*/[!c]*r"], ["shop/fleet/printer"]),
    ],
)  # fmt: skip
def test_paths_and_globs_mean_the_same_everywhere(
    shop: dict[str, Any], patterns: list[str], chosen: list[str]
) -> None:
    assert paths(shop, *patterns) == chosen


def test_a_name_with_a_star_in_it_is_found_as_it_is(make: Callable[..., dict[str, Any]]) -> None:
    root = make("shop", "App", "running", make("a*", "A"), make("ab", "A"))
    assert paths(root, "a*") == ["shop/a*"]
    assert paths(root, "shop/a*") == ["shop/a*"]
    assert paths(root, "[a]*") == ["shop/a*", "shop/ab"]


def test_without_a_path_it_is_the_app_whatever_its_services_are_called(
    make: Callable[..., dict[str, Any]],
) -> None:
    root = make("shop", "App", "running", make("shop", "A", "failed"), make("ab", "A"))
    assert paths(root) == ["shop"]
    assert paths(root, failed=True) == ["shop/shop"]


def test_the_failed_ones_are_chosen_from_what_is_below(
    shop: dict[str, Any], make: Callable[..., dict[str, Any]]
) -> None:
    assert paths(shop, failed=True) == []
    shop["children"][2]["children"][1]["state"] = "failed"
    assert paths(shop, failed=True) == ["shop/fleet/printer"]
    assert paths(shop, "fleet", "fleet/*", failed=True) == ["shop/fleet/printer"]
    assert paths(shop, "metrics", failed=True) == []


def test_what_means_nothing_is_not_found(shop: dict[str, Any]) -> None:
    with pytest.raises(NoMatch, match=r"no service matches 'fleet/x\*' — '\*' stands") as caught:
        paths(shop, "fleet/x*")
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    with pytest.raises(NoSuchService, match="did you mean shop/fleet/courier"):
        paths(shop, "fleet/curier")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("fleet", "shop/fleet/courier", True),
        ("shop/fleet", "shop/fleet", True),
        ("fleet/*", "shop/fleet", False),
        ("fleet/*", "shop/fleet/courier/x", True),
        ("flee", "shop/fleet", False),
        ("shop", "shop/metrics", True),
        ("/", "shop/metrics", True),
        ("/fleet", "shop/fleet/courier", True),
        ("/shop", "shop/metrics", False),
        ("*", "shop/fleet/courier", True),
        ("*", "shop", False),
        ("*/courier", "shop/metrics", False),
    ],
)
def test_what_lies_below_is_covered(pattern: str, path: str, *, covered: bool) -> None:
    assert matcher(pattern).covers(path) is covered


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("[ab]", "ab"),
        ("[!ab]", "cz-]^!"),
        ("[^ab]", "cz-]^!"),
        ("[a-c]", "abc"),
        ("[c-a]", ""),
        ("[!c-a]", "abcz-]^!"),
        ("[a-]", "a-"),
        ("[]a]", "a]"),
        ("[!]a]", "bcz-^!"),
        ("[a&&b]", "ab"),
        ("[a||b]", "ab"),
        ("[a--b]", "b"),
        ("[a^]", "a^"),
    ],
)
def test_a_set_stands_for_one_letter_of_it(pattern: str, meant: str) -> None:
    found = {letter for letter in "abcz-]^!" if matcher(pattern)(f"shop/{letter}")}
    assert found == set(meant)


@pytest.mark.parametrize("pattern", ["[!]", "[]", "[^]", "a[", "[a"])
def test_a_bracket_that_is_not_closed_stands_for_itself(pattern: str) -> None:
    assert matcher(pattern)(f"shop/{pattern}")
    assert not matcher(pattern)("shop/a")


@pytest.mark.parametrize("pattern", ["a[!x]b", "a[+-9]b", "a[/]b"])
def test_a_set_does_not_stand_for_a_slash(pattern: str) -> None:
    assert not matcher(pattern)("shop/a/b")

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn import plain
from sprag_cli.draw.render import render
from sprag_cli.term.cells import cell_len
from sprag_cli.term.style import ASCII, TONES, UNICODE, Tone
from sprag_cli.term.words import ago, clock, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    Make: TypeAlias = Callable[..., dict[str, Any]]


def picture(root: dict[str, Any], width: int, now: float = 0.0, **how: Any) -> str:
    return (
        "\n" + "\n".join(plain(line) for line in render(root, width=width, now=now, **how)) + "\n"
    )


def test_a_wide_window_shows_every_column(shop: dict[str, Any], now: float) -> None:
    assert (
        picture(shop, 104, now)
        == """
● shop           App             running     up 2h03m
├─ ● metrics     MetricsService  running     up 2h03m           ↺ 0  2 timers · 1 listener
├─ ● intake      Intake          running     up 2h03m           ↺ 0  14 greenlets
└─ ● fleet       one_for_all     running     up 12m             ↺ 1
   ├─ ↻ courier  Courier         restarting  next try in 1.6 s  ↺ 3  ValueError: bad order 17 (2 s ago)
   └─ ○ printer  Printer         finished    12m ago
"""  # noqa: E501
    )


def test_at_80_columns_the_class_has_fallen_away_and_a_failure_keeps_its_age(
    shop: dict[str, Any], now: float
) -> None:
    assert (
        picture(shop, 80, now)
        == """
● shop           running     up 2h03m
├─ ● metrics     running     up 2h03m           ↺ 0  2 timers · 1 listener
├─ ● intake      running     up 2h03m           ↺ 0  14 greenlets
└─ ● fleet       running     up 12m             ↺ 1
   ├─ ↻ courier  restarting  next try in 1.6 s  ↺ 3  ValueError: bad… (2 s ago)
   └─ ○ printer  finished    12m ago
"""
    )


def straggler(path: str, incarnation: int) -> dict[str, Any]:
    return {"path": path, "incarnation": incarnation, "step": "greenlet"}


def test_what_earlier_lives_have_left_behind_is_said_with_their_numbers(make: Make) -> None:
    own = [straggler("shop/mail", 1), straggler("shop/mail", 2), straggler("shop/mail", 2)]
    mail = make("mail", "Mail", path="shop/mail", stragglers=own, owned={"greenlets": 1})
    pool = make("pool", "Pool", path="shop/pool", stragglers=[straggler("shop/pool/one", 4)])
    assert (
        picture(make("shop", "App", "running", mail, pool), 80)
        == """
● shop     App   running  up 2h03m
├─ ● mail  Mail  running  up 2h03m  ↺ 0  1 greenlet  3 stragglers of #1, #2
└─ ● pool  Pool  running  up 2h03m  ↺ 0  1 straggler of one #4
"""
    )


def test_who_runs_and_is_not_ready_says_why_and_what_it_is_at(make: Make) -> None:
    mail = make("mail", "Mail", path="shop/mail", unready="warming up", status="3 of 9")
    pool = make("pool", "Pool", path="shop/pool", unready="", owned={"greenlets": 1})
    assert (
        picture(make("shop", "App", "running", mail, pool), 90)
        == """
● shop     App   running  up 2h03m
├─ ● mail  Mail  running  up 2h03m  ↺ 0  3 of 9  not ready: warming up
└─ ● pool  Pool  running  up 2h03m  ↺ 0  1 greenlet  not ready
"""
    )


def test_in_a_narrow_window_its_state_says_that_it_is_not_ready(make: Make) -> None:
    mail = make("mail", "Mail", path="shop/mail", unready="warming up: 3 of 9 files")
    assert (
        picture(make("shop", "App", "running", mail, make("till", "Till")), 40)
        == """
● shop     running    up 2h03m
├─ ● mail  not ready  up 2h03m  ↺ 0
└─ ● till  running    up 2h03m  ↺ 0
"""
    )


def test_who_waits_for_siblings_says_for_whom(make: Make) -> None:
    mail = make("mail", "Mail", "restarting", waits_for=["db", "cache"])
    assert (
        picture(make("shop", "App", "running", mail), 80)
        == """
● shop     App   running     up 2h03m
└─ ↻ mail  Mail  restarting  waits for db, cache  ↺ 0
"""
    )


def test_of_a_pool_its_items_are_told_and_of_any_service_its_tasks(make: Make) -> None:
    items = {"queued": 3, "running": 2, "done": 90, "poison": 1, "dropped": 0}
    pool = make("pool", "WorkerPool", path="shop/pool", items=items, owned={"greenlets": 0})
    mail = make("mail", "Mail", path="shop/mail", items=None, owned={"tasks": 2, "timers": 1})
    assert (
        picture(make("shop", "App", "running", pool, mail), 100)
        == """
● shop     App         running  up 2h03m
├─ ● pool  WorkerPool  running  up 2h03m  ↺ 0  3 queued · 2 running · 90 done · 1 poison
└─ ● mail  Mail        running  up 2h03m  ↺ 0  2 tasks · 1 timer
"""
    )


def test_the_stragglers_of_many_lives_are_those_of_the_first_two_and_more(make: Make) -> None:
    left = [straggler("shop", number) for number in range(1, 6)]
    text = picture(make("shop", "App", path="shop", stragglers=left), 80)
    assert "5 stragglers of #1, #2, …" in text


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (120, "1 greenlet  1 straggler of #2  ValueError: bad order 17"),
        (80, "up 2h03m  1 straggler of #2  ValueError: bad order 17"),
        (66, "up 2h03m  1 straggler of #2  ValueError: ba…"),
        (60, "up 2h03m  1 straggler of #2\n"),
        (40, "● shop  running  up 2h03m\n"),
    ],
)
def test_stragglers_are_said_before_the_failure_and_fall_away_with_it(
    make: Make, width: int, said: str
) -> None:
    root = make("shop", "App", path="shop", stragglers=[straggler("shop", 2)])
    root |= {"last_failure": {"type": "ValueError", "message": "bad order 17"}}
    assert said in picture(root | {"owned": {"greenlets": 1}}, width)


def test_at_50_columns_there_are_name_state_and_time(shop: dict[str, Any], now: float) -> None:
    assert (
        picture(shop, 50, now)
        == """
● shop           running     up 2h03m
├─ ● metrics     running     up 2h03m
├─ ● intake      running     up 2h03m
└─ ● fleet       running     up 12m
   ├─ ↻ courier  restarting  next try in 1.6 s
   └─ ○ printer  finished    12m ago
"""
    )


def test_at_30_columns_there_are_name_and_state(shop: dict[str, Any], now: float) -> None:
    assert (
        picture(shop, 30, now)
        == """
● shop           running
├─ ● metrics     running
├─ ● intake      running
└─ ● fleet       running
   ├─ ↻ courier  restarting
   └─ ○ printer  finished
"""
    )


def test_at_12_columns_names_are_cut(shop: dict[str, Any], now: float) -> None:
    assert (
        picture(shop, 12, now)
        == """
● shop
├─ ● metrics
├─ ● intake
└─ ● fleet
   ├─ ↻ cou…
   └─ ○ pri…
"""
    )


def test_ascii_draws_the_same_picture_in_ascii(shop: dict[str, Any], now: float) -> None:
    drawn = picture(shop, 80, now, charset=ASCII)
    assert drawn.isascii()
    assert (
        drawn
        == """
* shop           running     up 2h03m
|- * metrics     running     up 2h03m           r:0  2 timers, 1 listener
|- * intake      running     up 2h03m           r:0  14 greenlets
`- * fleet       running     up 12m             r:1
   |- @ courier  restarting  next try in 1.6 s  r:3  ValueError: bad~ (2 s ago)
   `- o printer  finished    12m ago
"""
    )


def test_what_lies_below_the_depth_is_counted(shop: dict[str, Any], now: float) -> None:
    shop["children"][2]["children"][1]["state"] = "failed"
    assert (
        picture(shop, 80, now, depth=1)
        == """
● shop                    App             running  up 2h03m
├─ ● metrics              MetricsService  running  up 2h03m  ↺ 0
├─ ● intake               Intake          running  up 2h03m  ↺ 0
└─ ● fleet +2 (1 failed)  one_for_all     running  up 12m    ↺ 1
"""
    )


def test_every_state_has_its_own_symbol_and_word(make: Make, now: float) -> None:
    ended = {"stopped", "finished", "failed"}
    children = [
        make(state, "S", state, ended_at="2026-01-01T11:59:00" if state in ended else None)
        for state in TONES
    ]
    assert (
        picture(make("all", "App", "running", *children), 60, now)
        == """
● all            App  running     up 2h03m
├─ ◌ new         S    new
├─ ◐ starting    S    starting              ↺ 0
├─ ● running     S    running     up 2h03m  ↺ 0
├─ ◑ stopping    S    stopping              ↺ 0
├─ ↻ restarting  S    restarting            ↺ 0
├─ ■ stopped     S    stopped     1m ago
├─ ○ finished    S    finished    1m ago
└─ ✗ failed      S    failed      1m ago    ↺ 0
"""
    )
    for charset in (UNICODE, ASCII):
        assert charset.symbols.keys() == TONES.keys()
        assert len(set(charset.symbols.values())) == len(TONES)


def test_the_colour_repeats_what_symbol_and_word_say(shop: dict[str, Any], now: float) -> None:
    lines = render(shop, width=80, now=now)
    toned = {text.strip(): tone for text, tone in lines[4]}
    assert toned["↻"] is Tone.BUSY
    assert toned["restarting"] is Tone.BUSY
    assert toned["ValueError: bad… (2 s ago)"] is Tone.BAD


def test_an_old_failure_of_a_running_service_is_told_quietly(make: Make, now: float) -> None:
    failure = {"type": "app.errors.Refused", "message": "", "at": "2025-12-31T12:00:00Z"}
    root = make("mail", "Mail", last_failure=failure, owned={"timers": 1}, restarts=2)
    lines = render(root, width=80, now=now)
    assert plain(lines[0]) == "● mail  Mail  running  up 2h03m  ↺ 2  1 timer  Refused (1d00h ago)"
    assert lines[0][-1][1] is Tone.DIM


def test_an_app_of_the_future_and_one_that_says_almost_nothing_are_shown() -> None:
    root = {"name": "a", "state": "hibernating", "zzz": 1, "children": [{"state": "running"}, 3]}
    assert (
        picture(root, 80)
        == """
? a     hibernating
└─ ● -  running
"""
    )


def test_long_names_are_cut_before_a_column_falls_away(make: Make) -> None:
    name = "a-service-with-quite-a-long-name-of-its-own"
    assert (
        picture(make("w", "W", "running", make(name, "Worker")), 66)
        == """
● w                                 W       running  up 2h03m
└─ ● a-service-with-quite-a-long-…  Worker  running  up 2h03m  ↺ 0
"""
    )


def test_wide_letters_stay_aligned(make: Make) -> None:
    root = make("注文", "App", "running", make("配達", "Courier"), make("naïve", "Courier"))
    assert (
        picture(root, 60)
        == """
● 注文      App      running  up 2h03m
├─ ● 配達   Courier  running  up 2h03m  ↺ 0
└─ ● naïve  Courier  running  up 2h03m  ↺ 0
"""
    )


def test_text_cannot_move_the_cursor(make: Make) -> None:
    failure = {"type": "ValueError", "message": "two\nlines \x1b[31mred", "at": None}
    drawn = picture(make("bad\x1b[2Jname", "A", "failed", last_failure=failure), 80)
    assert drawn.count("\n") == 2
    assert "\x1b" not in drawn
    assert "ValueError: two lines \\x1b[31mred" in drawn


def deep(make: Make, levels: int) -> dict[str, Any]:
    root = make("leaf", "Leaf", "failed")
    for level in range(levels, 0, -1):
        root = make(f"n{level}", "N", "running", root)
    return root


def test_a_deep_tree_keeps_its_innermost_guides_and_says_how_many_are_missing(make: Make) -> None:
    assert (
        picture(deep(make, 8), 40)
        == """
● n1                running  up 2h03m
└─ ● n2             running  up 2h03m
   └─ ● n3          running  up 2h03m
      └─ ● n4       running  up 2h03m
         └─ ● n5    running  up 2h03m
…2       └─ ● n6    running  up 2h03m
…3       └─ ● n7    running  up 2h03m
…4       └─ ● n8    running  up 2h03m
…5       └─ ✗ leaf  failed
"""
    )
    lines = picture(deep(make, 1200), 40).splitlines()[1:]
    assert len(lines) == 1201
    assert lines[-1].startswith("…1198 ")
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400 * 3 + 3600 * 4, "3d04h"),
    ],
)
def test_durations_name_their_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize("zone", ["<+14>-14", "<-12>12"])
@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00", "soon", ""]
)
def test_a_moment_that_is_in_no_year_here_is_none(
    monkeypatch: pytest.MonkeyPatch, zone: str, moment: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        said = clock(moment, 0.0)
        ago(moment, 0.0)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said == "?" or said[:4] in ("9999", "0001", "1-01")


NAMES = st.text(min_size=1, max_size=30)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    states = st.sampled_from(sorted(TONES))
    numbers = st.none() | st.floats(0, 1e7)

    def one() -> dict[str, Any]:
        return {
            "name": draw(NAMES),
            "class": draw(NAMES),
            "state": draw(states),
            "uptime": draw(numbers),
            "next_try": draw(numbers),
            "restarts": draw(st.integers(0, 10**6)),
            "owned": {"timers": draw(st.integers(0, 10**6))},
            "last_failure": {"type": "E", "message": draw(NAMES), "at": "2026-01-01T00:00:00Z"},
            "children": [],
        }

    nodes = [one()]
    for _ in range(draw(st.integers(0, 12))):
        child = one()
        draw(st.sampled_from(nodes))["children"].append(child)
        nodes.append(child)
    return nodes[0]


@given(
    trees(), st.integers(10, 160), st.sampled_from([UNICODE, ASCII]), st.none() | st.integers(0, 4)
)
def test_no_line_is_longer_than_the_window(
    root: dict[str, Any], width: int, charset: Any, depth: int | None
) -> None:
    for line in render(root, width=width, now=1e9, charset=charset, depth=depth):
        text = plain(line)
        assert cell_len(text) <= width
        assert re.sub("[\u200c\u200d]", "", text).isprintable()
        assert text == text.rstrip()
        assert charset is UNICODE or text.isascii()
        assert re.search(r"\S", text)


def test_what_is_drawn_here_is_as_wide_as_tables_say() -> None:
    from wcwidth import wcswidth as measured

    drawn = "".join([*UNICODE.symbols.values(), UNICODE.branch, UNICODE.last, UNICODE.through])
    drawn += UNICODE.restarts + UNICODE.between + UNICODE.ellipsis + "↓"
    assert cell_len(drawn) == len(drawn) == measured(drawn)

"""In which line each key of a TOML file stands."""

from __future__ import annotations

import tomllib
from random import Random
from typing import Any

import pytest

from sprag_cli.up.kinds import is_list, is_table
from sprag_cli.up.toml_lines import lines_of


def keys_of(value: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the keys of all tables and lists, as they are called."""
    pairs: list[tuple[str, Any]]
    if is_table(value):
        pairs = [(name, each) for name, each in value.items()]
    elif is_list(value):
        pairs = [(str(at), each) for at, each in enumerate(value)]
    else:
        return set()
    found = {(*above, name) for name, _ in pairs}
    return found.union(*(keys_of(each, (*above, name)) for name, each in pairs))


HARD = (
    r'''# a comment with [brackets] and "quotes"
top = 1 # behind
"quoted key" = "a # that is no comment, and a \" quote"
'literal' = 'C:\path'
a.b . "c.d" = """
[not.a.table]
x = 1
"""
after = 'x'

[ table . "with.dot" ]   # comment
list = [
    1, # one
    "two, three",
    [3, { four = 4,  'five' = [ ] }],
    '''
    "'''\n[no]\n'''''"
    + r'''
]
inline = { x = 1, y.z = { w = "}" }, "q" = [1, 2] }
date = 1979-05-27T07:32:00Z
empty = ""
quotes = """a""""
[[many]]
x = 1
[[many]]
x = 2
[many.below]
y = 3
[[many.deep]]
z = 1
[ü."é"]
'''.replace("[ü.", '["ü".')
)


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    assert set(lines_of(HARD)) >= keys_of(tomllib.loads(HARD))


def test_no_key_has_a_line_that_tomllib_does_not_read() -> None:
    assert set(lines_of(HARD)) == keys_of(tomllib.loads(HARD))


@pytest.mark.parametrize(
    ("key", "starts"),
    [
        (("top",), "top"),
        (("quoted key",), '"quoted'),
        (("a", "b", "c.d"), "a.b"),
        (("after",), "after"),
        (("table", "with.dot"), "[ table"),
        (("table", "with.dot", "list", "1"), '    "two'),
        (("table", "with.dot", "list", "2", "1", "four"), "    [3"),
        (("table", "with.dot", "inline", "y", "z", "w"), "inline"),
        (("table", "with.dot", "quotes"), "quotes"),
        (("many", "0", "x"), "x = 1"),
        (("many", "1", "x"), "x = 2"),
        (("many", "1", "below", "y"), "y"),
        (("many", "1", "deep", "0", "z"), "z"),
        (("ü", "é"), '["ü"'),
    ],
)
def test_the_line_is_that_where_the_key_stands(key: tuple[str, ...], starts: str) -> None:
    assert HARD.split("\n")[lines_of(HARD)[key] - 1].startswith(starts)


def test_a_table_that_only_others_name_has_the_line_of_the_first_of_them() -> None:
    assert lines_of("\n[a.b]\n[a.c]\n")[("a",)] == 2


def test_windows_line_ends_are_lines_too() -> None:
    assert lines_of("a = 1\r\nb = '''\r\nx'''\r\nc = 2\r\n")[("c",)] == 4


KEYS = ["a", "b", "c-d", "1", '"q k"', "'l\\t'", '"\\u00e9"', '""', '"#"', '"a.b"', '"]"']
VALUES = [
    "1",
    "-1.5e3",
    "true",
    "inf",
    "1979-05-27T07:32:00Z",
    '""',
    '"x # y"',
    '"\\"]}"',
    "'it]'",
    "''",
    *('"""a\n[b]\n"""', '"""q""""', "'''x\n=''\n'''", '"""\\\n  z"""', '"""\\""""', "0x1F"),
]


def a_key(random: Random) -> str:
    parts = [random.choice(KEYS) for _ in range(random.choice([1, 1, 1, 2, 3]))]
    return random.choice([".", " . "]).join(parts)


def a_value(random: Random, depth: int = 0) -> str:
    kind = random.random()
    if depth < 3 and kind < 0.15:
        between = random.choice([", ", ",\n  ", ", # c ] \n"])
        items = between.join(a_value(random, depth + 1) for _ in range(random.randrange(4)))
        return f"[{random.choice(['', ' ', chr(10)])}{items}]"
    if depth < 3 and kind < 0.3:
        pairs = [
            f"{a_key(random)} = {a_value(random, depth + 1)}" for _ in range(random.randrange(4))
        ]
        return f"{{ {', '.join(pairs)} }}"
    return random.choice(VALUES)


def a_line(random: Random) -> str:
    kind = random.random()
    if kind < 0.2:
        return f"[{a_key(random)}]{random.choice(['', ' # c'])}"
    if kind < 0.3:
        return f"[[{a_key(random)}]]"
    if kind < 0.35:
        return random.choice(["", "# c = 1", "  \t"])
    return f"{a_key(random)}{random.choice(['=', ' = '])}{a_value(random)}"


def test_files_made_up_at_random_lose_no_key_and_gain_none() -> None:
    read = 0
    for seed in range(500):
        random = Random(seed)
        lines = [a_line(random) for _ in range(random.randrange(1, 8))]
        text = random.choice(["\n", "\r\n"]).join(lines)
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        read += 1
        found = lines_of(text)
        assert set(found) == keys_of(given), text
        assert all(1 <= line <= text.count("\n") + 1 for line in found.values()), text
    assert read > 300

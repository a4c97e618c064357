"""What is shown of an argument, and what never is."""

from __future__ import annotations

import enum
import functools
import time
from dataclasses import dataclass
from typing import Any

import pytest

from sprag import Supervisor
from sprag_supervisor import arguments_told, is_secret, redacted, shown, told

HUSH = "hunter2"


class Colour(enum.Enum):
    RED = HUSH


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Loud:
    """Every look at it through its own code is a mistake."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)

    def __repr__(self) -> str:
        raise AssertionError

    __str__ = __len__ = __bool__ = __iter__ = __repr__


class LoudInt(int):
    def __repr__(self) -> str:
        raise AssertionError

    __str__ = __format__ = __repr__  # type: ignore[assignment]


class LoudText(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise AssertionError

    __str__ = __len__ = __getitem__ = lower = __repr__  # type: ignore[assignment]


PLAIN: list[tuple[object, str]] = [
    (8080, "8080"),
    (-0.5, "-0.5"),
    (1j, "1j"),
    (None, "None"),
    (True, "True"),
    (Colour.RED, "Colour.RED"),
    (Level.LOW, "Level.LOW"),
    (Access.READ, "Access.READ"),
    (LoudInt(7), "7"),
    (2**300, "<int of 301 bits>"),
    (Loud(), "<Loud>"),
    (Loud, "<type>"),
    (len, "<builtin_function_or_method>"),
    (b"abc", "<bytes>"),
]


@pytest.mark.parametrize(("value", "expected"), PLAIN, ids=[each for _, each in PLAIN])
@pytest.mark.parametrize("texts", [True, False])
def test_numbers_and_names_are_shown_and_of_the_rest_the_class(
    value: object, expected: str, *, texts: bool
) -> None:
    assert told(value, "it", texts=texts) == expected


TEXTS: list[tuple[object, str]] = [
    ("Rome", "'Rome'"),
    (LoudText("Rome"), "'Rome'"),
    ("a\x1b[2J\n", "'a\\x1b[2J\\n'"),
    ("x" * 80, repr("x" * 80)),
    ("x" * 81, "<str of 81 characters>"),
    ([1, "two", [3]], "[1, 'two', [3]]"),
    ((), "()"),
    ({"a": 1, 2: "b"}, "{'a': 1, 2: 'b'}"),
    (list(range(12)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … 2 more]"),
    ([[[[[1]]]]], "[[[[[…]]]]]"),
    ([object()], "[<object>]"),
]


@pytest.mark.parametrize(("value", "expected"), TEXTS, ids=[each for _, each in TEXTS])
def test_texts_and_what_is_in_collections_are_shown_to_who_may_see_them(
    value: object, expected: str
) -> None:
    assert told(value, texts=True) == expected
    assert told(value, texts=False).startswith("<")


def test_a_collection_that_holds_itself_has_an_end() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert told(ring, texts=True) == "[[[[[…]]]]]"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "db_password", "dbPassword", "passwd", "pwd", "passphrase"),
        *("secret", "client_secret", "clientsecret", "token", "accessToken", "csrf-token"),
        *("api_key", "apiKey", "APIKEY", "api-key", "key", "private_key", "credentials"),
        *("authorization", "Authorization", "auth", "cookie", "Set-Cookie", "session_id", "pin"),
    ],
)
def test_a_name_of_a_secret_is_one(name: str) -> None:
    assert is_secret(name)
    for texts in (True, False):
        assert told(HUSH, name, texts=texts) == "***"
        assert told(1234, name, texts=texts) == "***"
        assert told([HUSH], name, texts=texts) == "***"
        assert told(None, name, texts=texts) == "None"


@pytest.mark.parametrize(
    "name", ["author", "monkey", "passenger", "keyboard", "pinned", "path", "city", "compass", ""]
)
def test_a_name_that_only_looks_like_one_is_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        {"password": HUSH},
        {"db": {"password": HUSH}},
        {"db": [{"deep": {"api_key": HUSH}}]},
        [("Authorization", HUSH)],
        f"postgres://user:{HUSH}@db/shop",
        f"postgres://user:p@{HUSH}@db/shop",
        f"https://{HUSH}@host/",
        f"host=db password={HUSH}",
        f"Bearer {HUSH}",
        f'{{"token": "{HUSH}"}}',
        f"https://host/?access_token={HUSH}&x=1",
        {f"x://user:{HUSH}@h": 1},
        {f"{'x' * 70}://user:{HUSH}@h": 1},
        {object: HUSH * 20},
        f'password="a\\" {HUSH}"',
        f"Authorization: Token {HUSH}",
        f"mysql --password {HUSH} shop",
        ["mysql", "--password", HUSH, "shop"],
        f'{{\\"token\\": \\"{HUSH}\\"}}',
        f"AccountKey={HUSH};EndpointSuffix=x",
    ],
)
def test_a_secret_is_found_by_its_key_and_by_what_it_looks_like(value: object) -> None:
    assert HUSH not in told(value, "it", texts=True)


def test_what_is_no_secret_stays_readable() -> None:
    assert redacted("postgres://db/shop: no route") == "postgres://db/shop: no route"
    assert redacted("see a@b.c and x://user:pw@host:1/p") == "see a@b.c and x://***@host:1/p"
    assert redacted("port=80 password=x, then") == "port=80 password=***, then"
    assert redacted("the token --port 80 is no secret") == "the token --port 80 is no secret"
    assert told(["--port", 80, "-v", "shop"], texts=True) == "['--port', 80, '-v', 'shop']"


@pytest.mark.parametrize(
    "part",
    ["a", "token", "pwd.", "://", "token=", "secret='", "bearer ", "-token ", "basic  "],
)
def test_the_time_to_look_for_secrets_goes_with_the_length_of_the_text(part: str) -> None:
    text = part * (20_000 // len(part))
    began = time.process_time()
    redacted(text)
    redacted(f"secret{text}")
    assert time.process_time() - began < 2.0  # with its square it would be minutes


# -- arguments -----------------------------------------------------------------------------


class Feed:
    def __init__(self, city: str, token: str, *rest: object, port: int = 1, **more: object) -> None:
        pass


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Decorated:
    @decorated
    def __init__(self, city: str, token: str) -> None:
        pass


@dataclass
class Data:
    city: str
    token: str


class Partial:
    __init__: Any = functools.partialmethod(Feed.__init__, "x")


@pytest.mark.parametrize("kind", [Feed, Decorated, Data, type("Below", (Feed,), {})])
def test_positional_arguments_go_by_the_names_of_the_parameters(kind: type) -> None:
    given = arguments_told(kind, ("Rome", HUSH), {}, texts=True)
    assert given == {"city": "'Rome'", "token": "***"}
    given = arguments_told(kind, ("Rome",), {"token": HUSH}, texts=False)
    assert given == {"city": "<str>", "token": "***"}


def test_arguments_beyond_the_named_ones_are_numbered() -> None:
    given = arguments_told(Feed, ("Rome", HUSH, "a", 2), {"port": 8, "user": "x"}, texts=True)
    names = {"rest[0]": "'a'", "rest[1]": "2", "port": "8", "user": "'x'"}
    assert given == {"city": "'Rome'", "token": "***", **names}


@pytest.mark.parametrize("kind", [Partial, int, object])
def test_a_text_whose_parameter_is_not_known_is_not_shown(kind: type) -> None:
    given = arguments_told(kind, (HUSH, 2), {}, texts=True)
    assert given == {"argument[0]": "<str>", "argument[1]": "2"}


def test_very_many_arguments_are_counted() -> None:
    given = arguments_told(Feed, ("a", "b", *range(50)), {"x": 1}, texts=True)
    assert len(given) == 21
    assert given["…"] == "33 more"


# -- errors --------------------------------------------------------------------------------


def test_an_error_that_shows_what_was_given_shows_no_secret_in_it() -> None:
    assert shown({"password": HUSH, "port": 80}) == "{'password': ***, 'port': 80}"
    assert HUSH not in shown(f"{'x' * 190}://user:{HUSH}@host")
    assert HUSH not in shown(Credentials(password=HUSH))


@dataclass
class Credentials:
    password: str


def test_of_sprags_own_classes_nothing_is_told() -> None:
    assert arguments_told(Supervisor, ([],), {"name": "fleet"}, texts=True) == {}

from __future__ import annotations

import io
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sprag import Service, Supervisor
from sprag_cli.run.logs import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def crash(logger: logging.Logger) -> None:
    try:
        raise ValueError("bad order 17")
    except ValueError:
        fields = {"event": "crashed", "service": "shop/courier", "incarnation": 3}
        logger.exception("%s: crashed", "shop/courier", extra={"sprag": fields})


def test_off_a_terminal_each_record_is_one_line_of_json() -> None:
    stream = io.StringIO()
    configure("auto", "info", stream=stream)
    crash(logging.getLogger("sprag"))
    logging.getLogger("some.library").info("hello %s", "world")
    structlog.get_logger().bind(service="shop/mail").warning("slow", seconds=1.5)
    structlog.get_logger().debug("hidden")

    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first["event"] == "crashed"
    assert (first["service"], first["incarnation"]) == ("shop/courier", 3)
    assert first["level"] == "error"
    assert first["exception"].startswith("Traceback")
    assert first["exception"].endswith("ValueError: bad order 17")
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "hello world"
    assert (third["event"], third["service"], third["seconds"]) == ("slow", "shop/mail", 1.5)


def test_on_a_terminal_records_are_coloured_lines() -> None:
    stream = Terminal()
    configure("auto", "info", stream=stream, environ={})
    crash(logging.getLogger("sprag"))
    out = stream.getvalue()
    assert "\x1b[" in out
    assert out.count("shop/courier") == 1
    assert "Traceback (most recent call last):\n" in out


@pytest.mark.parametrize(
    ("stream", "environ"), [(Terminal(), {"NO_COLOR": "1"}), (io.StringIO(), {})]
)
def test_lines_are_plain_where_colour_is_not_wanted(
    stream: io.StringIO, environ: dict[str, str]
) -> None:
    configure("console", "info", stream=stream, environ=environ)
    structlog.get_logger().info("ready", path="shop")
    assert "\x1b" not in stream.getvalue()
    assert "ready" in stream.getvalue()
    assert "path=shop" in stream.getvalue()


def test_json_may_be_asked_for_on_a_terminal() -> None:
    stream = Terminal()
    configure("json", "info", stream=stream)
    structlog.get_logger().info("ready")
    assert json.loads(stream.getvalue())["event"] == "ready"


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("warning", 1), ("critical", 0)])
def test_the_level_holds_for_both_ways_of_logging(level: str, lines: int) -> None:
    stream = io.StringIO()
    configure("json", level, stream=stream)
    logging.getLogger("sprag").debug("a")
    structlog.get_logger().info("b")
    logging.getLogger("sprag").warning("c")
    assert stream.getvalue().count("\n") == lines


def test_what_json_does_not_know_is_written_as_its_repr() -> None:
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    fields: dict[str, Any] = {"thing": {1, 2}}
    logging.getLogger("sprag").warning("odd", extra={"sprag": fields})
    assert json.loads(stream.getvalue())["thing"] == "{1, 2}"


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "request", "service": "shop/web", "incarnation": 1, "seconds": 0.25, "at": None},
        {"event": "it", "service": "shop/web", "thing": {1, 2}, "request_id": "its own"},
        {"service": "shop/web", "incarnation": 1},
        {"service": "shop/web", "level": "mine", "event": "mine", "exception": "mine"},
        {"incarnation": 3, "event": "it"},
        {},
        None,
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        {"request_id": "r-1", "controller": "Orders"},
        {},
        {"service": "around", "x": 1},
        {"incarnation": 7, "event": "around", "level": "around"},
    ],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_records_of_the_standard_library_are_the_same_by_the_short_way(
    fields: dict[str, Any] | None, around: dict[str, Any], log_format: Any
) -> None:
    stream = io.StringIO()
    configure(log_format, "info", stream=stream, environ={})
    (handler,) = logging.getLogger().handlers
    ways = handler.formatter, _LongWay(handler.formatter)
    own: dict[str, Any] = {} if fields is None else {"extra": {"sprag": fields}}

    def log() -> None:
        mores: list[dict[str, Any]] = [{}, {"exc_info": ValueError("bad")}, {"stack_info": True}]
        for level, more in itertools.product((logging.INFO, logging.WARNING, 25), mores):
            lines: list[object] = []
            for way in ways:
                handler.setFormatter(way)
                begin = len(stream.getvalue())
                logging.getLogger("sprag").log(level, "a %s", "b", **own, **more)
                lines.append(_without_the_time(stream.getvalue()[begin:]))
            assert lines[0] == lines[1]

    with structlog.contextvars.bound_contextvars(**around):
        log()
        with Supervisor([OnStart(log)], name="shop"):
            pass


def _without_the_time(text: str) -> object:
    if not text.startswith("{"):
        return text[len("12:34:56") :]
    fields = json.loads(text)
    fields["timestamp"] = ""
    return list(fields.items())


class OnStart(Service):
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def on_start(self) -> None:
        self.call()


class _LongWay(logging.Formatter):
    def __init__(self, formatter: Any) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        return structlog.stdlib.ProcessorFormatter.format(self._formatter, record)


def test_on_a_terminal_a_long_record_is_broken_between_its_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream, file = Terminal(), io.StringIO()
    fields: dict[str, Any] = {f"field_{number}": "v" * number for number in range(10)}
    fields |= {"long": "v" * 100, "last": "受" * 10}
    for target in (stream, file):
        configure("console", "info", stream=target, environ={"NO_COLOR": "1"})
        structlog.get_logger().bind(service="shop/mail").info("it", **fields)
    first, *more = stream.getvalue().splitlines()
    assert len(first) <= 80
    assert all(line.startswith("    ") for line in more)
    assert max(map(len, more)) <= 80
    assert file.getvalue().count("\n") == 1
    whole = " ".join([first, *map(str.strip, more)]).replace("v v", "vv")
    assert file.getvalue()[8:] == f"{whole[8:]}\n"


def test_the_lines_of_a_life_fit_80_columns() -> None:
    stream = io.StringIO()
    configure("console", "info", stream=stream)
    path = "shop/packing/van-3"
    for incarnation in (1, 12):
        fields = {"event": "service restarted", "service": path, "incarnation": incarnation}
        logging.getLogger("sprag").info("x", extra={"sprag": fields})
    first, later = stream.getvalue().splitlines()
    assert first.endswith("info     service restarted  service=shop/packing/van-3")
    assert later == f"{first} incarnation=12"
    assert len(later) <= 80


def test_the_output_of_a_program_reads_as_it_was_written() -> None:
    fields = {"event": "output", "service": "shop/db", "incarnation": 2, "stream": "stderr"}
    stream = io.StringIO()
    configure("console", "info", stream=stream)
    line = "  'ready' to\taccept\x1b[2J"
    logging.getLogger("sprag").info("x", extra={"sprag": {**fields, "line": line}})
    logging.getLogger("sprag").info("x", extra={"sprag": {**fields, "line": "y", "of": "mine"}})
    first, other = stream.getvalue().splitlines()
    assert first[8:] == " info     shop/db |   'ready' to    accept\\x1b[2J"
    assert (
        other[8:] == " info     output  service=shop/db incarnation=2 stream=stderr line=y of=mine"
    )
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    logging.getLogger("sprag").info("x", extra={"sprag": {**fields, "line": line}})
    told = json.loads(stream.getvalue())
    assert (told["event"], told["stream"], told["line"]) == ("output", "stderr", line)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_recursion_is_told_once_however_many_take_part(log_format: Any) -> None:
    def ping(times: int) -> None:
        pong(times)

    def pong(times: int) -> None:
        if not times:
            raise ValueError("at last") from KeyError("first")
        ping(times - 1)

    stream = io.StringIO()
    configure(log_format, "info", stream=stream)
    try:
        ping(200)
    except ValueError:
        logging.getLogger("a.library").exception("it")
    said = stream.getvalue().replace("\\n", "\n")
    assert said.count("[Previous 2 frames repeated ") == 1
    assert said.count("\n") < 25
    assert "KeyError: 'first'" in said
    assert "ValueError: at last" in said

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from foreign import tellable
from sprag._exit_codes import ExitCode
from sprag_cli.run.load import (
    AttributeMissing,
    BadTarget,
    ModuleMissing,
    NeedsArguments,
    NotAService,
    UserCodeFailed,
    load,
    look_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str, str], None]


def is_service(found: object) -> bool:
    return getattr(found, "is_service", False) is True and not isinstance(found, type)


SERVICE = """
class Service:
    is_service = True
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current directory; what is imported from there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(target: str) -> object:
    return load(target, is_service=is_service)


def test_an_instance_is_taken_as_it_is(write: Write) -> None:
    write("shop.py", SERVICE + "app = Service()")
    assert loaded("shop:app") is sys.modules["shop"].app


def test_the_current_directory_comes_first_and_stays(write: Write, tmp_path: Path) -> None:
    write("textwrap_of_mine.py", SERVICE + "app = Service()")
    loaded("textwrap_of_mine:app")
    loaded("textwrap_of_mine:app")
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_modules_and_attributes_may_be_dotted(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/main.py", SERVICE + "class config:\n    app = Service()\n")
    assert is_service(loaded("shop.main:config.app"))


@pytest.mark.parametrize(
    "target", ["shop:Service", "shop:create", "shop:Factory.make", "shop:partial"]
)
def test_a_class_or_a_factory_is_called(write: Write, target: str) -> None:
    write(
        "shop.py",
        SERVICE
        + """
from functools import partial
def create(name="shop"):
    return Service()
class Factory:
    @classmethod
    def make(cls):
        return Service()
partial = partial(create, "x")
""",
    )
    assert is_service(loaded(target))


def test_without_an_attribute_app_is_taken_else_the_only_service(write: Write) -> None:
    write("one.py", SERVICE + "a = Service()\napp = Service()")
    assert loaded("one") is sys.modules["one"].app
    write("two.py", SERVICE + "mail = Service()\nother = 3")
    assert loaded("two") is sys.modules["two"].mail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a = Service()\nb = Service()",
            "'shop': holds 2 services and no 'app' — 'sprag run shop:a' or 'sprag run shop:b'",
        ),
        (
            "",
            (
                "'shop': holds neither an 'app' nor any other service instance"
                " — say which attribute to run: 'sprag run shop:NAME'"
            ),
        ),
    ],
)
def test_without_an_attribute_and_without_a_clear_choice_the_fix_is_named(
    write: Write, text: str, message: str
) -> None:
    write("shop.py", SERVICE + text)
    with pytest.raises(AttributeMissing) as caught:
        loaded("shop")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        ("shop/main.py:app", "'sprag run shop.main:app', from the folder that holds shop"),
        ("./main.py", "'sprag run main:app', from the folder that holds main"),
        ("shop:create()", "leave out the brackets, 'sprag run shop:create' calls it"),
        ("", "the part before the colon must be a module's dotted name"),
        (":app", "the part before the colon must be a module's dotted name"),
        ("my-shop:app", "no module can be called 'my-shop': rename it"),
        ("shop:", "the part after the colon must be the name of an attribute"),
        ("shop:a:b", "the part after the colon must be the name of an attribute"),
    ],
)
def test_a_target_of_the_wrong_form_is_corrected(target: str, remedy: str) -> None:
    with pytest.raises(BadTarget) as caught:
        loaded(target)
    assert str(caught.value) == (
        f"{target!r} is not a target — write module:attribute, as in shop.main:app — {remedy}"
    )
    assert caught.value.exit_code == ExitCode.USAGE


def test_whether_there_is_such_a_module_is_known_without_an_import(
    write: Write, tmp_path: Path
) -> None:
    write("shop.py", "raise AssertionError")
    (tmp_path / "place").mkdir()
    for target in ("shop:app", "shop", "shop.main:app", "place.main:app", "json", "sys"):
        look_for(target)
    with pytest.raises(ModuleMissing, match=r"no module 'shpo' for 'shpo:app'.*did you mean shop:"):
        look_for("shpo:app")
    with pytest.raises(BadTarget):
        look_for("shop.py:app")


@pytest.mark.parametrize(
    ("target", "missing", "remedy"),
    [
        ("shpo:app", "shpo", "did you mean shop:app?"),
        ("shop.mian:app", "shop.mian", "did you mean shop.main:app?"),
        ("shpo.main:app", "shpo", "did you mean shop.main:app?"),
        ("shop.main.app", "shop.main.app", "did you mean shop.main:app?"),
        ("qqqqqq:app", "qqqqqq", "run sprag from the folder that holds it, or install it"),
    ],
)
def test_a_missing_module_names_the_likely_one(
    write: Write, tmp_path: Path, target: str, missing: str, remedy: str
) -> None:
    write("shop/__init__.py", "")
    write("shop/main.py", SERVICE + "app = Service()")
    with pytest.raises(ModuleMissing) as caught:
        loaded(target)
    assert str(caught.value) == (
        f"no module {missing!r} for {target!r} — modules are looked for in {tmp_path} "
        f"and where packages are installed — {remedy}"
    )
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop:ap", "'shop:ap': shop has no 'ap' — did you mean shop:app?"),
        ("shop:zzz", "'shop:zzz': shop has no 'zzz' — it holds app"),
        ("shop:Box.ap", "'shop:Box.ap': shop:Box has no 'ap' — did you mean shop:Box.app?"),
        ("shop:Box.zzz", "'shop:Box.zzz': shop:Box has no 'zzz' — name one that it has"),
    ],
)
def test_a_missing_attribute_names_the_likely_one(write: Write, target: str, message: str) -> None:
    write("shop.py", SERVICE + "app = Service()\nclass Box:\n    app = app\n")
    with pytest.raises(AttributeMissing) as caught:
        loaded(target)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("shop:config", "is a dict"),
        ("shop:nothing", "is None"),
        ("shop:json", "is the module json"),
        ("shop:Other", "makes an Other"),
        ("shop:forgot", "returned None"),
        ("shop:cls", "returned a type"),
        ("shop:later", "is an async function"),
    ],
)
def test_something_that_cannot_be_run_is_named(write: Write, target: str, found: str) -> None:
    write(
        "shop.py",
        SERVICE
        + """
import json
config = {}
nothing = None
class Other: pass
def forgot(): pass
def cls(): return Service
async def later(): pass
""",
    )
    with pytest.raises(NotAService, match=f"{target}' {found} — sprag runs an App, Service or"):
        loaded(target)


@pytest.mark.parametrize(
    "code",
    [
        "def make(config): return Service()",
        "class make(Service):\n    def __init__(self, config): pass",
        (
            "class Meta(type):\n    def __call__(cls, *a, **k): return super().__call__(*a, **k)\n"
            "class make(Service, metaclass=Meta):\n    def __init__(self, config): pass"
        ),
    ],
)
def test_a_factory_that_needs_arguments_is_told_from_one_that_fails_inside(
    write: Write, code: str
) -> None:
    write("shop.py", SERVICE + code)
    with pytest.raises(NeedsArguments, match="missing a required argument: 'config'"):
        loaded("shop:make")

    write("mall.py", "def make():\n    return len(3)\n")
    with pytest.raises(UserCodeFailed, match="calling mall:make raised TypeError") as caught:
        loaded("mall:make")
    assert caught.value.exit_code == ExitCode.NEVER_CAME_UP


def test_an_import_error_inside_the_users_module_is_the_users(write: Write, tmp_path: Path) -> None:
    write("shop.py", "import not_there_at_all\n")
    with pytest.raises(UserCodeFailed) as caught:
        loaded("shop:app")
    assert caught.value.report() == (
        "Traceback (most recent call last):\n"
        f'  File "{tmp_path}/shop.py", line 1, in <module>\n'
        "    import not_there_at_all\n"
        "ModuleNotFoundError: No module named 'not_there_at_all'\n"
        "sprag: importing shop raised ModuleNotFoundError; nothing was started"
    )
    assert caught.value.exit_code == ExitCode.NEVER_CAME_UP


def test_a_module_that_imports_its_own_missing_part_is_the_users(write: Write) -> None:
    write("shop/__init__.py", "import shop.main\n")
    with pytest.raises(UserCodeFailed, match="importing shop raised"):
        loaded("shop:app")
    write("mall/__init__.py", "import mall.main\n")
    with pytest.raises(UserCodeFailed, match=r"importing mall\.main raised"):
        loaded("mall.main:app")


def test_the_chain_of_a_failure_is_kept_without_the_frames_of_the_import_system(
    write: Write, tmp_path: Path
) -> None:
    write("deep.py", "def fail():\n    raise KeyError('k')\n")
    write(
        "shop.py",
        """
        import importlib
        def go():
            try:
                importlib.import_module("deep").fail()
            except KeyError as error:
                raise RuntimeError("no config") from error
        go()
        """,
    )
    with pytest.raises(UserCodeFailed) as caught:
        loaded("shop:app")
    trace = caught.value.trace
    assert "KeyError: 'k'" in trace
    assert "RuntimeError: no config" in trace
    assert "importlib._bootstrap" not in trace
    assert "load.py" not in trace
    assert trace.count(str(tmp_path)) == 4


def test_a_syntax_error_shows_its_line(write: Write) -> None:
    write("shop.py", "app = (\n")
    with pytest.raises(UserCodeFailed, match="importing shop raised SyntaxError") as caught:
        loaded("shop:app")
    assert 'shop.py", line 1\n    app = (\n' in caught.value.trace


@tellable
def test_a_failure_that_cannot_be_looked_at_is_told_all_the_same(
    write: Write, tmp_path: Path
) -> None:
    # From Python 3.12 on the property is asked: it may be what was meant.
    write(
        "shop.py",
        """
        class Till:
            @property
            def orders(self):
                raise KeyError("orders")
            def __init__(self):
                orders
        Till()
        """,
    )
    write(
        "mall.py",
        """
        class Odd(Exception):
            @property
            def __cause__(self):
                raise KeyError("cause")
        raise Odd("here")
        """,
    )
    for name, told in (("shop", "NameError: name 'orders' is not defined"), ("mall", "Odd: here")):
        with pytest.raises(UserCodeFailed) as caught:
            loaded(f"{name}:app")
        trace = caught.value.trace
        assert told in trace.splitlines()[-1]
        assert "KeyError" not in trace
        assert str(tmp_path) in trace


def test_an_exit_and_an_interrupt_during_the_import_pass_through(write: Write) -> None:
    write("leaves.py", "raise SystemExit(7)")
    with pytest.raises(SystemExit) as caught:
        loaded("leaves:app")
    assert caught.value.code == 7
    write("stopped.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        loaded("stopped:app")

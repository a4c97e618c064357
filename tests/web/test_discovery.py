"""Which controllers are mounted, and what is said about a module that does not import."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from sprag import App, Service, StartFailed
from sprag.exceptions import BadValue
from sprag.web.exceptions import RoutesMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Shop

HEAD = "from sprag import Controller\n"


def controller(name: str, base: str = "Controller") -> str:
    return (
        f'class {name}({base}):\n    route = "/{name.lower()}"\n    def load(self): return {{}}\n'
    )


def test_a_package_is_searched_to_its_depth_and_each_class_counts_once(
    shop: Callable[..., Shop],
) -> None:
    one = shop(
        files={
            "routes/__init__.py": HEAD + controller("Top"),
            "routes/orders.py": HEAD + "from . import Top\n" + controller("Orders"),
            "routes/admin/__init__.py": "",
            "routes/admin/users.py": "from ..orders import Orders\n"
            + controller("Users", "Orders"),
            "routes/__main__.py": "raise SystemExit('not a module of routes')\n",
            "other.py": HEAD + controller("Other"),
        }
    )
    found = {path: one.ask(path).status_code for path in ("/top", "/orders", "/users", "/other")}
    assert found == {"/top": 200, "/orders": 200, "/users": 200, "/other": 404}


def test_bases_without_a_route_of_their_own_are_skipped(shop: Callable[..., Shop]) -> None:
    one = shop("""
        class Base(Controller):
            route = None
            def load(self): return {"from": type(self).__name__}

        class One(Base):
            route = "/one"

        class Variant(One):
            pass

        class Abstract(Controller):
            pass
    """)
    assert one.ask("/one").json == {"from": "One"}


def test_what_a_module_raises_is_shown_as_the_users(shop: Callable[..., Shop]) -> None:
    started: list[str] = []

    class First(Service):
        def on_start(self) -> None:
            started.append("first")

    one = shop(
        files={"routes/__init__.py": "", "routes/broken.py": "\n\nimport no_such_module\n"},
        providers={"first": First()},
    )
    with pytest.raises(
        StartFailed, match="ModuleNotFoundError: No module named 'no_such_module'"
    ) as caught:
        one.app.start()
    cause = caught.value.__cause__
    assert isinstance(cause, ModuleNotFoundError)
    frames = traceback.extract_tb(cause.__traceback__)
    assert frames[-1].filename == str(one.folder / "routes" / "broken.py")
    assert frames[-1].lineno == 3
    assert started == []


def test_a_module_that_does_not_exist_is_named(shop: Callable[..., Shop]) -> None:
    one = shop(files={"a.py": ""})
    with pytest.raises(StartFailed) as caught:
        one.app.start()
    cause = caught.value.__cause__
    assert isinstance(cause, RoutesMissing)
    assert (cause.routes, cause.missing) == (f"{one.name}.routes", f"{one.name}.routes")


@pytest.mark.parametrize("routes", ["", "app.", "app/routes.py", "a b", 17, ".routes"])
def test_routes_must_be_the_name_of_a_module(routes: object) -> None:
    with pytest.raises(BadValue, match="routes="):
        App(routes=routes)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_the_servers_name_is_taken_when_there_are_routes() -> None:
    with pytest.raises(BadValue, match="the web server's"):
        App(routes="app.routes", providers={"web": Service()})
    App(providers={"web": Service()})


def test_a_shell_must_be_callable() -> None:
    with pytest.raises(BadValue, match="shell="):
        App(routes="app.routes", shell="shell.html")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_importing_sprag_loads_no_web_and_the_names_are_there() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys, sprag\n"
                "heavy = {'werkzeug', 'jinja2', 'structlog', 'ssl', 'sprag.web'}\n"
                "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
                "from sprag import Controller, HTTPError, Limits, Page, redirect, shell\n"
                "app = sprag.App(routes='a.b', shell=shell(template='a.html', css=['b.css']))\n"
                "app.wsgi\n"
                "assert not (heavy - {'sprag.web'}) & set(sys.modules)\n"
                "try: sprag.Contoller\n"
                "except AttributeError as e: assert 'Contoller' in str(e)\n"
                "assert set(sprag.__all__) <= {*dir(sprag)}, set(sprag.__all__) - {*dir(sprag)}\n"
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_extra_the_error_says_what_to_install(shop: Callable[..., Shop]) -> None:
    one = shop("x = 1")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys\n"
                f"sys.path.insert(0, {str(one.folder.parent)!r})\n"
                "sys.modules['werkzeug'] = None\n"
                "from sprag import App\n"
                f"App(routes='{one.name}.routes').start()"
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "routes need the extra 'web' of sprag (Werkzeug is not installed): "
        "pip install 'sprag-otp[web]'\n"
    )

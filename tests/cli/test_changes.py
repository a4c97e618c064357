"""Which files --reload is interested in, and what it says where it cannot look."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import watchfiles

from processes import PATIENCE
from sprag_cli.run.changes import CannotWatch, Changes, Wanted

ROOT = Path("/srv/shop")


@pytest.mark.parametrize(
    ("name", "is_wanted"),
    [
        ("app.py", True),
        ("shop/parts/stock.py", True),
        ("app.pyc", False),
        ("shop/__pycache__/app.py", False),
        ("node_modules/gyp/make.py", False),
        (".venv/lib/python3.11/json.py", False),
        (".git/hooks/check.py", False),
        ("env/lib/json.py", False),
        (".#app.py", False),
        ("flycheck_app.py", False),
        ("pages/index.html", True),
        ("node_modules/x/index.html", False),
        ("conf/shop.toml", True),
        ("other/shop.toml", False),
        (".env", True),
        ("node_modules/ours/it.js", True),
        ("tests/test_app.py", False),
        ("tests/deep/er/test_app.py", False),
        ("shop/tests/test_app.py", False),
        ("shop/made/schema.py", False),
        ("made/schema.py", True),
        ("made.html", False),
        ("../elsewhere/app.py", False),
    ],
)
def test_python_files_are_of_interest_and_what_patterns_add_and_do_not_take_away(
    name: str, is_wanted: bool
) -> None:
    include = ["*.html", "./conf/*.toml", f"{ROOT}/.env", "node_modules/ours/*.js"]
    exclude = ["tests/", "shop/made/**", "made.html"]
    wanted = Wanted([ROOT], include, exclude, lambda folder: folder == ROOT / "env")
    path = (ROOT / name) if not name.startswith("..") else Path("/srv/elsewhere/app.py")
    assert wanted(path) is is_wanted


def test_without_watchfiles_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(CannotWatch, match=r"pip install 'sprag-otp\[reload\]'"):
        Changes([ROOT], lambda _path: True, int)


def test_what_cannot_be_watched_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_folders: Path, **_options: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", fail)
    woken = threading.Event()
    changes = Changes([ROOT], lambda _path: True, woken.set)
    assert woken.wait(PATIENCE)
    with pytest.raises(CannotWatch, match=r"file watch limit reached — with WATCHFILES_FORCE_POLL"):
        changes.take()
    changes.close()

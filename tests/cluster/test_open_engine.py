"""How an engine is named, and what is said where it cannot be."""

from __future__ import annotations

import gc
import sys

import pytest

from sprag.cluster.engines import open_engine
from sprag.cluster.exceptions import MissingClient
from sprag.exceptions import BadValue


def test_who_opens_the_same_memory_for_the_same_app_shares_it_while_somebody_holds_it() -> None:
    one = open_engine("memory://", app="shop", timeout=1.0)
    assert open_engine("memory://", app="shop") is one
    assert open_engine("memory://", app="other") is not one
    assert open_engine("memory://other", app="shop") is not one
    identity = one.get("").identity
    one.close()
    assert open_engine("memory://", app="shop") is one
    del one
    gc.collect()
    assert open_engine("memory://", app="shop").get("").identity != identity


@pytest.mark.parametrize("url", ["", "shop", "mysql://localhost/shop", "//host", "redis:host"])
def test_a_url_that_nobody_knows_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(BadValue, match="redis://"):
        open_engine(url, app="shop")


def test_a_url_that_is_wrong_is_refused_without_its_password() -> None:
    with pytest.raises(BadValue) as caught:
        open_engine("redis://user:secret1@host:port/0", app="shop")
    assert "secret1" not in str(caught.value)


@pytest.mark.parametrize(("module", "scheme"), [("redis", "redis"), ("psycopg", "postgres")])
def test_a_client_that_is_not_installed_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, module: str, scheme: str
) -> None:
    ours = "sprag.cluster.engines."
    for name in [each for each in sys.modules if each.startswith((ours, f"{module}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingClient, match=rf"{scheme}:// .*pip install 'sprag-otp\[cluster\]'"):
        open_engine(f"{scheme}://localhost", app="shop")


def test_tls_needs_a_process_that_is_patched() -> None:
    with pytest.raises(BadValue, match="patch_all"):
        open_engine("rediss://localhost", app="shop")

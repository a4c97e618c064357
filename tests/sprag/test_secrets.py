"""A secret is planted wherever a service may hold one; sprag must write it nowhere."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import aside, ask, check, served
from processes import app, run
from sprag import App, Service, StartFailed, Supervisor
from sprag.process.dump import dump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2hunter2"
URL = f"postgres://shop:{SECRET}@db/shop"


class Account:
    def __init__(self) -> None:
        self.password = SECRET

    def __repr__(self) -> str:
        return f"Account({self.password!r})"


class Vault(Service):
    """Is made with secrets in every shape, keeps them, and crashes while it uses them."""

    def __init__(
        self, city: str, token: str, url: str, options: dict[str, Any], *parts: object, **more: Any
    ) -> None:
        self.city, self.token, self.url, self.options = city, token, url, options
        self.parts, self.more = parts, more

    def fail(self) -> None:
        password, account = SECRET, Account()
        self.spawn(self.use, password, account, key=SECRET, url=URL)

    def use(self, password: str, account: Account, *, key: str, url: str) -> None:
        headers = {"Authorization": f"Bearer {SECRET}"}
        gevent.sleep(0)
        assert headers[self.city], (password, account, key, url)[:0]

    def on_stop(self) -> None:
        local = SECRET
        raise OSError(f"of {len(local)} letters")


class NeverUp(Vault, restart="temporary"):
    def on_start(self) -> None:
        local = SECRET
        raise OSError(f"of {len(local)} letters")


def made(kind: type[Vault]) -> Vault:
    options = {"db": {"password": SECRET, "hosts": [{"url": URL, "api_key": SECRET}]}}
    headers = [("Authorization", SECRET)]
    return kind(
        "Rome", SECRET, URL, options, Account(), headers, apiKey=SECRET, more_urls=[URL], port=8080
    )


@pytest.fixture(name="log")
def _log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler, top = logging.StreamHandler(stream), logging.getLogger()
    top.addHandler(handler)
    yield stream
    top.removeHandler(handler)


def test_a_planted_secret_is_in_no_log_no_answer_no_ledger_and_no_record_of_a_crash(
    tmp_path: Path, log: io.StringIO
) -> None:
    vault = made(Vault)
    shop = App(name="shop", providers={"vault": vault}, max_restarts=100)
    with served(shop, tmp_path) as path:
        vault.fail()
        gevent.sleep(0.05)
        with pytest.raises(StartFailed) as refused:
            shop.adopt(made(NeverUp))
        told: dict[str, Any] = {}
        for target in ("tree", "service/vault", "why/vault", "stacks", "top?seconds=0.1", "ready"):
            _, told[target] = aside(ask, path, "GET", f"/v1/{target}")
        texts = [json.dumps(told), str(refused.value), dump(shop), repr(shop.snapshot())]
        tree = shop._tree_
        assert tree is not None
        for ruling in tree.ledger:
            texts.append(repr(ruling))
            if ruling.failure is not None:
                texts.append(ruling.failure.format())
        check("service", told["service/vault"])
        assert told["service/vault"]["arguments"] == {
            "city": "'Rome'",
            "token": "***",
            "url": "'postgres://***@db/shop'",
            "options": "{'db': {'password': ***, 'hosts': "
            "[{'url': 'postgres://***@db/shop', 'api_key': ***}]}}",
            "parts[0]": "<Account>",
            "parts[1]": "[('Authorization', ***)]",
            "apiKey": "***",
            "more_urls": "['postgres://***@db/shop']",
            "port": "8080",
        }
    texts.append(log.getvalue())
    assert "KeyError: 'Rome'" in log.getvalue()
    assert "service failed to start" in log.getvalue()
    assert "service raised while stopping" in log.getvalue()
    assert [text for text in texts if SECRET in text] == []


def test_the_log_of_a_crash_shows_arguments_by_name_and_only_numbers_as_they_are(
    log: io.StringIO,
) -> None:
    records: list[Any] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Kept()
    logging.getLogger("sprag").addHandler(handler)
    try:
        with Supervisor([vault := made(Vault)]):
            vault.fail()
            gevent.sleep(0.05)
    finally:
        logging.getLogger("sprag").removeHandler(handler)
    assert records[0].sprag["event"] == "service crashed"
    assert records[0].sprag["arguments"] == {
        "city": "<str>",
        "token": "***",
        "url": "<str>",
        "options": "<dict>",
        "parts[0]": "<Account>",
        "parts[1]": "<list>",
        "apiKey": "***",
        "more_urls": "<list>",
        "port": "8080",
    }


def test_the_arguments_of_sprags_own_classes_are_not_told(log: io.StringIO) -> None:
    class Bad(Service):
        def on_start(self) -> None:
            raise OSError

    with pytest.raises(StartFailed):
        App(providers={"bad": Bad()}).start()
    assert "arguments" not in log.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_traceback_of_sprag_run_shows_a_local(tmp_path: Path, log_format: str) -> None:
    app(
        tmp_path,
        f"""
        class Vault(Service):
            def __init__(self, token, port):
                self.token = token
            def run(self):
                password = self.token
                gevent.sleep(0.05)
                password.nosuch
        app = App(providers={{"vault": Vault("{SECRET[::-1]}"[::-1], 8080)}}, max_restarts=1)
        """,
    )
    with run(tmp_path, "--log-format", log_format) as process:
        assert process.ends() == 1
    assert "has no attribute 'nosuch'" in process.err
    assert "8080" in process.err
    assert SECRET not in process.err

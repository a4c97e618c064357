"""Tests of `database.py`: crashes by path, hours in milliseconds, and nothing may be left over."""

import sqlite3

import database
import pytest

from sprag import State

pytest_plugins = ["sprag.testing.plugin"]


class Line(sqlite3.Connection):
    is_cut = False

    def execute(self, *statement):
        if Line.is_cut:
            raise sqlite3.OperationalError("the server closed the connection")
        return super().execute(*statement)


@pytest.fixture
def shop(run_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(Line, "is_cut", False)

    def connect():
        if Line.is_cut:
            raise sqlite3.OperationalError("connection refused")
        return sqlite3.connect(tmp_path / "shop.db", factory=Line)

    return run_tree(database.shop(connect))


def lives(shop):
    return [shop.service(name).snapshot().incarnation for name in ("pool", "orders", "mails")]


def test_who_uses_the_pool_restarts_with_it(shop, virtual_clock):
    shop.crash("pool", OSError("the database has gone away"))
    virtual_clock.advance(2)

    assert lives(shop) == [2, 2, 2]


def test_the_pool_does_not_restart_for_one_who_uses_it(shop, virtual_clock):
    shop.crash("orders")
    virtual_clock.advance(2)

    assert lives(shop) == [1, 2, 2]  # with mails, who comes after it


def test_a_connection_that_is_not_given_back_is_noticed(shop, virtual_clock):
    for _ in range(4):
        shop.service("pool").free.get()
    virtual_clock.advance(45)  # three probes, and the delay

    assert shop.service("pool").snapshot().restarts >= 1


def test_an_hour_without_the_database_is_outlasted(shop, virtual_clock, monkeypatch):
    virtual_clock.advance(55)
    monkeypatch.setattr(Line, "is_cut", True)  # its users are the first to notice
    virtual_clock.advance(3600)
    assert shop.state("pool") is State.RESTARTING  # it has not given up

    monkeypatch.setattr(Line, "is_cut", False)
    virtual_clock.advance(60)
    assert [shop.state(name) for name in ("pool", "orders", "mails")] == [State.RUNNING] * 3

"""Tests of `database.py`: crashes by path, hours in milliseconds, and nothing may be left over."""

import sqlite3

import database
import pytest

pytest_plugins = ["sprag.testing.plugin"]


@pytest.fixture
def shop(run_tree, tmp_path):
    return run_tree(database.shop(lambda: sqlite3.connect(tmp_path / "shop.db")))


def lives(shop):
    return [shop.service(name).snapshot().incarnation for name in ("pool", "orders", "mails")]


def test_who_uses_the_pool_restarts_with_it(shop, virtual_clock):
    shop.crash("pool", OSError("the database has gone away"))
    virtual_clock.advance(2)

    assert lives(shop) == [2, 2, 2]


def test_the_pool_does_not_restart_for_one_who_uses_it(shop, virtual_clock):
    shop.crash("orders")
    virtual_clock.settle()

    assert lives(shop) == [1, 2, 2]  # with mails, who comes after it


def test_a_connection_that_is_not_given_back_is_noticed(shop, virtual_clock):
    for _ in range(4):
        shop.service("pool").free.get()
    virtual_clock.advance(45)  # three probes, and the delay

    assert shop.service("pool").snapshot().restarts >= 1

"""Where an app is to listen, as the options of ``sprag run`` say it. Pure: nothing is opened here.

The command's help is shown without gevent, so this module loads nothing of the library but a
default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import click

from sprag._defaults import HOST, PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

Address: TypeAlias = "tuple[str, int] | str | int"
"""A host and a port, the path of a Unix socket, or the number of an open descriptor."""

_UNIX: Final = "unix:"
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_ACCEPTED: Final = "use HOST:PORT, [IPV6]:PORT or unix:PATH, with NAME= before it for a service"
_WEB: Final = "web"


@dataclass(frozen=True, slots=True)
class Bind:
    """One place to listen at.

    Attributes:
        name: By which a service finds the socket; empty: it is the web server's.
        address: Where.
    """

    name: str
    address: Address


class Binding(click.ParamType[Bind]):
    """``[NAME=]ADDRESS``."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bind:
        """Return it."""
        name, address = self._split(str(value), param, ctx)
        if address.startswith(_UNIX):
            path = address.removeprefix(_UNIX)
            if not path or "\0" in path:
                self._fail(value, "has no path", param, ctx)
            return Bind(name, path)
        if "/" in address:
            self.fail(f"{value!r} is no address: a path is written unix:{address}.", param, ctx)
        found = _ADDRESS.fullmatch(address)
        if found is None:
            self._fail(value, "is no address", param, ctx)
        if int(found["port"]) > 65535:
            self.fail(f"{value!r}: a port is 65535 at most.", param, ctx)
        host = found["host"] if found["v6"] is None else found["v6"]
        if not host:
            all_of_them = f"127.0.0.1:{found['port']}, or 0.0.0.0:{found['port']} for all"
            self.fail(f"{value!r} names no host: write {all_of_them}.", param, ctx)
        return Bind(name, (host, int(found["port"])))

    def _split(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, address = text.partition("=")
        if not equals or ":" in name or "/" in name:
            return "", text
        if _NAME.fullmatch(name) is None:
            self.fail(f"{name!r} is no name of a socket: use letters and digits.", param, ctx)
        return ("" if name == _WEB else name), address

    def _fail(
        self, value: Any, what: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(f"{value!r} {what}: {_ACCEPTED}.", param, ctx)


class Descriptor(Binding):
    """``[NAME=]NUMBER`` of a descriptor that this process was started with."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bind:
        """Return it."""
        name, number = self._split(str(value), param, ctx)
        if re.fullmatch(r"[0-9]{1,9}", number, re.ASCII) is None:
            self.fail(f"{value!r} is no file descriptor: use its number, as in 3.", param, ctx)
        if int(number) <= 2:
            self.fail(f"{number} is no socket: 0 to 2 are stdin, stdout, stderr.", param, ctx)
        return Bind(name, int(number))


class Mode(click.ParamType[int]):
    """The rights of a file, in octal digits: ``660``."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(?:0o?)?([0-7]{3})", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no mode: use three octal digits, as in 660.", param, ctx)
        return int(found[1], 8)


def places(asked: dict[str, Any], typed: set[str], said: Mapping[str, str]) -> tuple[Bind, ...]:
    """Take the options that say where to listen out of *asked*, and return what they come to.

    What is typed wins over all that variables say: another way to say where counts as the same
    option.

    Args:
        asked: The options by name; `ADDRESSES` are taken out.
        typed: The names of those that were given on the command line.
        said: By what each was given, its option or its variable.

    Raises:
        click.UsageError: They contradict each other.
    """
    given = {name: asked.pop(name) for name in ADDRESSES}
    if typed & given.keys():
        given = {name: value if name in typed else None for name, value in given.items()}
    host, port, path = given["host"], given["port"], given["unix_socket"]
    binds = [*(given["bind"] or ()), *(given["fd"] or ())]
    for name in ("host", "unix_socket"):
        if given[name] == "":
            raise click.UsageError(f"{said[name]} is empty: give an address, or leave it out")
    tcp = [said[name] for name in ("host", "port") if given[name] is not None]
    if path is not None and tcp:
        others = " and ".join(tcp)
        raise click.UsageError(f"{said['unix_socket']} listens on a path: leave out {others}")
    ways = [*tcp, *([said["unix_socket"]] if path is not None else [])]
    if ways and any(not each.name for each in binds):
        many = said["bind" if given["bind"] else "fd"]
        raise click.UsageError(f"{many} says where to listen: leave out {' and '.join(ways)}")
    if tcp:
        binds.insert(0, Bind("", (HOST if host is None else host, PORT if port is None else port)))
    elif path is not None:
        binds.insert(0, Bind("", path))
    _check_each_once(binds)
    return tuple(binds)


ADDRESSES: Final = ("host", "port", "unix_socket", "bind", "fd")
"""The options that say where to listen."""


def _check_each_once(binds: list[Bind]) -> None:
    names: set[str] = set()
    addresses: set[Address] = set()
    for each in binds:
        if each.name in names:
            raise click.UsageError(
                f"two sockets are called {each.name!r}: a service finds its own by name"
            )
        names |= {each.name} - {""}
        is_any = isinstance(each.address, tuple) and each.address[1] == 0
        if each.address in addresses and not is_any:
            raise click.UsageError(f"{shown(each.address)} is given twice: leave out one")
        addresses.add(each.address)


def shown(address: Address) -> str:
    """Return *address* as it is written."""
    if isinstance(address, int):
        return f"descriptor {address}"
    if isinstance(address, str):
        return f"{_UNIX}{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""As whom a program runs: looked up and checked before anything is started."""

from __future__ import annotations

import grp
import os
import pwd
from typing import NamedTuple

from sprag.programs.exceptions import CannotRun


class Identity(NamedTuple):
    """A user and the groups that go with it.

    Attributes:
        uid: The user's id.
        gid: Its primary group, or the one that was asked for.
        groups: Its supplementary groups.
        variables: What says in the environment whose it is.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    variables: dict[str, str]


def identity(program: str, user: str | int | None, group: str | int | None) -> Identity | None:
    """Return as whom *program* is to run; None: as whoever we are.

    Args:
        program: What is run, for errors.
        user: A name or a number; None: we ourselves.
        group: Instead of the user's primary one.

    Raises:
        CannotRun: There is no such user or group, or we may not become it.
    """
    if user is None and group is None:
        return None
    us = os.geteuid()
    entry = _user(program, us if user is None else user)
    gid = entry.pw_gid if group is None else _group(program, group)
    if us != 0 and (entry.pw_uid != us or gid not in (os.getegid(), *os.getgroups())):
        whom = f"user {entry.pw_name}" if entry.pw_uid != us else f"group {group}"
        raise CannotRun(program, f"only root may start it as {whom}")
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    home, name = entry.pw_dir, entry.pw_name
    variables = {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": entry.pw_shell or "/bin/sh"}
    return Identity(entry.pw_uid, gid, groups, variables)


def _user(program: str, given: str | int) -> pwd.struct_passwd:
    try:
        if isinstance(given, int) or given.isdecimal():
            return pwd.getpwuid(int(given))
        return pwd.getpwnam(given)
    except (KeyError, OverflowError):
        raise CannotRun(program, f"there is no user {given!r} on this machine") from None


def _group(program: str, given: str | int) -> int:
    try:
        if isinstance(given, int) or given.isdecimal():
            return grp.getgrgid(int(given)).gr_gid
        return grp.getgrnam(given).gr_gid
    except (KeyError, OverflowError):
        raise CannotRun(program, f"there is no group {given!r} on this machine") from None

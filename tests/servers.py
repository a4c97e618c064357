"""Real servers for tests: each on a free port, in a temporary folder, and gone at the end.

They are looked for in the PATH and where Debian has them. Where one is missing, its tests are left
out with a word; in CI, or with ``SPRAG_SERVERS=1``, they fail.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.request import urlopen

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import LiteralString

PATIENCE: Final = 30.0
"""Seconds within which a server is there, or gone."""


_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
"""So that it ends with these tests, if they are killed."""


def is_wanted() -> bool:
    """Whether a missing server is a failure."""
    return bool(os.environ.get("CI") or os.environ.get("SPRAG_SERVERS"))


def found(program: str, *places: str) -> str:
    """Return where *program* is; where it is not, the test is left out, or fails."""
    path = shutil.which(program) or shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        say = pytest.fail if is_wanted() else pytest.skip
        say(f"no {program} here: `make servers` installs it")
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def until(is_so: Callable[[], Any], what: str) -> None:
    """Wait until *is_so*, for a while."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


class Server:
    """A server: a process that is started, ended, and started again on the same data.

    Attributes:
        folder: Where its data is. It is temporary, and not pytest's: nobody else may go there.
        port: Where it listens.
        listens: On which address; "0.0.0.0": on all, for who comes from another namespace.
        ends_by: The signal that lets it end well.
    """

    ends_by: int = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sprag-tests-"))
        self.port = free_port()
        self.listens = "127.0.0.1"
        self.data = self.folder / "data"
        self.popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What an engine is opened with."""
        return self.url_at(self.port)

    def url_at(self, port: int, host: str = "127.0.0.1") -> str:
        """Return the URL by another port, which a relay has, or as another namespace sees it."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def user(self) -> str | None:
        """Return whom it runs as."""
        return None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [*_WITH_US, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.user(),
                start_new_session=True,
            )
        until(self._is_up_or_gone, f"{self.command()[0]} answers")
        if self.popen.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def _is_up_or_gone(self) -> bool:
        assert self.popen is not None
        return self.popen.poll() is not None or self.is_up()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.popen is not None
        os.kill(self.popen.pid, number)

    def stop(self) -> None:
        """Let it end well."""
        self._end(self.ends_by)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.popen is not None:
            if number == signal.SIGKILL:
                self.pause()  # all of its processes, before any can do something about it
            self.send(number)
            self.popen.wait(PATIENCE)
            self.popen = None

    def pause(self) -> None:
        """Let it stand still."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def keep(self, name: str = "kept") -> None:
        """Keep what it has by now; it is down, or stands still for that: as a crash leaves it."""
        if self.popen is not None:
            self.pause()
        shutil.copytree(self.data, self.folder / name)
        if self.popen is not None:
            self.go_on()

    def put_back(self, name: str = "kept") -> None:
        """Let it have what was kept, while it is down."""
        shutil.rmtree(self.data)
        (self.folder / name).rename(self.data)

    def close(self) -> None:
        """End it, whatever state it is in, and remove what it has."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(PATIENCE)
            self.popen = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    """A Redis, which forgets nothing when it is killed, unless it is given other options."""

    def __init__(self, *options: str) -> None:
        self._program = found("redis-server")
        super().__init__()
        self.data.mkdir()
        self.options = options or ("--appendonly", "yes", "--appendfsync", "always")

    def url_at(self, port: int, host: str = "127.0.0.1") -> str:
        return f"redis://{host}:{port}/0"

    def command(self) -> list[str]:
        basic = ["--port", str(self.port), "--bind", self.listens, "--save", ""]
        basic += ["--protected-mode", "no"]
        return [self._program, *basic, "--dir", str(self.data), *self.options]

    def is_up(self) -> bool:
        return self.say("PING").startswith(("+PONG", "-NOAUTH"))

    def say(self, *command: str) -> str:
        """Return what it answers to *command*, as it comes."""
        parts = [f"*{len(command)}\r\n", *[f"${len(each)}\r\n{each}\r\n" for each in command]]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall("".join(parts).encode())
                return connection.recv(100_000).decode()
        except OSError:
            return ""


def _owner() -> str | None:
    """Return who a server runs as that will not run as root."""
    return "postgres" if os.geteuid() == 0 else None


def _hand_over(folder: Path) -> None:
    """Let *folder*, and what is in it, be theirs."""
    owner = _owner()
    if owner is None:
        return
    for each in (folder, *folder.rglob("*")):
        shutil.chown(each, owner)


class Postgres(Server):
    """A PostgreSQL."""

    ends_by = signal.SIGINT  # without waiting for who is connected
    _first: ClassVar[list[Path]] = []

    def __init__(self, *options: str) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._program = found("postgres", *map(str, versions))
        super().__init__()
        self.options = options
        _hand_over(self.folder)

    def run(self, program: str, *arguments: str) -> None:
        """Run another program of it, and wait for its end."""
        subprocess.run(
            [str(Path(self._program).resolve().parent / program), *arguments],
            check=True,
            capture_output=True,
            user=self.user(),
            cwd=self.folder,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        )

    def start(self) -> None:
        if not self.data.exists():
            self._begin()
        super().start()

    def _begin(self) -> None:
        """Make its data: a copy of the first one's of this process, as to make it takes long."""
        if not Postgres._first:
            folder = Path(tempfile.mkdtemp(prefix="sprag-tests-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _hand_over(folder)
            made = folder / "data"
            self.run("initdb", "-D", str(made), "-U", "sprag", "-A", "trust", "--no-sync")
            Postgres._first.append(made)
        shutil.copytree(Postgres._first[0], self.data)
        with (self.data / "pg_hba.conf").open("a") as trusted:
            trusted.write("host all all 10.0.0.0/8 trust\n")
        _hand_over(self.folder)

    def put_back(self, name: str = "kept") -> None:
        super().put_back(name)
        _hand_over(self.folder)

    def follow(self, primary: Postgres) -> None:
        """Be a standby of *primary*, and start."""
        copy = ["-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        self.run("pg_basebackup", *copy, "-d", primary.url)
        self.start()

    def promote(self) -> None:
        """Be one no more; waits for that."""
        self.say("select pg_promote()")

    def user(self) -> str | None:
        return _owner()

    def url_at(self, port: int, host: str = "127.0.0.1") -> str:
        return f"postgres://sprag@{host}:{port}/postgres"

    def command(self) -> list[str]:
        given = {
            "port": self.port,
            "listen_addresses": self.listens,
            "unix_socket_directories": "",
        }
        options = [f"-c{key}={value}" for key, value in given.items()]
        return [self._program, "-D", str(self.data), *options, *self.options]

    def is_up(self) -> bool:
        try:
            self.say("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def send(self, number: int) -> None:
        assert self.popen is not None
        pid = self.popen.pid
        children = ""
        with suppress(FileNotFoundError):  # it has ended by itself meanwhile
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        super().send(number)
        if number != self.ends_by:
            for child in children.split():
                with suppress(ProcessLookupError):  # each has a session of its own
                    os.kill(int(child), number)

    def close(self) -> None:
        if self.popen is not None:
            self.go_on()
            self.send(signal.SIGQUIT)
            self.popen.wait(PATIENCE)
            self.popen = None
        super().close()

    def say(self, statement: LiteralString) -> list[Any]:
        """Return the rows that *statement* gives."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


class PgBouncer(Server):
    """A pooler before a PostgreSQL: each transaction may have another session."""

    def __init__(self, behind: Postgres) -> None:
        self._program = found("pgbouncer", "/usr/sbin")
        super().__init__()
        (self.folder / "users").write_text('"sprag" ""\n')
        (self.folder / "ini").write_text(
            f"""[databases]
postgres = host=127.0.0.1 port={behind.port} dbname=postgres user=sprag
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
auth_file = {self.folder}/users
pool_mode = transaction
"""
        )
        _hand_over(self.folder)

    def user(self) -> str | None:
        return _owner()

    def url_at(self, port: int, host: str = "127.0.0.1") -> str:
        return f"postgres://sprag@{host}:{port}/postgres"

    def command(self) -> list[str]:
        return [self._program, str(self.folder / "ini")]

    def is_up(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False


class Etcd(Server):
    """An etcd, alone."""

    def __init__(self, *options: str) -> None:
        self._program = found("etcd", "/usr/bin")
        super().__init__()
        self.options = options
        self._peers = free_port()

    def url_at(self, port: int, host: str = "127.0.0.1") -> str:
        return f"etcd://{host}:{port}"

    def command(self) -> list[str]:
        here, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peers}"
        listens = f"http://{self.listens}:{self.port}"
        given = {
            "data-dir": self.data,
            "listen-client-urls": listens,
            "advertise-client-urls": here,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
        }
        return [self._program, *[f"--{key}={value}" for key, value in given.items()], *self.options]

    def is_up(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return b"true" in answer.read()
        except OSError:
            return False


KINDS: Final[Mapping[str, Callable[[], Server]]] = {
    "postgres": Postgres,
    "redis": Redis,
    "etcd": Etcd,
}


class Sshd(Server):
    """OpenSSH on the loopback, for this user, with keys of its own, and an `ssh` that knows it."""

    def __init__(self) -> None:
        self.sshd = found("sshd", "/usr/sbin", "/usr/local/sbin")
        found("ssh")
        super().__init__()
        for name in ("host", "user"):
            keygen = [found("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", name]
            subprocess.run(keygen, cwd=self.folder, check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nPidFile none\nStrictModes no\n"
            "PasswordAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n"
        )
        (self.folder / "ssh_config").write_text(
            f"Host box\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {self.folder}/user\n"
            f" UserKnownHostsFile {self.folder}/known\n StrictHostKeyChecking accept-new\n"
            " IdentitiesOnly yes\n BatchMode yes\n LogLevel ERROR\n"
        )

    def command(self) -> list[str]:
        """Return what starts it."""
        return [self.sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def is_up(self) -> bool:
        """Whether it answers."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def environ(self, runtime: Path) -> dict[str, str]:
        """Return what a client needs: an ssh that knows the host, and where sprag is there."""
        bin_there, there = self.folder / "bin", self.folder / "sprag"
        bin_there.mkdir(exist_ok=True)
        path = os.pathsep.join(map(str, sys.path))
        variables = f"PYTHONPATH={shlex.quote(path)} SPRAG_RUNTIME_DIR={runtime}"
        scripts = {
            bin_there / "ssh": f'exec {found("ssh")} -F {self.folder}/ssh_config "$@"',
            there: f'export {variables}\nexec {sys.executable} -m sprag_cli "$@"',
        }
        for file, lines in scripts.items():
            file.write_text(f"#!/bin/sh\n{lines}\n")
            file.chmod(0o755)
        search = f"{bin_there}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": search, "SPRAG_REMOTE": str(there)}

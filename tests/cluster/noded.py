"""The app of the nodes that faults are done to: it runs in processes of its own, as any app does.

What runs once writes when its work begins and ends. A greenlet beats for all of it, notes the
longest time between two beats, on the clock and of the processor, and does what the runner has put
on this node's seat: a page that both have mapped.
"""

from __future__ import annotations

from typing import Final

LATER: Final = 22
"""Bits of a pid; what is above them says which of those that have had it."""
APP: Final = '''
import ctypes, mmap, random, struct
from pathlib import Path

C = ctypes.CDLL(None)
C.prctl(1, 9)  # end with who has started us
if os.getppid() == 1:
    os._exit(0)  # which has ended before that
if os.environ["NAMESPACE"]:
    space = os.open(f"/run/netns/{os.environ['NAMESPACE']}", os.O_RDONLY)
    assert C.setns(space, 0x40000000) == 0
    os.close(space)

import sprag.cluster.joining
import sprag.cluster.rows
from sprag_supervisor import clock

now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
PARTITIONS = int(os.environ["PARTITIONS"])
TTL = float(os.environ["TTL"])
LATER = 22
WHO = int(os.environ["LIFE"]) << LATER | os.getpid()


def mapped(name, size):
    told = os.open(name, os.O_RDWR | os.O_CREAT)
    if os.fstat(told).st_size < size:
        os.ftruncate(told, size)
    return mmap.mmap(told, size)


HOLDERS = mapped("holders", 16 * (PARTITIONS + 1))
SEAT = mapped(f"seat-{os.environ['SEAT']}", 64)
BEAT = mapped(f"beat-{WHO}", 32)
WRITTEN = os.open("written", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def write(kind, pid, what, token, at):
    os.write(WRITTEN, f"{kind} {at:.6f} {pid} {what} {token}\\n".encode())


def began(pid):
    """When the process that has this pid now has begun, in ticks since the machine has."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


struct.pack_into("q", BEAT, 24, began(os.getpid()))


def lives(who):
    """Whether it can still do something: a signal that kills it has not been sent."""
    pid = who & (1 << LATER) - 1
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        if struct.unpack("q", Path(f"beat-{who}").read_bytes()[24:]) != (began(pid),):
            return False  # the kernel gives pids away again
    except OSError:
        return False
    said = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    pending = int(said["SigPnd"], 16) | int(said["ShdPnd"], 16)
    return said["State"].split()[0] not in "ZX" and not pending & 1 << 8


def begins(number, what, token):
    before, tokened = struct.unpack_from("qq", HOLDERS, 16 * number)
    write("begins", WHO, what, token, now())
    struct.pack_into("qq", HOLDERS, 16 * number, WHO, token)
    if before not in (0, WHO) and lives(before):
        write("lives", before, what, tokened, now())


def ends(number, what, token):
    if struct.unpack_from("qq", HOLDERS, 16 * number) == (WHO, token):
        struct.pack_into("qq", HOLDERS, 16 * number, 0, 0)
    write("ends", WHO, what, token, now())


class Once(Service, shutdown=0.2 * TTL):
    number = PARTITIONS

    def on_start(self):
        told = self.number, self.name or str(self.number), self.lease.token
        self.add_cleanup(ends, *told)
        begins(*told)

    def on_stop(self):
        gevent.sleep(random.random() * 0.05)


class Billing(Once):
    name = "billing"


class Shard(Once):
    name = None

    def __init__(self, number):
        self.number = number


class Beats(Service):
    def run(self):
        at, used = now(), time.thread_time()
        while True:
            gevent.sleep(0.5 if SEAT[2] else 0.01)
            before, used_before, at, used = at, used, now(), time.thread_time()
            struct.pack_into("d", BEAT, 0, at)
            for offset, took in (8, at - before), (16, used - used_before):
                if took > struct.unpack_from("d", BEAT, offset)[0]:
                    struct.pack_into("d", BEAT, offset, took)
            in_c, spins = SEAT[0], SEAT[1]
            if in_c:
                SEAT[0] = 0
                ctypes.PyDLL(None).usleep(in_c * 100_000)
            if spins:
                SEAT[1] = 0
                until = time.monotonic() + spins / 10
                while time.monotonic() < until:
                    pass


def ahead():
    """By how many seconds the clocks are, of this machine and of the engine as we see it."""
    return struct.unpack_from("dd", SEAT, 8)


clock.wall = lambda: time.time() + ahead()[0]
opened = sprag.cluster.joining.open_engine


def open_engine(*args, **kwargs):
    engine = opened(*args, **kwargs)
    get = engine.get

    def jumped(key):
        answer = get(key)
        by = int(ahead()[1] * 1000)
        return answer if answer.now is None else answer._replace(now=answer.now + by)

    engine.get = jumped
    return engine


sprag.cluster.joining.open_engine = open_engine

if os.environ["SCHEMA"] != "1":
    rows = sprag.cluster.rows
    rows.SCHEMA = int(os.environ["SCHEMA"])
    taken = rows.Row.taken
    rows.Row.taken = lambda *args: rows.replace(
        taken(*args), schema=rows.SCHEMA, rest={"newer": "keys"}
    )

app = App(
    name="shop",
    cluster=Cluster(os.environ["URL"], ttl=TTL, node=os.environ["NODE"], required=False),
    providers={
        "beats": Beats(),
        "billing": Singleton(Billing()),
        "carts": Sharded(Shard, partitions=PARTITIONS),
    },
)
'''

"""The network of the emulated cloud: a router in a namespace of its own, and a cable to each machine.

    this computer 10.77.K.1 ── home│ router: addresses, security groups, metadata │m10 ── ens5  a machine
                                   │                                              │m11 ── ens5  another one

A machine has a private address of the default VPC, and a public one of 10.77.K.0/24 that the router translates, as on
AWS. It may open connections to those ports of 10.77.K.1 that were given a ``door``, and to the metadata service; nobody
may open one to it but where its security groups say so. Nothing goes further: there is no way to the Internet.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.servers import Programs

T = TypeVar("T")
METADATA = "169.254.169.254"
CARD = "ens5"  # what a Nitro instance calls its network interface
GATEWAY = "172.31.0.1"
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
FIRST, LAST = 10, 250  # the last number of machines' public addresses
TIME = 90.0  # s
RULES = """
table inet cloud {{
    set cut {{ type ipv4_addr; }}
    set doors {{ type inet_service; }}
    set open {{ type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }}
    map private {{ type ipv4_addr : ipv4_addr; }}
    map public {{ type ipv4_addr : ipv4_addr; }}
    chain dstnat {{
        type nat hook prerouting priority dstnat;
        iifname "home" dnat ip to ip daddr map @private
    }}
    chain srcnat {{
        type nat hook postrouting priority srcnat;
        oifname "home" snat ip to ip saddr map @public
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ip saddr @cut drop
        ip daddr @cut drop
        ct state established,related accept
        oifname "home" ip daddr {host} tcp dport @doors accept
        ip daddr . ip protocol . th dport . ip saddr @open accept
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname != "home" ip daddr {metadata} tcp dport 80 accept
    }}
}}
"""


@dataclass(frozen=True)
class Cable:
    """Where a machine is plugged in: ``m<number>`` on the router's side."""

    number: int
    private: str
    public: str

    @property
    def port(self) -> str:
        return f"m{self.number}"


class Network:
    """The router and the cables, from ``Network(programs)`` until the programs end. Safe to use from any thread."""

    def __init__(self, made: Programs) -> None:
        note = made.folder / "router.pid"
        made.start("router", ["unshare", "--net", "sh", "-c", f"echo $$ >{note}.new; mv {note}.new {note}; sleep inf"])
        made.wait("The router", note.exists)
        self.pid = int(note.read_text())
        self._lock = threading.Lock()
        self._numbers: set[int] = set()
        self.net = self._plug_in()
        self.host, router = f"10.77.{self.net}.1", f"10.77.{self.net}.2"
        call(["ip", "-batch", "-"], f"""
            addr add {self.host}/30 dev {self.interface}
            link set {self.interface} up
            route add 10.77.{self.net}.0/24 via {router}
        """)  # fmt: skip
        self.ip(f"""
            addr add {router}/30 dev home
            addr add {METADATA}/32 dev lo
            link set lo up
            link set home up
            route add default via {self.host}
        """)
        self.inside(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        self.nft(RULES.format(host=self.host, metadata=METADATA))

    @property
    def interface(self) -> str:
        """What this computer's end of the cable to the router is called."""
        return f"cryob{self.net}"

    def _plug_in(self) -> int:
        """Take a number that no other cloud on this computer has: an interface's name exists once."""
        for number in range(1, 255):
            words = f"ip link add cryob{number} type veth peer name home netns {self.pid}"
            done = subprocess.run(words.split(), capture_output=True, text=True, timeout=TIME, check=False)
            if done.returncode == 0:
                return number
            if "File exists" not in done.stderr:
                raise RuntimeError(f"no network for machines can be made here: {done.stderr.strip()}")
        raise RuntimeError("254 emulated clouds are running on this computer")

    def address(self) -> tuple[int, str]:
        """A free number and its public address."""
        with self._lock:
            number = next(n for n in range(FIRST, LAST) if n not in self._numbers)
            self._numbers.add(number)
        return number, f"10.77.{self.net}.{number}"

    def plug(self, cable: Cable, pid: int) -> None:
        """Lay the cable to the machine whose network namespace ``pid`` is in, and set its address."""
        self.ip(f"""
            link add {cable.port} type veth peer name {CARD} netns {pid}
            addr add {GATEWAY}/32 dev {cable.port}
            link set {cable.port} up
            route add {cable.private}/32 dev {cable.port}
        """)
        call(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"], f"""
            link set lo up
            addr add {cable.private}/32 dev {CARD}
            link set {CARD} up
            route add {GATEWAY} dev {CARD}
            route add default via {GATEWAY}
        """)  # fmt: skip
        self.nft(f"""
            add element inet cloud private {{ {cable.public} : {cable.private} }}
            add element inet cloud public {{ {cable.private} : {cable.public} }}
        """)

    def pull(self, cable: Cable) -> None:
        """Take the cable away at one blow: the others hear nothing more, not even that it is over."""
        with suppress(RuntimeError):  # gone with its machine
            self.ip(f"link set {cable.port} down")

    def forget(self, cable: Cable) -> None:
        """Give the addresses back, with all that was allowed to them."""
        with suppress(RuntimeError):
            self.ip(f"link del {cable.port}")
        for element in (f"private {{ {cable.public} }}", f"public {{ {cable.private} }}", f"cut {{ {cable.private} }}"):
            with suppress(RuntimeError):
                self.nft(f"delete element inet cloud {element}")
        for line in self.inside(["nft", "list", "set", "inet", "cloud", "open"]).splitlines():
            for element in line.replace("elements = {", "").strip(" {},\t").split(", "):
                if element.startswith(f"{cable.private} . "):
                    self.nft(f"delete element inet cloud open {{ {element} }}")
        with self._lock:
            self._numbers.discard(cable.number)

    def door(self, port: int) -> None:
        """Let machines reach this port of ``host``."""
        self.nft(f"add element inet cloud doors {{ {port} }}")

    def open(self, cable: Cable, protocol: str, ports: tuple[int, int], sources: Iterable[str]) -> None:
        """Let those of ``sources`` (CIDRs) reach these ports of a machine."""
        for source in sources:
            span = f"{ports[0]}-{ports[1]}"
            source = "0.0.0.0-255.255.255.255" if source == "0.0.0.0/0" else source
            self.nft(f"add element inet cloud open {{ {cable.private} . {protocol} . {span} . {source} }}")

    def cut(self, cable: Cable) -> None:
        """Drop whatever comes from or goes to a machine, but for its metadata."""
        self.nft(f"add element inet cloud cut {{ {cable.private} }}")

    def heal(self, cable: Cable) -> None:
        with suppress(RuntimeError):  # it was not cut
            self.nft(f"delete element inet cloud cut {{ {cable.private} }}")

    def inside(self, words: list[str], text: str = "") -> str:
        """What a program prints that runs in the router's namespace."""
        return call(["nsenter", f"--net=/proc/{self.pid}/ns/net", *words], text)

    def ip(self, text: str) -> None:
        self.inside(["ip", "-batch", "-"], text)

    def nft(self, text: str) -> None:
        self.inside(["nft", "-f", "-"], text)

    def within(self, make: Callable[[], T]) -> T:
        """What ``make`` returns, such as a socket, made in the router's namespace."""
        return within(Path(f"/proc/{self.pid}/ns/net"), make)


def within(namespace: Path, make: Callable[[], T]) -> T:
    """What ``make`` returns in a network namespace. A thread has a namespace of its own, so this takes one."""
    made: list[T] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"no way into {namespace}")
            finally:
                os.close(descriptor)
            made.append(make())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def call(words: list[str], text: str = "") -> str:
    """What a program prints. Raises RuntimeError with its complaint when it fails."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=TIME, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout

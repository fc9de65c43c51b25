"""`mycelia doctor`: everything that a node needs, looked at before it is needed; each finding with what to do.

Nothing is changed, and a node that runs is not disturbed.
"""

from __future__ import annotations

import errno
import re
import shutil
import socket
import stat
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossip.transport import CannotListen, PortTaken
from ledger.errors import LedgerError, NoContract, UnprovenRegistry, WrongFingerprint
from node.chain import client_of
from node.config import Config, load_config
from node.errors import ConfigError
from node.keys import ACCOUNT_FILE, NODE_FILE, SIGNER_FILE, Keys, find_member, load_keys
from node.store import STORE_FILE, is_in_use

if TYPE_CHECKING:
    from ledger.client import LedgerClient
    from ledger.types import Roster
    from node.doctor_network import Contact

OK, WARNING, FAILURE, SKIPPED = "ok", "warning", "failure", "skipped"
MIB: Final = 1 << 20
LITTLE_DISK_BYTES: Final = 1024 * MIB
NO_DISK_BYTES: Final = 64 * MIB
CLOCK_WARNING_SECONDS: Final = 5.0
CLOCK_FAILURE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what it was.
        state: "ok", "warning", "failure", or "skipped" where something else has to work first.
        found: in words.
        todo: what to do about it; empty where there is nothing to do.
    """

    check: str
    state: str
    found: str
    todo: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def examine(folder: Path, rpc: str | None, registry: str | None) -> Iterator[Finding]:
    """Everything about the node in `folder`, in the order in which it has to work."""
    flags = {"ledger.rpc": rpc, "ledger.registry": registry}
    try:
        config = load_config(folder, flags={name: value for name, value in flags.items() if value is not None})
    except ConfigError as error:
        yield Finding("configuration", FAILURE, "; ".join(str(error).splitlines()), "correct it there")
        return
    yield Finding("configuration", OK, f"{config.node.name}, {config.node.host}:{config.node.port}")
    keys = yield from check_keys(folder)
    yield check_disk(folder)
    is_running = is_in_use(folder / STORE_FILE)
    yield check_port(config, is_running)
    client, roster = yield from check_chain(config)
    if client is not None and roster is not None and keys is not None:
        yield from check_entry(config, keys, client, roster)
        yield from check_network(config, keys, roster, is_running)
        return
    for check in ("registry entry", "peers", "reachability", "clock"):
        yield Finding(check, SKIPPED, "chain, contracts and keys have to work first")


# --- on this machine --------------------------------------------------------------------------------------------------


def check_keys(folder: Path) -> Generator[Finding, None, Keys | None]:
    """Files, modes and contents of the keys; gives them if they can be used."""
    try:
        keys = load_keys(folder)
    except ConfigError as error:
        found, _, advice = re.split(r"(; |: )(?=run: |restore )", str(error), maxsplit=1)
        yield Finding("keys", FAILURE, found, advice)
        return None
    modes = [f"{name} {stat.S_IMODE((folder / name).stat().st_mode):o}" for name in (SIGNER_FILE, NODE_FILE)]
    yield Finding("keys", OK, f"{', '.join(modes)}; signer {keys.signer_address}, node {keys.peer_id}")
    if keys.account is not None:
        yield Finding(
            "account key",
            WARNING,
            f"{ACCOUNT_FILE} lies on this machine; a running node has no use for it",
            f"keep it elsewhere: move {folder / ACCOUNT_FILE} to a place that is not on the network",
        )
    return keys


def check_disk(folder: Path) -> Finding:
    """Whether there is room, and whether it can be written to."""
    probe = folder / ".doctor"
    try:
        probe.write_bytes(bytes(4096))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", FAILURE, f"cannot write to {folder}: {error.strerror}", "make room, or mend its rights")
    finally:
        probe.unlink(missing_ok=True)
    found = f"{free // MIB} MiB free in {folder}"
    if free < NO_DISK_BYTES:
        return Finding("disk", FAILURE, found, f"make room: a node needs {NO_DISK_BYTES // MIB} MiB and more")
    if free < LITTLE_DISK_BYTES:
        return Finding("disk", WARNING, found, f"make room: {LITTLE_DISK_BYTES // MIB} MiB leave some for large models")
    return Finding("disk", OK, found)


def check_port(config: Config, is_running: bool) -> Finding:
    """Whether the node listens on its port, or could."""
    host, port = config.node.bind or config.node.host, config.node.port
    try:
        probe_port(host, port)
    except PortTaken:
        if is_running:
            return Finding("port", OK, f"the running node listens on {host}:{port}")
        todo = f"end what listens there (ss -ltnp 'sport = :{port}' names it), or choose another port"
        return Finding("port", FAILURE, f"another process listens on {host}:{port}", todo)
    except CannotListen as error:
        return Finding("port", FAILURE, str(error), "set node.bind to an address of this machine, such as 0.0.0.0")
    if is_running:
        return Finding("port", FAILURE, f"a node runs here, and nothing listens on {host}:{port}", "start it again")
    return Finding("port", OK, f"{host}:{port} is free")


def probe_port(host: str, port: int) -> None:
    """Bind and let go.

    Raises:
        PortTaken, CannotListen: why a node could not listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port) from error
        raise CannotListen(host, port, error.strerror or str(error)) from error


# --- chain ------------------------------------------------------------------------------------------------------------


def check_chain(config: Config) -> Generator[Finding, None, tuple[LedgerClient | None, Roster | None]]:
    """The endpoint, the codes at the three addresses, and the roster; gives client and roster if they can be used."""
    rpc, registry = config.ledger.rpc, config.ledger.registry
    for name, value in (("rpc", rpc), ("registry", registry)):
        if not value:
            yield Finding("chain", FAILURE, f"ledger.{name} is empty", f"set it in mycelia.toml, or give --{name}")
            return None, None
    try:
        client = client_of(config.ledger)
        age = time.time() - client.block_timestamp()
    except NoContract as error:
        yield Finding("chain", OK, f"{rpc} answers")
        todo = "compare ledger.registry with the consortium's, and the version of this program with theirs"
        yield Finding("contract codes", FAILURE, str(error), todo)
        return None, None
    except LedgerError as error:
        yield Finding("chain", FAILURE, f"{rpc}: {error}", "start the chain's node, or correct ledger.rpc")
        return None, None
    yield Finding("chain", OK, f"{rpc} serves chain {client.chain_id}, newest block {age:.0f} s old")
    yield Finding("contract codes", OK, f"registry, ledger and vault are this version's, registry {registry}")
    try:
        proven = client.verified()
    except (UnprovenRegistry, WrongFingerprint) as error:
        found, _, todo = str(error).partition(": ")
        yield Finding("members", FAILURE, found, todo)
        return None, None
    except LedgerError as error:
        yield Finding("members", FAILURE, str(error), "ask who deployed the registry")
        return None, None
    found = f"roster {proven.roster.version}, every change signed; fingerprint 0x{proven.fingerprint.hex()}"
    if config.ledger.fingerprint:
        yield Finding("members", OK, f"{found}, as configured")
    else:
        todo = "compare it with what another member reads, say by telephone, and set ledger.fingerprint to it"
        yield Finding("members", WARNING, found, todo)
    if proven.successor is not None:
        found = f"a quorum named {proven.successor} as the registry to go on at; what is due here can be claimed here"
        yield Finding(
            "successor", WARNING, found, "ask the others from when on; set [ledger] to what its deployer says"
        )
    return client, proven.roster


def check_entry(config: Config, keys: Keys, client: LedgerClient, roster: Roster) -> Iterator[Finding]:
    """What the registry says of this member, and whether its signer can pay for a transaction."""
    try:
        me = roster.members[find_member(roster, keys)]
    except ConfigError as error:
        todo = "give your member.json to who deploys, or use the keys and the registry that belong together"
        yield Finding("registry entry", FAILURE, str(error), todo)
        return
    here = (config.node.host, config.node.port)
    if (me.host, me.port) != here:
        found = f"the registry sends the others to {me.net_address}, and the configuration says {here[0]}:{here[1]}"
        yield Finding("registry entry", WARNING, found, "make them the same, or forward that port to this machine")
    else:
        yield Finding("registry entry", OK, f"member {me.index} of {len(roster.members)}, {me.net_address}")
    wei = client.balance_wei(keys.signer_address)
    if wei == 0:
        todo = f"send some to {keys.signer_address}, unless the chain's transactions are free; others record meanwhile"
        yield Finding("gas", WARNING, "the signer owns nothing", todo)
    else:
        yield Finding("gas", OK, f"the signer owns {wei / 10**18:.4f} ether")


# --- network ----------------------------------------------------------------------------------------------------------


def check_network(config: Config, keys: Keys, roster: Roster, is_running: bool) -> Iterator[Finding]:
    """Whom this machine reaches, who reaches it, and what their clocks show."""
    from node.doctor_network import contact

    listen = ("127.0.0.1", 0) if is_running else (config.node.bind or config.node.host, config.node.port)
    seen = contact(keys.node, listen, roster)
    names = {member.peer_id: member.name for member in roster.members}
    yield _peers(seen, names)
    yield _reachability(config, seen, names)
    yield _clock(seen)


def _peers(seen: Contact, names: dict[str, str]) -> Finding:
    reached = sorted(names[peer] for peer in seen.views)
    missing = {names[peer]: reason for peer, reason in seen.failures.items()}
    if not missing:
        return Finding("peers", OK, f"reached {', '.join(reached) or 'nobody: there is no other member'}")
    why = "; ".join(f"{name} ({reason})" for name, reason in sorted(missing.items()))
    todo = "their nodes may be down: ask them; if all fail, let this machine's firewall pass outbound TCP"
    return Finding("peers", WARNING if reached else FAILURE, f"reached {len(reached)}, not {why}", todo)


def _reachability(config: Config, seen: Contact, names: dict[str, str]) -> Finding:
    """From another member's point of view."""
    verdicts = {names[peer]: view.reason for peer, view in seen.views.items()}
    able = sorted(name for name, reason in verdicts.items() if not reason)
    if able:
        return Finding("reachability", OK, f"reachable from the point of view of {', '.join(able)}")
    if not verdicts:
        return Finding("reachability", SKIPPED, "no other member could be asked")
    found = "; ".join(f"{name}: {reason}" for name, reason in sorted(verdicts.items()))
    port = config.node.port
    todo = (
        f"let inbound TCP to port {port} pass the firewall and forward it to this machine, or ask a member that can be "
        "reached to set node.relay = true: this node then takes part through it"
    )
    return Finding("reachability", WARNING, f"not reachable from the point of view of {found}", todo)


def _clock(seen: Contact) -> Finding:
    offsets = sorted(seen.clock_offsets)
    if not offsets:
        return Finding("clock", SKIPPED, "no other member could be asked")
    offset = offsets[len(offsets) // 2]
    found = f"{abs(offset):.1f} s {'behind' if offset > 0 else 'ahead of'} the other members"
    if abs(offset) <= CLOCK_WARNING_SECONDS:
        return Finding("clock", OK, found)
    state = FAILURE if abs(offset) > CLOCK_FAILURE_SECONDS else WARNING
    return Finding("clock", state, found, "let the machine set its clock: timedatectl set-ntp true")

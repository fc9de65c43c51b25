"""Who belongs to the consortium: requests that travel as files, approvals that are added to them, and own changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ledger.errors import Reverted, TransactionFailed
from node.chain import client_of
from node.change_requests import ADMIT, ENTRY_KEYS, REMOVE, Request, read_bytes, read_request, write_request
from node.config import load_config
from node.errors import ConfigError
from node.keys import ACCOUNT_FILE, Keys, find_member, load_keys
from node.members import MEMBER_FILE, read_member

if TYPE_CHECKING:
    from ledger.approvals import Admission, Removal
    from ledger.membership import Membership
    from ledger.types import Member, Roster


def join(folder: Path, rpc: str | None, registry: str | None, out: Path) -> None:
    """Write the request by which the node in `folder` asks to be admitted."""
    membership, roster = _opened(folder, rpc, registry)
    keys = load_keys(folder)
    member = read_member(folder / MEMBER_FILE, len(roster.members))
    _check_free(roster, member)
    if keys.account is None:
        raise ConfigError(f"{folder} has no {ACCOUNT_FILE}: a request to join is signed by the account as well")
    admission = _admission(roster, member)
    entry = json.loads((folder / MEMBER_FILE).read_text())
    request = Request(
        action=ADMIT,
        registry=roster.registry,
        chain_id=roster.chain_id,
        config=admission.config.hex(),
        entry={key: entry[key] for key in ENTRY_KEYS},
        consents={
            "account": membership.sign(keys.account, admission).hex(),
            "signer": membership.sign(keys.signer, admission).hex(),
        },
    )
    write_request(out, request)
    print(f"{out}: give it to the members; {roster.quorum} of {_active(roster)} have to approve it")


def remove(folder: Path, name: str, rpc: str | None, registry: str | None, evidence: Path | None, out: Path) -> None:
    """Write the request to remove the member of this name, approved by the node in `folder`."""
    from eth_hash.auto import keccak

    membership, roster = _opened(folder, rpc, registry)
    found = [member.index for member in roster.members if member.name == name and roster.is_active(member.index)]
    if not found:
        names = ", ".join(member.name for member in roster.members if roster.is_active(member.index))
        raise ConfigError(f"no active member is called {name!r}; there are {names}")
    request = Request(
        action=REMOVE,
        registry=roster.registry,
        chain_id=roster.chain_id,
        config=roster.config_digest.hex(),
        index=found[0],
        evidence=(bytes(32) if evidence is None else keccak(read_bytes(evidence))).hex(),
    )
    _add_approval(request, membership, roster, load_keys(folder))
    write_request(out, request)
    _tell(out, request, roster)


def approve(folder: Path, paths: Sequence[Path], rpc: str | None, registry: str | None, submit: bool) -> None:
    """Add this node's approval to the first request, and those of its other copies; submit it with a quorum."""
    membership, roster = _opened(folder, rpc, registry)
    first, *copies = [(path, read_request(path)) for path in paths]
    path, request = first
    _check_place(path, request, roster)
    if done := _what_is_done(path, request, roster):
        print(done)
        return
    _check_request(path, request, roster)
    for other, copy in copies:
        if msgspec.structs.replace(copy, approvals={}) != msgspec.structs.replace(request, approvals={}):
            raise ConfigError(f"{other} is not a copy of {path}: it asks for something else")
        _check_approvals(other, copy, roster)
        request.approvals |= copy.approvals
    keys = load_keys(folder)
    _add_approval(request, membership, roster, keys)
    write_request(path, request)
    if submit and len(request.approvals) >= roster.quorum:
        print(_in_words(request, roster), file=sys.stderr)
        try:
            print(_submit(request, membership, roster, keys))
        except (Reverted, TransactionFailed):
            # Another member may have been faster, between our look and our transaction.
            done = _what_is_done(path, request, _opened(folder, rpc, registry)[1])
            if not done:
                raise
            print(done)
    else:
        _tell(path, request, roster)


def leave(folder: Path, rpc: str | None, registry: str | None) -> None:
    """End the membership of the node in `folder`; its rewards and its stake stay its own."""
    from ledger.approvals import Exit

    membership, roster = _opened(folder, rpc, registry)
    keys = load_keys(folder)
    index = _own_index(roster, keys)
    if _active(roster) <= 3:
        raise ConfigError("a consortium keeps at least 3 members: nobody can leave before another one joins")
    account = _account(folder, keys)
    print(membership.leave(keys.signer, index, membership.sign(account, Exit(roster.config_digest, index))))


def rotate(folder: Path, new: Path, rpc: str | None, registry: str | None) -> None:
    """Give the member in `folder` the keys and the address of the node that `mycelia init` made in `new`."""
    from ledger.approvals import Rotation

    membership, roster = _opened(folder, rpc, registry)
    keys = load_keys(folder)
    index = _own_index(roster, keys)
    member = replace(read_member(new / MEMBER_FILE, index), name=roster.members[index].name)
    _check_free(roster, member)
    account = _account(folder, keys)
    rotation = Rotation(
        roster.config_digest,
        index,
        member.account,
        member.signer,
        member.peer_id.encode("ascii"),
        member.net_address,
    )
    print(membership.rotate(keys.signer, member, membership.sign(account, rotation)))


def _opened(folder: Path, rpc: str | None, registry: str | None) -> tuple[Membership, Roster]:
    from ledger.membership import Membership

    flags = {"ledger.rpc": rpc, "ledger.registry": registry}
    config = load_config(folder, flags={name: value for name, value in flags.items() if value is not None})
    for name, value in (("rpc", config.ledger.rpc), ("registry", config.ledger.registry)):
        if not value:
            raise ConfigError(f"{folder}/mycelia.toml: ledger.{name} is empty; name it there or with --{name}")
    # What is signed here says whom it is about by index: an endpoint must not choose whom that is.
    roster = client_of(config.ledger).verified().roster
    membership = Membership(
        config.ledger.rpc,
        config.ledger.registry,
        expect_chain_id=roster.chain_id,
        max_gas_price_wei=config.ledger.max_gas_price_wei,
    )
    return membership, roster


def _active(roster: Roster) -> int:
    return sum(roster.is_active(member.index) for member in roster.members)


def _account(folder: Path, keys: Keys) -> bytes:
    if keys.account is None:
        raise ConfigError(f"this is signed by the member's account: put its {ACCOUNT_FILE} into {folder} for a moment")
    return keys.account


def _own_index(roster: Roster, keys: Keys) -> int:
    index = find_member(roster, keys)
    if not roster.is_active(index):
        raise ConfigError(f"{roster.members[index].name} is no longer a member")
    return index


def _check_free(roster: Roster, member: Member) -> None:
    """Refuses what the registry would refuse, and two nodes at one address."""
    for other in roster.members:
        if other.index == member.index or not roster.is_active(other.index):
            continue
        for name in ("name", "account", "signer", "peer_id", "net_address"):
            if getattr(other, name) == getattr(member, name):
                what = name.replace("_", " ")
                raise ConfigError(f"the member {other.name} has the {what} {getattr(member, name)} already")


def _admission(roster: Roster, member: Member) -> Admission:
    from ledger.approvals import Admission

    fields = (member.account, member.signer, member.name, member.peer_id.encode("ascii"), member.net_address)
    return Admission(roster.config_digest, *fields)


def _change(request: Request, roster: Roster) -> Admission | Removal:
    from ledger.approvals import Removal

    if request.action == ADMIT:
        return _admission(roster, _newcomer(request, roster))
    return Removal(roster.config_digest, request.removed, bytes.fromhex(request.evidence))


def _newcomer(request: Request, roster: Roster) -> Member:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MEMBER_FILE
        path.write_text(json.dumps(request.entry))
        try:
            return read_member(path, len(roster.members))
        except ConfigError as error:
            reason = str(error).partition(": ")[2]
            raise ConfigError(f"the request's entry cannot be a member's: {reason}") from error


def _check_place(path: Path, request: Request, roster: Roster) -> None:
    if request.registry != roster.registry or request.chain_id != roster.chain_id:
        raise ConfigError(
            f"{path} is for the registry {request.registry} on chain {request.chain_id}, not for this one"
        )


def _what_is_done(path: Path, request: Request, roster: Roster) -> str:
    """In words, if the roster has changed since the request was written, and is now as the request asks; else ""."""
    if request.config == roster.config_digest.hex():
        return ""
    if request.action == ADMIT:
        newcomer = _newcomer(request, roster)
        for member in roster.members:
            if roster.is_active(member.index) and replace(member, index=newcomer.index) == newcomer:
                return f"{member.name} is member {member.index}: what {path} asks for is done"
        return ""
    if request.removed >= len(roster.members) or roster.is_active(request.removed):
        return ""
    name = roster.members[request.removed].name
    return f"{name}, member {request.removed}, is a member no more: what {path} asks for is done"


def _check_request(path: Path, request: Request, roster: Roster) -> None:
    if request.config != roster.config_digest.hex():
        again = "`mycelia join`" if request.action == ADMIT else "`mycelia remove`"
        raise ConfigError(f"the roster has changed since {path} was written, which voids it: run {again} anew")
    if request.action == ADMIT:
        member = _newcomer(request, roster)
        _check_free(roster, member)
        _check_consents(path, request, _admission(roster, member), roster)
    elif not roster.is_active(request.removed):
        raise ConfigError(f"{path} asks to remove member {request.index}, who is no active member")
    _check_approvals(path, request, roster)


def _check_consents(path: Path, request: Request, admission: Admission, roster: Roster) -> None:
    digest = admission.signing_digest(roster.chain_id, roster.registry)
    for name, address in (("account", admission.account), ("signer", admission.signer)):
        if not _is_signed(digest, request.consents.get(name, ""), address):
            raise ConfigError(f"{path} is not signed by the newcomer's {name}: ask for a new request")


def _check_approvals(path: Path, request: Request, roster: Roster) -> None:
    digest = _change(request, roster).signing_digest(roster.chain_id, roster.registry)
    for index, signature in request.approvals.items():
        known = int(index) < len(roster.members)
        if not known or not _is_signed(digest, signature, roster.signers[int(index)]):
            raise ConfigError(
                f"{path} has an approval that member {index} did not give: delete it, or ask for a new copy"
            )


def _is_signed(digest: bytes, signature: str, address: str) -> bool:
    from ledger.model import recover_signer
    from ledger.types import SIGNATURE_BYTES, ZERO_ADDRESS

    found = bytes.fromhex(signature)
    return len(found) == SIGNATURE_BYTES and recover_signer(digest, found) == address != ZERO_ADDRESS


def _add_approval(request: Request, membership: Membership, roster: Roster, keys: Keys) -> None:
    index = _own_index(roster, keys)
    request.approvals[str(index)] = membership.sign(keys.signer, _change(request, roster)).hex()


def _submit(request: Request, membership: Membership, roster: Roster, keys: Keys) -> str:
    from ledger.types import bitmap_of

    indices = sorted(map(int, request.approvals))[: roster.quorum]
    signed = b"".join(bytes.fromhex(request.approvals[str(index)]) for index in indices)
    if request.action == ADMIT:
        return membership.admit(keys.signer, _newcomer(request, roster), bitmap_of(indices), signed)
    evidence = bytes.fromhex(request.evidence)
    return membership.remove(keys.signer, request.removed, evidence, bitmap_of(indices), signed)


def _tell(path: Path, request: Request, roster: Roster) -> None:
    print(_in_words(request, roster))
    print(f"{path}: {len(request.approvals)} of {roster.quorum} approvals")


def _in_words(request: Request, roster: Roster) -> str:
    if request.action == ADMIT:
        member = _newcomer(request, roster)
        keys = f"account {member.account}, signer {member.signer}, node {member.peer_id}"
        return f"admits {member.name} at {member.net_address}, {keys}"
    index = request.removed
    return f"removes {roster.members[index].name}, member {index}"

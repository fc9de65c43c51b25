"""A member's three keys, each in a file of its own that its owner alone may read.

The account receives rewards and stays cold; the signer signs what the node says; the node key is its identity on the
network.  None of them is ever logged or overwritten.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address

from gossip.statements import address_of
from node.errors import ConfigError

if TYPE_CHECKING:
    from ledger.types import Roster

ACCOUNT_FILE, SIGNER_FILE, NODE_FILE = "account.key", "signer.key", "node.key"
_KEY_BYTES = 32
_MODE = 0o600
_WAY_OUT = (
    "restore it from a backup, or, if this member has not been deployed yet, run `mycelia init` with a new folder"
)


@dataclass(frozen=True)
class Keys:
    """The secrets of one member; they never appear in its representation.

    Attributes:
        account: None on a node whose owner keeps it elsewhere, as a cold key should be.
        signer, node: what a running node needs.
    """

    account: bytes | None = field(repr=False)
    signer: bytes = field(repr=False)
    node: bytes = field(repr=False)

    @property
    def account_address(self) -> str:
        if self.account is None:
            raise ConfigError(f"the account's key is not here; its owner keeps {ACCOUNT_FILE} elsewhere")
        return _address(self.account)

    @property
    def signer_address(self) -> str:
        return _address(self.signer)

    @property
    def peer_id(self) -> str:
        from gossip.transport import peer_id_of

        return peer_id_of(self.node)


def create_keys(folder: Path) -> Keys:
    """New keys in `folder`.

    Raises:
        ConfigError: one of the files exists; a key is never overwritten.
    """
    for name in (ACCOUNT_FILE, SIGNER_FILE, NODE_FILE):
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} exists already; keys are never overwritten, choose another folder")
    return Keys(*(_create(folder / name) for name in (ACCOUNT_FILE, SIGNER_FILE, NODE_FILE)))


def load_keys(folder: Path) -> Keys:
    """The keys in `folder`; the account's may have been moved away.

    Raises:
        ConfigError: a file is missing, damaged, or readable by others.
    """
    account = folder / ACCOUNT_FILE
    return Keys(_load(account) if account.exists() else None, _load(folder / SIGNER_FILE), _load(folder / NODE_FILE))


def parse_key(text: bytes) -> bytes:
    """The private key that a file holds in hex.

    Raises:
        ValueError: it holds something else.
    """
    key = bytes.fromhex(text.decode("ascii"))
    if len(key) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes, found {len(key)}")
    return bytes(PrivateKey(key).secret)


def find_member(roster: Roster, keys: Keys) -> int:
    """The roster index of the member with these keys.

    Raises:
        ConfigError: the registry does not know them.
    """
    # Who left and came back has two entries.
    for member in sorted(roster.members, key=lambda member: not roster.is_active(member.index)):
        if member.signer == keys.signer_address and member.peer_id == keys.peer_id:
            return member.index
    # A signer that is gone can be anybody's again, with a node key of their own.
    for member in roster.members:
        if member.signer == keys.signer_address:
            raise ConfigError(f"the registry holds another node key for {member.name}: {member.peer_id}")
    raise ConfigError(f"the registry {roster.registry} has no member with the signer {keys.signer_address}")


def _create(path: Path) -> bytes:
    key = PrivateKey(secrets.token_bytes(_KEY_BYTES)).secret
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # Half a key would be taken for one that must not be overwritten.
        path.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return bytes(key)


def _load(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"the key file {path} is missing: {_WAY_OUT}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"others may read {path} (mode {mode:o}); run: chmod 600 {path}")
    try:
        return parse_key(text)
    except ValueError:
        # The error itself would quote the file, which may hold most of a key.
        raise ConfigError(f"the key file {path} is damaged, expected 64 hex digits: {_WAY_OUT}") from None


def _address(key: bytes) -> str:
    return str(to_checksum_address(address_of(PrivateKey(key).public_key)))

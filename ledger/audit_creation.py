"""Was a contract made by the published code?

The code that lies at an address is what the constructor returned.  Another constructor can return the same, and leave
behind what no event tells: a roster of its own, say, whose members then sign for everybody.
"""

from __future__ import annotations

from ledger import artifacts
from ledger.deploy import create_address
from ledger.errors import ChainUnavailable
from ledger.findings import Notebook
from ledger.trail import Trail, data, quantity
from ledger.types import checked_address


def audit_creation(trail: Trail, contract: str, address: str, tx: str, notebook: Notebook) -> None:
    """Notes if the transaction of a contract's first event did not make it with the published constructor.

    Raises:
        ChainUnavailable: the endpoint does not show that transaction.
    """
    sent = trail.transaction(tx)
    what = f"{contract} at {address}"
    if sent.get("to") is not None:
        notebook.note("code.creation", f"the first event of {what} is not of the transaction that made it")
        return
    try:
        sender = checked_address(str(sent.get("from")))
    except ValueError as error:
        raise ChainUnavailable(f"the endpoint gives no sender of {tx}") from error
    made = create_address(sender, quantity(sent.get("nonce")))
    notebook.expect("code.creation", f"what the transaction of the first event of {what} made", address, made)
    if not data(sent.get("input")).startswith(artifacts.load(contract).bytecode):
        notebook.note("code.creation", f"{what} was made by another constructor than the published one")

"""The command line: results on standard output, logs on standard error, one clear sentence for every error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="mycelia",
    help="Institutions learn together, show nobody their data, and put on a ledger what each contributed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FolderArgument = Annotated[Path, typer.Argument(help="The node's folder.")]
RpcOption = Annotated[str, typer.Option(help="JSON-RPC URL of the chain.")]
RegistryOption = Annotated[str, typer.Option(help="Address of the MemberRegistry.")]
OwnFolderArgument = Annotated[Path | None, typer.Argument(help="A node's folder; or name --rpc and --registry.")]
OwnRpcOption = Annotated[str | None, typer.Option("--rpc", help="JSON-RPC URL; default: from the configuration.")]
OwnRegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Registry address; default: from the configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def init(
    folder: FolderArgument,
    name: Annotated[str, typer.Option(help="Name of the institution, as the registry will show it.")],
    task: Annotated[str, typer.Option(help="The task as module:object, or the name of a built-in one.")],
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 4001,
    host: Annotated[str, typer.Option(help="Address that the other members reach this node at.")] = "127.0.0.1",
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the task; repeatable.")] = None,
) -> None:
    """Make a node's keys and configuration; prints the entry that the registry needs."""
    from node import commands

    commands.init(folder, name, task, host, port, option or [])


@app.command()
def deploy(
    members: Annotated[list[Path], typer.Argument(help="The member.json that each `mycelia init` wrote.")],
    rpc: RpcOption,
    task_from: Annotated[Path, typer.Option(help="A node's folder whose task the consortium will learn.")],
    key: Annotated[Path | None, typer.Option(help="File with the deployer's key in hex; default: devchain's.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Training rounds.")] = 5,
    budget_ether: Annotated[float, typer.Option(min=0, help="Reward budget of a training round.")] = 1.0,
    participation_ppm: Annotated[int, typer.Option(min=0, max=1_000_000, help="Part of it shared equally.")] = 500_000,
    dispute_seconds: Annotated[int, typer.Option(min=0, help="Before a round's rewards can be claimed.")] = 3600,
    gas_ether: Annotated[
        float | None, typer.Option(min=0, help="Sent to every signer, for gas; default: 1 from devchain's key, else 0.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="ERC-20 token to pay in; default: the chain's coin.")
    ] = None,
    bond_ether: Annotated[float, typer.Option(min=0, help="What a challenge locks of the challenger's stake.")] = 0.01,
    ruling_seconds: Annotated[int, typer.Option(min=0, help="For a quorum to rule on a challenged round.")] = 604_800,
    unbonding_seconds: Annotated[
        int | None,
        typer.Option(min=0, help="Before a stake is paid back; default: a day more than a dispute can take."),
    ] = None,
) -> None:
    """Deploy registry, ledger and vault with these members as the first roster; prints the registry's address."""
    from node import founding

    terms = founding.terms(budget_ether, participation_ppm, dispute_seconds)
    disputes = founding.dispute_terms(dispute_seconds, token, bond_ether, ruling_seconds, unbonding_seconds)
    founding.deploy(members, rpc, task_from, key, rounds, terms, gas_ether, disputes)


@app.command()
def run(
    folder: FolderArgument,
    rpc: Annotated[str | None, typer.Option(help="JSON-RPC URL; default: from the configuration.")] = None,
    registry: Annotated[str | None, typer.Option(help="Registry address; default: from the configuration.")] = None,
) -> None:
    """Take part: train, share, agree, record, until the task's rounds are over."""
    from node import commands

    commands.run(folder, rpc, registry)


@app.command()
def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Where a node is, and for whom it last waited in vain."""
    from node import commands

    commands.status(folder, as_json)


@app.command()
def claim(
    folder: FolderArgument,
    rpc: Annotated[str | None, typer.Option(help="JSON-RPC URL; default: from the configuration.")] = None,
    registry: Annotated[str | None, typer.Option(help="Registry address; default: from the configuration.")] = None,
    above_wei: Annotated[int, typer.Option(min=0, help="Leave payments of no more than this for later.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Claim all that is due to this member, rewards and revenue; prints what was paid, in wei."""
    from node import claiming

    claiming.claim(folder, rpc, registry, above_wei, as_json)


RpcDefault = Annotated[str | None, typer.Option(help="JSON-RPC URL; default: from the configuration.")]
RegistryDefault = Annotated[str | None, typer.Option(help="Registry address; default: from the configuration.")]
OutOption = Annotated[Path, typer.Option(help="File to write.")]


@app.command()
def join(
    folder: FolderArgument, rpc: RpcDefault = None, registry: RegistryDefault = None, out: OutOption = Path("join.json")
) -> None:
    """Ask to be admitted: writes a request for the members to approve."""
    from node import membership

    membership.join(folder, rpc, registry, out)


@app.command()
def remove(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(help="Name of the member to remove.")],
    rpc: RpcDefault = None,
    registry: RegistryDefault = None,
    evidence: Annotated[
        Path | None, typer.Option(help="File that speaks for it; its digest goes on the chain.")
    ] = None,
    out: OutOption = Path("remove.json"),
) -> None:
    """Ask the members to remove one of them: writes a request, with this node's approval."""
    from node import membership

    membership.remove(folder, name, rpc, registry, evidence, out)


@app.command()
def approve(
    folder: FolderArgument,
    requests: Annotated[list[Path], typer.Argument(help="A request, and copies of it that others have approved.")],
    rpc: RpcDefault = None,
    registry: RegistryDefault = None,
    submit: Annotated[bool, typer.Option(help="Send it as soon as a quorum has approved.")] = True,
) -> None:
    """Approve a request to join or to remove; with a quorum of approvals it is sent to the registry."""
    from node import membership

    membership.approve(folder, requests, rpc, registry, submit)


@app.command()
def leave(folder: FolderArgument, rpc: RpcDefault = None, registry: RegistryDefault = None) -> None:
    """End this node's membership; rewards and stake stay its own. Needs the account's key."""
    from node import membership

    membership.leave(folder, rpc, registry)


@app.command()
def rotate(
    folder: FolderArgument,
    new: Annotated[Path, typer.Argument(help="Folder that `mycelia init` made with the new keys.")],
    rpc: RpcDefault = None,
    registry: RegistryDefault = None,
) -> None:
    """Give this member the keys and the address in another folder, once a day. Needs the account's key."""
    from node import membership

    membership.rotate(folder, new, rpc, registry)


@app.command()
def export(
    folder: FolderArgument,
    out: Annotated[Path, typer.Argument(help="File to write, in safetensors format.")],
    agreed: Annotated[bool, typer.Option(help="The very file that all agreed on, for an auditor.")] = False,
) -> None:
    """Write the latest agreed model, with this member's private parameters beside the shared ones."""
    from node import commands

    commands.export(folder, out, agreed)


@app.command()
def audit(
    rpc: RpcOption,
    registry: RegistryOption,
    records: Annotated[Path | None, typer.Option(help="Folder of round records, of one member or several.")] = None,
    model: Annotated[Path | None, typer.Option(help="A model file: of which rounds is it the outcome?")] = None,
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    sign: Annotated[Path | None, typer.Option(help="File with a key in hex: print the report signed by it.")] = None,
    chain_id: Annotated[int | None, typer.Option(help="Chain id that the endpoint has to serve.")] = None,
    from_block: Annotated[int, typer.Option(min=0, help="No event of the deployment is older.")] = 0,
    finality: Annotated[
        str, typer.Option(help="Up to which block: instant, confirmations:k, safe, or finalized.")
    ] = "instant",
    block: Annotated[
        int | None, typer.Option(min=0, help="Up to this block, which has to be final, instead of the newest.")
    ] = None,
) -> None:
    """Check everything the ledger shows, believing nobody; exits 3 if something does not fit."""
    from node import audit_commands

    files = audit_commands.Files(records, model)
    audit_commands.audit(rpc, registry, as_json, html, sign, chain_id, from_block, finality, files, block)


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(help="What `mycelia audit --sign` printed.")],
    by: Annotated[str | None, typer.Option(help="Address that has to have signed it.")] = None,
) -> None:
    """Who signed an audit's report, and that nobody changed it; exits 3 if somebody did."""
    from node import audit_commands

    audit_commands.verify(report, by)


@app.command()
def history(
    folder: OwnFolderArgument = None,
    rpc: OwnRpcOption = None,
    registry: OwnRegistryOption = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the newest rounds.")] = 20,
    follow: Annotated[bool, typer.Option(help="Go on with each further round, until interrupted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The newest rounds: who took part, who signed, scores and pay."""
    from node import books_commands

    books_commands.history(folder, rpc, registry, last, follow, as_json)


@app.command()
def rewards(
    folder: OwnFolderArgument = None,
    rpc: OwnRpcOption = None,
    registry: OwnRegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """What each member has earned, received, can claim now, and waits for."""
    from node import books_commands

    books_commands.rewards(folder, rpc, registry, as_json)


@app.command()
def doctor(
    folder: FolderArgument,
    rpc: Annotated[str | None, typer.Option(help="JSON-RPC URL; default: from the configuration.")] = None,
    registry: Annotated[str | None, typer.Option(help="Registry address; default: from the configuration.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Examine what a node needs: keys, disk, port, chain, contracts, peers, reachability; exits 1 on a failure."""
    from node import commands

    commands.doctor(folder, rpc, registry, as_json)


@app.command()
def devchain(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 = any that is free.")] = 8545,
) -> None:
    """An Ethereum chain in this process, for trying things out; nothing of it is kept."""
    from node import commands

    commands.devchain(port)


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="breast-cancer or heart.")] = "breast-cancer",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the four heart-disease files.")] = None,
    nodes: Annotated[int, typer.Option(help="Hospitals, 3 to 8 (heart has four).")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Training rounds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the test rows and local training.")] = 1,
    kill: Annotated[list[str] | None, typer.Option(help="NAME@ROUND[:PHASE]: kill a node there.")] = None,
    restart: Annotated[list[str] | None, typer.Option(help="NAME@ROUND: bring a killed node back.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep everything in this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Hospitals learn together on this machine: a chain, a node each, rewards, and an auditor."""
    from node import demo as demonstration
    from node.demo_plan import Plan

    plan = Plan.validated(data, data_dir, nodes, rounds, seed, kill or [], restart or [], keep)
    demonstration.demo(plan, as_json)


def main() -> None:
    """Run the command line; every error that we know becomes one sentence and an exit code."""
    from node.processes import die_with_parent

    die_with_parent()
    from gossip.errors import GossipError
    from ledger.errors import LedgerError
    from node.errors import EXIT_INTERRUPTED, NodeError, exit_code
    from node.log import set_up

    set_up()
    os.umask(0o077)  # models, baselines and progress are their owner's alone, like keys and store
    try:
        app(standalone_mode=True)
    except (NodeError, GossipError, LedgerError) as error:
        typer.echo(f"mycelia: {error}", err=True)
        sys.exit(exit_code(error))
    except OSError as error:
        where = "" if error.filename is None else f": {error.filename}"
        typer.echo(f"mycelia: {(error.strerror or str(error)).lower()}{where}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()

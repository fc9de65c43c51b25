"""A node put together from its folder: keys, configuration, task, store, and what the registry says."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
from coincurve import PrivateKey

from gossip.committee import Committee
from gossip.session import Identity, RoundStart
from gossip.spec import TaskSpec, blob_digest
from gossip.statements import Domain, sign
from gossip.values import RoundResult
from ledger.finality import Finality
from ledger.types import Roster
from node import metrics, train
from node.baseline import train_alone
from node.chain import client_of
from node.chainqueue import ChainQueue
from node.config import Config
from node.errors import ConfigError, StoreError, TaskError
from node.keys import Keys, find_member
from node.learner import TaskLearner, initial_model
from node.plan import plan_of
from node.progress import Progress
from node.recorder import Recorder
from node.runner import Habits, Node
from node.store import STORE_FILE, Store
from node.tasks import load_task
from node.watch import Watch
from node.workshop import Workshop, committed_rewards

EVALUATION_FILE = "evaluation.json"
LOCAL_MODEL_FILE = "local.npz"
PRIVATE_FILE = "private.npz"

log = structlog.get_logger()


@dataclass
class Assembled:
    """Everything that a running node is made of."""

    node: Node
    first: RoundStart
    learner: TaskLearner
    store: Store
    spec: TaskSpec
    seed: int


def assemble(folder: Path, config: Config, keys: Keys, pauses: Callable[[int, str], bool] | None = None) -> Assembled:
    """The node that lives in `folder`.

    Raises:
        ConfigError, TaskError, StoreError, LedgerError: something does not fit, in one sentence.
    """
    client = client_of(config.ledger, Finality.parse(config.ledger.finality))
    proven = client.verified()
    roster = proven.roster
    if proven.successor is not None:
        log.warning("registry.succeeded", successor=proven.successor)
    plan = plan_of(client.periods())
    spec = plan[-1].spec if plan else _spec(roster)  # nothing of it may be final yet
    committee = Committee(roster.config_digest, tuple(bytes.fromhex(signer[2:]) for signer in roster.signers), spec)
    me = find_member(roster, keys)
    if not roster.is_active(me):
        raise ConfigError(f"{roster.members[me].name} is no longer a member of the registry {roster.registry}")
    task = load_task(config.node.task, {**config.node.options}, folder)
    model = initial_model(task)
    watch = Watch()
    learner = TaskLearner(task, spec, config.node.seed, watch)
    if blob_digest(model).hex() != spec.initial_model:
        raise TaskError("the task's starting model is not the one that the consortium agreed on")
    store = Store(folder / STORE_FILE)
    try:
        store.belong_to(f"{client.deployment}, fingerprint 0x{proven.fingerprint.hex()}")
    except StoreError:
        store.close()
        raise
    store.put(blob_digest(model), 0, model)
    identity = Identity(
        me=committee.seats.index(me),
        committee=committee,
        sign=partial(sign, PrivateKey(keys.signer)),
        domain=Domain(roster.chain_id, bytes.fromhex(roster.ledger[2:])),
        timing=config.gossip.timing(),
        rewards_root=committed_rewards,
    )
    workshop = Workshop(identity, learner, store, proven.terms, secrets.token_bytes)
    own = config.node
    habits = Habits((own.bind or own.host, own.port), own.rest_seconds, own.linger_seconds, own.relay, pauses)
    node = Node(
        roster=roster,
        workshop=workshop,
        store=store,
        progress=Progress(folder),
        chain=ChainQueue(client, store, keys.signer, me, len(roster.members)),
        node_key=keys.node,
        habits=habits,
        on_settled=partial(_after_round, learner, store, spec),
        recorder=Recorder(folder, store.get),
        watch=watch,
    )
    _restore_private(learner, store)
    first = RoundStart(0, blob_digest(model), None, (), (bytes(16),) * len(roster.members))
    return Assembled(node, first, learner, store, spec, config.node.seed)


def _spec(roster: Roster) -> TaskSpec:
    try:
        return TaskSpec.decode(roster.spec)
    except ValueError as error:
        raise ConfigError(f"the registry's task spec cannot be used: {error}") from error


def _after_round(learner: TaskLearner, store: Store, spec: TaskSpec, result: RoundResult) -> dict[str, object]:
    """Keep the private parameters, and say how good the model now is on the own test rows."""
    arrays = {name: value.numpy().tolist() for name, value in learner.private.items()}
    store.save_private(result.round, msgspec.msgpack.encode(arrays))
    model = store.get(result.model)
    if model is None or not len(learner.rows.test_y):
        return {}
    found = metrics.accuracy(learner.predict(bytes(model), learner.rows.test_x), learner.rows.test_y)
    return {"own_accuracy": round(found, 4)}


def _restore_private(learner: TaskLearner, store: Store) -> None:
    import torch

    saved = store.load_private(1 << 62)
    if saved is not None:
        arrays = store.decoded(saved, dict[str, Any])
        learner.private = {
            name: torch.tensor(arrays[name], dtype=torch.float64).reshape(value.shape)
            for name, value in learner.private.items()
        }


def evaluate(folder: Path, assembled: Assembled) -> None:
    """Write what the member gained: its own model and the consortium's, both on its own test rows."""
    learner, spec = assembled.learner, assembled.spec
    latest = assembled.store.latest_checkpoint()
    if latest is None:
        return
    rows = learner.rows
    state, private = train_alone(learner.task, rows, learner.training, spec.rounds, assembled.seed)
    local = train.predict(learner.task, state, private, rows.test_x)
    federated = learner.predict(latest[2], rows.test_x)
    report = {
        "rows": len(rows.train_y) + len(rows.validation_y) + len(rows.test_y),
        "local": _quality(local, rows.test_y),
        "federated": _quality(federated, rows.test_y),
    }
    (folder / EVALUATION_FILE).write_text(json.dumps(report, indent=1))
    parts: dict[str, Any] = {"shared": state.shared, "mean": state.mean, "variance": state.variance}
    np.savez(folder / LOCAL_MODEL_FILE, **parts, **_named(private))
    np.savez(folder / PRIVATE_FILE, **_named(learner.private))


def _named(private: train.Parameters) -> dict[str, Any]:
    return {f"private.{name}": value.numpy() for name, value in private.items()}


def _quality(probabilities: train.Vector, labels: np.ndarray) -> dict[str, float | None]:
    return {
        "own_accuracy": metrics.accuracy(probabilities, labels),
        "own_auc": metrics.auc(probabilities, labels),
    }

"""What a checkpoint holds, and how an agent goes on from it.

A checkpoint is a folder, written by `agents.checkpoints.folder`:

- `agent.json`: config, counters, KL controller, the names of the optimiser's tensors, the state of
  callbacks, and what made it;
- `processes.json`: by rank, the random streams and the state of the environments;
- `parameters.safetensors`: the parameters that learn, by name;
- `optimizer.safetensors`: the optimiser's state of each, by name;
- `tensors.safetensors`: what else the algorithm and callbacks keep, such as averaged weights; often
  nothing;
- of a policy that is shared out over processes, in the place of these three files, folders
  `parameters/`, `optimizer/` and `tensors/` of what each of them holds;
- where asked for, `policy/` and, if there is one, `reference/`, which plain `transformers` reads,
  and, of a policy with adapters, which are merged into `policy/`, the model without them as
  `base/`.

Nothing in it is ever executed: tensors come from safetensors, everything else from JSON, and both
are checked (names, shapes, dtypes, kinds) before anything of the agent is changed. What does
not change (parameters that do not learn, the reference) is not in a checkpoint of a run: the agent
that goes on is built as the first one was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from agents.agent import Agent, Resumable, Trained
from agents.callbacks import Callback
from agents.checkpoints.callback_states import (
    is_of_callback,
    restore_callbacks,
    tensors_of_callbacks,
)
from agents.checkpoints.description import describe, form_of, require_same
from agents.checkpoints.env_state import get_env_state, set_env_state
from agents.checkpoints.files import blaming, read_json, read_tensors, write_json
from agents.checkpoints.folder import require_whole, sealed_folder, write_folder
from agents.checkpoints.learning_state import (
    optimizer_state_of,
    parameters_of,
    require_optimizer_state,
    require_parameters,
    restore_optimizer_state,
    restore_parameters,
)
from agents.checkpoints.models import save_models
from agents.checkpoints.process_state import FORM_OF_PROCESS, saved_streams, state_of_process
from agents.checkpoints.shares import write_shares
from agents.distributed import processes
from agents.distributed.sharding import is_sharded, whole

TENSORS = ("parameters", "optimizer", "tensors")
"""Files of tensors, each `NAME.safetensors`."""


def save(agent: Resumable, folder: Path, *, models: bool = True) -> None:
    """Writes a checkpoint, whole or not at all. All processes call it; rank 0 writes.

    Of a policy that is shared out, each of them writes its shares, into a folder that they all see.

    Args:
        agent: Between updates.
        folder: A new or empty folder, or a checkpoint to replace.
        models: Whether `load` shall need nothing but the checkpoint.

    Raises:
        ValueError: As `require_possible`.
        FileExistsError: If `folder` holds anything else.
    """
    require_possible(agent)
    by_rank = processes.all_gather_object(state_of_process(agent))
    tensors = _tensors(agent)
    policy = whole(agent.policy) if models else None
    reference = whole(agent.reference) if models and agent.reference is not None else None

    def fill(partial: Path) -> None:
        write_json(partial / "agent.json", describe(agent, list(tensors["optimizer"])))
        write_json(partial / "processes.json", by_rank)
        if policy is not None:
            save_models(partial, policy, reference)

    def fill_alone(partial: Path) -> None:
        fill(partial)
        for name, part in tensors.items():
            save_file(part, partial / f"{name}.safetensors")

    if is_sharded(agent.policy):
        _write_together(folder, tensors, fill)
    elif processes.is_main():
        write_folder(folder, fill_alone)


def _write_together(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], fill: Callable[[Path], None]
) -> None:
    """Writes a folder into which each process writes its shares of tensors, and rank 0 the rest."""
    with ExitStack() as leaving:
        partial = processes.from_main(lambda: leaving.enter_context(sealed_folder(folder)))
        for name, part in tensors.items():
            write_shares(partial / name, part)
        processes.from_main(lambda: fill(partial))
        processes.from_main(leaving.close)


def require_possible(agent: Agent) -> Resumable:
    """Refuses an agent that could not be saved later, and returns any other.

    Raises:
        ValueError: If it cannot be resumed at all, or a layer of the environments cannot give its
            state.
    """
    if not isinstance(agent, Resumable):
        raise ValueError(f"agent must be one that can be resumed, got {type(agent).__name__}")
    get_env_state(agent.envs)
    return agent


def _tensors(agent: Resumable) -> dict[str, dict[str, Tensor]]:
    return {
        "parameters": parameters_of(agent.policy),
        "optimizer": optimizer_state_of(agent.policy, agent.optimizer),
        "tensors": {
            name: tensor.contiguous()
            for name, tensor in (agent.tensors() | tensors_of_callbacks(agent.callbacks)).items()
        },
    }


def restore(agent: Resumable, folder: Path) -> None:
    """Makes an agent go on from a checkpoint; all processes call it.

    Args:
        agent: Built as the one that was saved: the same config, model and environments.
        folder: Of the checkpoint.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointError: If it is damaged, and which file is to blame.
        ValueError: If the agent is not built so; the message names the difference.
    """
    processes.from_main(lambda: require_whole(folder))
    description = read_json(folder, "agent.json", form_of(agent))
    by_rank = read_json(folder, "processes.json", [FORM_OF_PROCESS])
    require_same(agent, description)
    tensors = {name: read_tensors(folder, name, agent.policy) for name in TENSORS}
    require_parameters(agent.policy, tensors["parameters"])
    with blaming(folder, "optimizer.safetensors", ValueError):
        require_optimizer_state(agent.policy, tensors["optimizer"], description["optimizer"])
    with blaming(folder, "processes.json", ValueError):
        streams = saved_streams(agent, by_rank[processes.rank()]["streams"])
    restore_parameters(agent.policy, tensors["parameters"])
    restore_optimizer_state(agent.policy, agent.optimizer, tensors["optimizer"])
    for group, rate in zip(
        agent.optimizer.param_groups, description["learning_rates"], strict=True
    ):
        group["lr"] = rate
    with blaming(folder, "processes.json"):
        for name, state in streams.items():
            agent.streams[name].set_state(state)
        set_env_state(agent.envs, by_rank[processes.rank()]["envs"])
    others = tensors["tensors"]
    agent.load_tensors({n: t for n, t in others.items() if not is_of_callback(n)})
    with blaming(folder, "agent.json"):
        agent.load_state_dict(description["state"])
        restore_callbacks(agent.callbacks, description["callbacks"], others)


def restore_policy(policy: Trained, folder: Path) -> None:
    """Gives a policy the parameters that a checkpoint holds, however many processes saved it.

    Args:
        policy: Built as the one that was saved; whole, in one process.
        folder: Of the checkpoint.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointError: If it is damaged, and which file is to blame.
        ValueError: If the policy is not built so; the message names the difference.
    """
    require_whole(folder)
    parameters = read_tensors(folder, "parameters", policy)
    require_parameters(policy, parameters)
    restore_parameters(policy, parameters)


def callback_state(folder: Path, callback: type[Callback]) -> Any:
    """Returns the state of the first callback of a class that a checkpoint holds.

    Raises:
        CheckpointError: If it holds none.
    """
    saved = read_json(folder, "agent.json", None)
    with blaming(folder, "agent.json", ValueError):
        names = [one["callback"] for one in saved["callbacks"]]
        return saved["callbacks"][names.index(callback.__name__)]["state"]

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

import base64
import dataclasses
import json
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from agents.agent import Agent, Resumable, Trained
from agents.callbacks import Callback
from agents.checkpoints.env_state import get_env_state, set_env_state
from agents.checkpoints.folder import (
    CheckpointError,
    require_whole,
    sealed_folder,
    write_folder,
)
from agents.checkpoints.learning_state import (
    optimizer_state_of,
    parameters_of,
    require_optimizer_state,
    require_parameters,
    restore_optimizer_state,
    restore_parameters,
)
from agents.checkpoints.plain_values import plain, require_form
from agents.checkpoints.shares import read_shares, write_shares
from agents.distributed import processes
from agents.distributed.sharding import is_sharded, whole
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig

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
    by_rank = processes.all_gather_object(_of_process(agent))
    tensors = _tensors(agent)
    policy = whole(agent.policy) if models else None
    reference = whole(agent.reference) if models and agent.reference is not None else None

    def fill(partial: Path) -> None:
        _write_json(partial / "agent.json", _description(agent, list(tensors["optimizer"])))
        _write_json(partial / "processes.json", by_rank)
        if policy is not None:
            _save_models(partial, policy, reference)

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


def _save_models(folder: Path, policy: Trained, reference: CausalLMPolicy | None) -> None:
    policy.save_pretrained(folder / "policy")
    if policy.options.lora_rank:
        policy.save_pretrained(folder / "base", merge=False)
    if reference is not None:
        reference.save_pretrained(folder / "reference")


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
            for name, tensor in (agent.tensors() | _tensors_of_callbacks(agent.callbacks)).items()
        },
    }


def _tensors_of_callbacks(callbacks: Sequence[Callback]) -> dict[str, Tensor]:
    """Returns their tensors, each named after its callback's place in the first process.

    That process may have more callbacks than this one.
    """
    names = processes.all_gather_object([type(callback).__name__ for callback in callbacks])[0]
    return {
        f"{_prefix(place)}{name}": tensor
        for place, callback in _places(callbacks, names)
        for name, tensor in callback.tensors().items()
    }


def _places(callbacks: Sequence[Callback], names: Iterable[str]) -> list[tuple[int, Callback]]:
    """Returns callbacks, each with the first place of its class's name that none before it took.

    A callback for which there is none left is left out.
    """
    left, placed = dict(enumerate(names)), []
    for callback in callbacks:
        name = type(callback).__name__
        place = next((place for place, one in left.items() if one == name), None)
        if place is not None:
            del left[place]
            placed.append((place, callback))
    return placed


def _prefix(place: int) -> str:
    return f"callbacks[{place}]:"


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
    description = _read_json(folder, "agent.json", _form(agent))
    by_rank = _read_json(folder, "processes.json", [_FORM_OF_PROCESS])
    _require_same(agent, description)
    tensors = {name: _read_tensors(folder, name, agent.policy) for name in TENSORS}
    require_parameters(agent.policy, tensors["parameters"])
    with _blaming(folder, "optimizer.safetensors", ValueError):
        require_optimizer_state(agent.policy, tensors["optimizer"], description["optimizer"])
    with _blaming(folder, "processes.json", ValueError):
        streams = _streams(agent, by_rank[processes.rank()]["streams"])
    restore_parameters(agent.policy, tensors["parameters"])
    restore_optimizer_state(agent.policy, agent.optimizer, tensors["optimizer"])
    for group, rate in zip(
        agent.optimizer.param_groups, description["learning_rates"], strict=True
    ):
        group["lr"] = rate
    with _blaming(folder, "processes.json"):
        for name, state in streams.items():
            agent.streams[name].set_state(state)
        set_env_state(agent.envs, by_rank[processes.rank()]["envs"])
    of_callbacks = {n: t for n, t in tensors["tensors"].items() if n.startswith("callbacks[")}
    agent.load_tensors({n: t for n, t in tensors["tensors"].items() if n not in of_callbacks})
    with _blaming(folder, "agent.json"):
        agent.load_state_dict(description["state"])
        _restore_callbacks(agent.callbacks, description["callbacks"], of_callbacks)


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
    parameters = _read_tensors(folder, "parameters", policy)
    require_parameters(policy, parameters)
    restore_parameters(policy, parameters)


def callback_state(folder: Path, callback: type[Callback]) -> Any:
    """Returns the state of the first callback of a class that a checkpoint holds.

    Raises:
        CheckpointError: If it holds none.
    """
    saved = _read_json(folder, "agent.json", None)
    with _blaming(folder, "agent.json", ValueError):
        names = [one["callback"] for one in saved["callbacks"]]
        return saved["callbacks"][names.index(callback.__name__)]["state"]


class SavedModels(NamedTuple):
    """What an agent is built from.

    Attributes:
        config: The hyperparameters.
        policy: As it began, or merged; `restore` brings the parameters that learn.
        reference: What the KL is measured from; None where there is none.
    """

    config: Any
    policy: CausalLMPolicy
    reference: CausalLMPolicy | None


def load_models(folder: Path, config_class: Callable[..., Any]) -> SavedModels:
    """Loads what an agent is built from, of a checkpoint that holds models.

    Args:
        folder: Of the checkpoint.
        config_class: Of the agent's hyperparameters.

    Raises:
        FileNotFoundError: If `folder` holds no checkpoint, or one without models.
        CheckpointError: If it is damaged, and which file is to blame.
    """
    require_whole(folder)
    if not (folder / "policy").is_dir():
        raise FileNotFoundError(
            f"path must be a checkpoint with models, as save writes it, got {folder}; build the "
            "agent as the run did and restore it from there"
        )
    description = _read_json(folder, "agent.json", None)
    with _blaming(folder, "agent.json", ValueError):
        config = config_class(**description["config"])
        options = _options(description["policy"])
    policy = CausalLMPolicy.from_pretrained(
        folder / ("base" if options.lora_rank else "policy"), options
    )
    if not (folder / "reference").is_dir():
        return SavedModels(config, policy, None)
    plain_options = dataclasses.replace(
        options, lora_rank=0, frozen_blocks=0, value_network="none", action_values=False
    )
    reference = CausalLMPolicy.from_pretrained(folder / "reference", plain_options)
    return SavedModels(config, policy, reference.requires_grad_(False))


def _description(agent: Resumable, optimizer: Sequence[str]) -> dict[str, Any]:
    return {
        "config": dataclasses.asdict(agent.config),
        "policy": _policy_options(agent.policy),
        "learning_rates": [group["lr"] for group in agent.optimizer.param_groups],
        "optimizer": optimizer,
        "state": plain(agent.state_dict(), "state"),
        "callbacks": [
            {"callback": name, "state": plain(callback.get_state(), name)}
            for callback in agent.callbacks
            for name in (type(callback).__name__,)
        ],
        "made_with": _made_with(agent),
    }


def _form(agent: Resumable) -> dict[str, Any]:
    """Returns what the description of an agent that was built so looks like."""
    return {
        "config": {},
        "policy": {},
        "learning_rates": [0.0],
        "optimizer": [""],
        "state": plain(agent.state_dict(), "state"),
        "callbacks": [{"callback": "", "state": {}}],
        "made_with": _made_with(agent),
    }


_EARLIER: Mapping[str, Mapping[str, Any]] = {"config": {}, "policy": {"sharded": False}}
"""What the first checkpoints did not say, and what is true of them."""
_FORM_OF_PROCESS = {"streams": {}, "envs": [{"layer": "", "state": None}]}


def _made_with(agent: Resumable) -> dict[str, Any]:
    """Returns what the exact numbers depend on besides seed, config and code."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "device": agent.policy.device.type,
        "threads": torch.get_num_threads(),
        "processes": processes.world_size(),
    }


def _require_same(agent: Resumable, description: Mapping[str, Any]) -> None:
    """Refuses what cannot go on; warns of what goes on, but not bit for bit."""
    own = {"config": dataclasses.asdict(agent.config), "policy": _policy_options(agent.policy)}
    for part, values in own.items():
        saved = _EARLIER[part] | description[part]
        for name, value in plain(values, part).items():
            if value != saved.get(name):
                raise ValueError(
                    f"{part} must be that of the checkpoint, but {name} is {value!r} where "
                    f"{saved.get(name)!r} was saved"
                )
    now, then = _made_with(agent), description["made_with"]
    if now["processes"] != then["processes"]:
        raise ValueError(
            f"a checkpoint of {then['processes']} process(es) must be resumed by as many, got "
            f"{now['processes']}: it holds random streams and environments of each; the policy "
            "alone is had by `python -m agents.resume runs/NAME --export FOLDER`"
        )
    changes = [f"{name} {then[name]} -> {now[name]}" for name in now if now[name] != then[name]]
    if changes:
        warnings.warn(
            f"the checkpoint was made elsewhere ({', '.join(changes)}); training goes on, but not "
            "bit for bit as it would have there",
            stacklevel=4,
        )


def _policy_options(policy: Trained) -> dict[str, Any]:
    """Returns the policy's options, with the dtype that its parameters have now."""
    dtype = str(policy.head.weight.dtype).removeprefix("torch.")
    return {**dataclasses.asdict(policy.options), "dtype": dtype}


def _options(saved: Mapping[str, Any]) -> PolicyConfig:
    return PolicyConfig(**{**saved, "lora_targets": tuple(saved["lora_targets"])})


def _of_process(agent: Resumable) -> dict[str, Any]:
    """Returns what belongs to this process alone: random streams and environments."""
    streams = {
        name: base64.b64encode(stream.get_state().numpy().tobytes()).decode()
        for name, stream in agent.streams.items()
    }
    return {"streams": streams, "envs": get_env_state(agent.envs)}


def _streams(agent: Resumable, saved: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the states of the random streams.

    Raises:
        ValueError: If one has not the size that its stream has.
    """
    states = {}
    for name, stream in agent.streams.items():
        state = bytearray(base64.b64decode(saved[name], validate=True))
        size = stream.get_state().numel()
        if len(state) != size:
            raise ValueError(f"the stream {name} must have {size} bytes, got {len(state)}")
        states[name] = torch.frombuffer(state, dtype=torch.uint8)
    return states


def _restore_callbacks(
    callbacks: Sequence[Callback],
    saved: Sequence[Mapping[str, Any]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Gives each callback its state, by `_places`, and its tensors.

    Other callbacks may watch the rest of a training than watched its beginning.
    """
    for place, callback in _places(callbacks, [one["callback"] for one in saved]):
        callback.set_state(saved[place]["state"])
        prefix = _prefix(place)
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if own:
            callback.load_tensors(own)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def _read_json(folder: Path, name: str, like: Any) -> Any:
    """Returns what a JSON file holds, of the form of `like`; see `require_form`."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name} is no JSON"
        ) from error
    with _blaming(folder, name, ValueError):
        require_form(content, like, name.removesuffix(".json"))
    return content


@contextmanager
def _blaming(folder: Path, name: str, *errors: type[Exception]) -> Iterator[None]:
    """Says which file something comes from that nobody can go on with.

    Args:
        folder: Of the checkpoint.
        name: Of the file.
        errors: That show it, besides those that values of the wrong kind lead to.
    """
    kinds: tuple[type[Exception], ...] = (
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        *errors,
    )
    try:
        yield
    except CheckpointError:
        raise
    except kinds as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name} holds something else than was saved: "
            f"{reason}"
        ) from error


def _is_shared_out(folder: Path) -> bool:
    """Tells whether each process wrote its shares into a checkpoint."""
    return (folder / "parameters").is_dir()


def _read_tensors(folder: Path, name: str, policy: Trained) -> dict[str, Tensor]:
    """Returns tensors of a checkpoint, shared out as the policy is."""
    try:
        if _is_shared_out(folder):
            shared = policy.trainable_parameters() if is_sharded(policy) else {}
            return read_shares(folder / name, shared)
        return dict(load_file(folder / f"{name}.safetensors"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name}.safetensors holds no tensors"
        ) from error

"""Language models from configurations, folders, hub ids and GGUF files, with their dropout off.

Code that comes with a model is never run. Knows nothing of policies.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.utils import logging


def new_model(config: PreTrainedConfig, dtype: torch.dtype, seed: int) -> PreTrainedModel:
    """Initialises an untrained model from a seed of its own; global ones stay as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            without_dropout(config), dtype=dtype, trust_remote_code=False
        )
    return model


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps the library from drawing bars as it reads or writes a model; downloads keep theirs."""
    before = logging.set_tqdm_hook(lambda _, args, kwargs: logging.EmptyTqdm(*args, **kwargs))
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


@without_bars()
def load_model(source: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    """Loads a model from a folder, a hub id, or a GGUF file.

    Raises:
        ModuleNotFoundError: If a GGUF file needs what is not installed; names the extra.
        OSError, ValueError: If there is no model at `source`, or one that `transformers` does not
            know without code of its own.
    """
    path = Path(source)
    if path.suffix == ".gguf":
        return _from_gguf(path, dtype)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            "source must be a model that transformers knows without code of its own, got "
            f"{source}: {reason}{_within(path)}"
        ) from error
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        source, config=without_dropout(config), dtype=dtype, trust_remote_code=False
    )
    return model


def _within(folder: Path) -> str:
    """Returns where the policy is in a folder of an agent or a run, which holds more than that."""
    policy = folder / "policy"
    return f"; {policy} is one" if (policy / "config.json").is_file() else ""


def end_of_text_ids(model: PreTrainedModel) -> tuple[int, ...]:
    """Returns the ids at which the model's own `generate` ends a text."""
    ids = getattr(model.generation_config, "eos_token_id", None)
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def end_texts_at(model: PreTrainedModel, ids: Collection[int]) -> None:
    """Lets the model's own `generate` end a text at each of some ids, and nowhere else, in place.

    So does whatever is made of the model's files.
    """
    first, *others = sorted(map(int, ids))
    eos = [first, *others] if others else first
    model.config.eos_token_id = model.generation_config.eos_token_id = eos


def fuse_activations(model: PreTrainedModel) -> None:
    """Lets a model compute GPT-2's gelu by one operation in place of eight, in place.

    The formula is the same (Hendrycks and Gimpel 2016, arXiv:1606.08415), the values differ by
    rounding. Nothing else in an update of a small model takes as long for as little.
    """
    for part in list(model.modules()):
        for name, child in part.named_children():
            if type(child) is NewGELUActivation:
                setattr(part, name, nn.GELU(approximate="tanh"))


def dropouts(config: PreTrainedConfig) -> Mapping[str, float]:
    """Returns the dropout rates of a configuration by name, `resid_pdrop` for example."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool)
    }


def without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """Returns a copy of a configuration whose dropout rates are 0, those of its parts included."""
    config = copy.deepcopy(config)
    parts = (getattr(config, name, None) for name in config.sub_configs)
    for part in (config, *(part for part in parts if part is not None)):
        for name, rate in dropouts(part).items():
            setattr(part, name, type(rate)(0))  # some configurations insist on an int
    return config


def _from_gguf(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Loads dequantised weights into an ordinary model, which trains and saves like any other."""
    missing = [library for library in ("accelerate", "gguf") if find_spec(library) is None]
    if missing:
        raise ModuleNotFoundError(
            f"a GGUF file needs {', '.join(missing)}: pip install 'text-gym[gguf]'"
        )
    loaded = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=dtype, trust_remote_code=False
    )
    config = without_dropout(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, dtype=dtype, trust_remote_code=False
    )
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config = loaded.generation_config
    return model

"""Record what TRL computes from fixed rollouts, for `test_golden.py` to compare with ours.

    python tests/golden/record_trl.py ppo       # where trl==1.12.0 is installed, the last with PPO
    python tests/golden/record_trl.py groups    # where trl==1.16.0 is installed

Each writes a JSON file beside this one. What TRL has as a function is called; what stands in the
middle of a long method is cut out of the installed source, between two of its lines, and run. So
nothing of TRL is repeated here, and everything recorded was computed by TRL. In float64.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).parent
LENGTHS = torch.tensor([5, 3, 4, 1, 2, 5])
WIDTH = 5
GROUP_SIZE = 3


def run_between(method: Any, first: str, last: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run the lines of a method from the one that starts with `first` to before `last`."""
    lines = inspect.getsource(method).splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip().startswith(first)]
    ends = [number for number, line in enumerate(lines) if line.strip().startswith(last)]
    start = starts[0]
    end = next(number for number in ends if number > start)
    exec(textwrap.dedent("\n".join(lines[start:end])), names)
    return names


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def write(name: str, version: str, inputs: dict[str, Tensor], outputs: dict[str, Any]) -> None:
    plain = {key: value.tolist() for key, value in inputs.items()}
    record = {"trl": version, "torch": torch.__version__, "inputs": plain, "outputs": outputs}
    (HERE / name).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def token_inputs(seed: int) -> dict[str, Tensor]:
    """Make log-probs of three policies that are near one another, for texts of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    size = len(LENGTHS)
    old = -normal(generator, size, WIDTH).abs()
    return {
        "lengths": LENGTHS,
        "old_log_probs": old,
        "log_probs": old + 0.4 * normal(generator, size, WIDTH),
        "ref_log_probs": old + 0.4 * normal(generator, size, WIDTH),
        "sampler_log_probs": old + 0.2 * normal(generator, size, WIDTH),
        "scores": normal(generator, size),
    }


# PPO


def record_ppo() -> None:
    import trl
    from trl.experimental.ppo import ppo_trainer

    generator = torch.Generator().manual_seed(1)
    inputs = token_inputs(0) | {
        "values": normal(generator, len(LENGTHS), WIDTH),
        "new_values": normal(generator, len(LENGTHS), WIDTH),
    }
    outputs = {}
    for kind in ("k1", "k3"):
        for whiten_rewards in (False, True):
            name = f"{kind}, rewards {'whitened' if whiten_rewards else 'as they are'}"
            outputs[name] = ppo_case(ppo_trainer, inputs, kind, whiten_rewards)
    mask = torch.arange(WIDTH) < LENGTHS[:, None]
    outputs["whitened"] = ppo_trainer.masked_whiten(inputs["values"], mask).tolist()
    shifted = ppo_trainer.masked_whiten(inputs["values"], mask, shift_mean=False)
    outputs["whitened, mean kept"] = shifted.tolist()
    write("trl_ppo.json", trl.__version__, inputs, outputs)


def ppo_case(
    module: Any, inputs: dict[str, Tensor], kl_estimator: str, whiten_rewards: bool
) -> dict[str, Any]:
    """Run TRL's lines from the padding masks to the loss, on one minibatch of all texts."""
    args = SimpleNamespace(
        kl_coef=0.1,
        kl_estimator=kl_estimator,
        whiten_rewards=whiten_rewards,
        gamma=0.9,
        lam=0.8,
        cliprange=0.2,
        cliprange_value=0.3,
        vf_coef=0.5,
    )
    names = {
        **vars(module),
        "args": args,
        "responses": torch.zeros(len(LENGTHS), WIDTH, dtype=torch.long),
        "sequence_lengths": LENGTHS - 1,
        "logprobs": inputs["old_log_probs"],
        "ref_logprobs": inputs["ref_log_probs"],
        "values": inputs["values"],
        "scores": inputs["scores"],
    }
    run_between(module.PPOTrainer.train, "response_idxs = ", "empty_cache()", names)
    log_probs = inputs["log_probs"].clone().requires_grad_()
    values = inputs["new_values"].clone().requires_grad_()
    everyone = slice(None)
    names |= {
        "micro_batch_inds": everyone,
        "new_logprobs": log_probs.masked_fill(names["padding_mask"], module.INVALID_LOGPROB),
        "vpred": values.masked_fill(names["padding_mask_p1"], 0),
        "mb_advantage": names["advantages"],
        "mb_logprobs": names["logprobs"],
        "mb_return": names["returns"],
        "mb_values": names["values"],
    }
    run_between(module.PPOTrainer.train, "vpredclipped = ", "accelerator.backward", names)
    names["loss"].backward()
    return {
        "rewards": names["rewards"].tolist(),
        "advantages": names["advantages"].tolist(),
        "returns": names["returns"].tolist(),
        "policy loss": names["pg_loss"].item(),
        "value loss": names["vf_loss"].item(),
        "gradient of log-probs": log_probs.grad.tolist(),
        "gradient of values": values.grad.tolist(),
    }


# GRPO, RLOO, DPO

GRPO_CASES: dict[str, dict[str, Any]] = {
    "grpo": {},
    "bnpo": {"loss_type": "bnpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo"},
    "luspo by sequence": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "luspo by token": {"loss_type": "luspo"},
    "cispo": {"loss_type": "cispo", "epsilon_high": 1.1},
    "asymmetric clip": {"loss_type": "dapo", "epsilon_high": 0.3},
    "delta": {"loss_type": "dapo", "delta": 1.5},
    "gspo": {"importance_sampling_level": "sequence", "epsilon_low": 0.02, "epsilon_high": 0.04},
    "gspo, token mean": {
        "loss_type": "dapo",
        "importance_sampling_level": "sequence",
        "epsilon_low": 0.02,
        "epsilon_high": 0.04,
    },
    "kl": {"beta": 0.3},
    "kl, token mean": {"beta": 0.3, "loss_type": "dapo"},
    "kl by ratio": {"beta": 0.3, "use_bias_correction_kl": True},
    "cut-off texts left out": {"mask_truncated_completions": True},
    "sampler's weights": {"use_vllm": True, "loss_type": "dapo"},
}
TRUNCATED = torch.tensor([False, True, False, False, False, True])


def record_groups() -> None:
    import trl
    from trl.trainer import dpo_trainer, grpo_trainer, rloo_trainer

    inputs = token_inputs(2) | {"truncated": TRUNCATED}
    outputs: dict[str, Any] = {
        f"advantages, scaled by {scale}": grpo_advantages(grpo_trainer, inputs, scale)
        for scale in ("group", "batch", "none")
    }
    advantages = torch.tensor(outputs["advantages, scaled by group"], dtype=torch.float64)
    for name, settings in GRPO_CASES.items():
        outputs[name] = grpo_case(grpo_trainer, inputs, advantages, settings)
    for normalised in (False, True):
        name = f"rloo{', normalised' if normalised else ''}"
        outputs[name] = rloo_case(rloo_trainer, inputs, normalised)
    for kind in ("sigmoid", "ipo"):
        outputs[f"dpo {kind}"] = dpo_case(dpo_trainer, inputs, kind)
    write("trl_groups.json", trl.__version__, inputs, outputs)


def grpo_advantages(module: Any, inputs: dict[str, Tensor], scale_rewards: str) -> Any:
    """Run the lines of TRL that turn rewards into advantages; groups stand one after the other."""
    me = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.ones(1, dtype=torch.float64),
        scale_rewards=scale_rewards,
    )
    names = {
        **vars(module),
        "self": me,
        "rewards_per_func": inputs["scores"][:, None],
        "unscorable_mask": torch.zeros(len(LENGTHS), dtype=torch.bool),
        "num_generations": GROUP_SIZE,
        "device": "cpu",
    }
    method = module.GRPOTrainer._generate_and_score_completions
    run_between(method, "if self.multi_objective_aggregation", "# Slice to keep only", names)
    return names["advantages"].tolist()


def sampler_weights(module: Any, inputs: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Run the lines of TRL that correct for another engine's log-probs, cut off at 1.1."""
    me = SimpleNamespace(
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_min=None,
        vllm_importance_sampling_clip_max=1.1,
    )
    names = {
        **vars(module),
        "self": me,
        "completion_mask": mask,
        "tool_mask": None,
        "old_per_token_logps": inputs["old_log_probs"],
        "sampling_per_token_logps": inputs["sampler_log_probs"],
    }
    method = module.GRPOTrainer._generate_and_score_completions
    first = "# Compute the importance sampling ratio when using vLLM"
    run_between(method, first, "# Compute the per-token log probabilities for the ref", names)
    return names["vllm_importance_sampling_ratio"]


def trainer(settings: dict[str, Any], log_probs: Tensor) -> SimpleNamespace:
    """Make what the loss of TRL's trainers asks of `self`."""
    defaults = {
        "loss_type": "grpo",
        "importance_sampling_level": "token",
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "beta": 0.0,
        "delta": None,
        "use_bias_correction_kl": False,
        "use_vllm": False,
        "vllm_importance_sampling_correction": True,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "max_completion_length": WIDTH,
        "steps_per_generation": 1,
        "current_gradient_accumulation_steps": 1,
        "aux_loss_enabled": False,
        "_entropy_bonus_enabled": False,
    }
    nothing = torch.zeros_like(log_probs)
    return SimpleNamespace(
        **(defaults | settings),
        args=SimpleNamespace(**(defaults | settings)),
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x
        ),
        _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *_, **__: (log_probs, nothing, None),
    )


def grpo_case(
    module: Any, inputs: dict[str, Tensor], advantages: Tensor, settings: dict[str, Any]
) -> dict[str, Any]:
    """Call TRL's loss on recorded log-probs instead of a model's."""
    mask = (torch.arange(WIDTH) < LENGTHS[:, None]).int()
    if settings.get("mask_truncated_completions"):
        mask = mask * (~TRUNCATED).unsqueeze(1).int()
    log_probs = inputs["log_probs"].clone().requires_grad_()
    batch = {
        "prompt_ids": mask,
        "prompt_mask": mask,
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": inputs["old_log_probs"],
        "ref_per_token_logps": inputs["ref_log_probs"],
        "num_items_in_batch": mask.sum(),
    }
    if settings.get("use_vllm"):
        batch["importance_sampling_ratio"] = sampler_weights(module, inputs, mask)
    me = trainer(settings, log_probs)
    loss = module.GRPOTrainer._compute_loss(me, None, batch)
    loss.backward()
    return {"loss": loss.item(), "gradient": log_probs.grad.tolist()}


def rloo_case(module: Any, inputs: dict[str, Tensor], normalised: bool) -> dict[str, Any]:
    """Run TRL's lines from the KL penalty to the advantages, and call its loss."""
    mask = (torch.arange(WIDTH) < LENGTHS[:, None]).int()
    me = SimpleNamespace(beta=0.3, normalize_advantages=normalised)
    names = {
        **vars(module),
        "self": me,
        "rewards": inputs["scores"],
        "old_per_token_logps": inputs["old_log_probs"],
        "ref_per_token_logps": inputs["ref_log_probs"],
        "completion_mask": mask,
        "gather": lambda x: x,
        "num_generations": GROUP_SIZE,
    }
    method = module.RLOOTrainer._generate_and_score_completions
    run_between(method, "# Include the KL penalty in the reward", "is_std_zero = ", names)
    log_probs = inputs["log_probs"].clone().requires_grad_()
    batch = {
        "prompt_ids": mask,
        "prompt_mask": mask,
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": names["advantages"],
        "old_logps": (inputs["old_log_probs"] * mask).sum(1),
    }
    loss = module.RLOOTrainer._compute_loss(trainer({}, log_probs), None, batch)
    loss.backward()
    return {
        "advantages": names["advantages"].tolist(),
        "loss": loss.item(),
        "gradient": log_probs.grad.tolist(),
    }


DPO_LINES = {
    "sigmoid": ("per_sequence_loss = -F.logsigmoid(self.beta * delta", 'elif loss_type == "hinge"'),
    "ipo": ("chosen_mask, rejected_mask = ", 'elif loss_type == "exo_pair"'),
}


def dpo_case(module: Any, inputs: dict[str, Tensor], kind: str) -> dict[str, Any]:
    """Run TRL's lines for one loss: the first three texts are preferred to the others."""
    mask = (torch.arange(WIDTH) < LENGTHS[:, None]).int()
    log_ratios = ((inputs["log_probs"] - inputs["ref_log_probs"]) * mask).sum(1).requires_grad_()
    chosen, rejected = log_ratios.chunk(2)
    names = {
        **vars(module),
        "self": SimpleNamespace(beta=0.3),
        "chosen_scores": chosen,
        "rejected_scores": rejected,
        "delta_score": chosen - rejected,
        "completion_mask": mask,
    }
    run_between(module.DPOTrainer._compute_loss, *DPO_LINES[kind], names)
    loss = names["per_sequence_loss"].mean()
    loss.backward()
    return {"loss": loss.item(), "gradient": log_ratios.grad.tolist()}


if __name__ == "__main__":
    {"ppo": record_ppo, "groups": record_groups}[sys.argv[1]]()

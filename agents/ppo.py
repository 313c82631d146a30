"""Proximal policy optimisation of a causal language model on text.

`learn` is the algorithm in its order: collect, judge, advantage, update, adapt. The mathematics is
in `agents.advantages`, `agents.losses`, `agents.kl` and `agents.masked`, as pure functions; the
environment is any vector environment with the observation contract of `agents.rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from agents import categorical, checkpoint
from agents.advantages import generalized_advantage_estimation
from agents.callbacks import Callback
from agents.config import PPOConfig
from agents.diagnostics import (
    advantage_metrics,
    mean_of,
    rollout_metrics,
    sum_of,
    timing_metrics,
)
from agents.experience import Experience
from agents.kl import AdaptiveKLController, FixedKLController, KLController, kl_penalised_rewards
from agents.losses import clipped_surrogate_loss, clipped_value_loss, entropy_loss
from agents.masked import masked_mean, whiten
from agents.policy import CausalLMPolicy, TokenStatistics, judge_in_chunks
from agents.record import Rollout
from agents.rollout import autoreset_mode, collect_rollout
from agents.schedules import SCHEDULES
from agents.stopwatch import Stopwatch
from agents.texts import Texts

FIRST_RATIO_TOLERANCE = 1e-5
"""Or eight roundings of the policy's logits, if that is more. Past it, old and new log-probs are
not those of one policy."""
FIRST_KL_TOLERANCE = 1e-6
"""Per token. Past it, policy and reference differ at the start."""


class PPO:
    """Fine-tunes a policy on feedback, held near a frozen reference by a KL penalty.

    Args:
        policy: The policy to train, in place.
        envs: A vector environment with `input_ids` and `attention_mask`, autoreset mode DISABLED
            (or SAME_STEP).
        config: The hyperparameters.
        reference: What the KL is measured from; None: a frozen copy of the policy as it stands.
        callbacks: Called at fixed points.

    Attributes:
        n_episodes: Episodes learnt from so far.
        n_updates: Updates made so far.

    Raises:
        ValueError: If environment and policy do not fit together; the message names the numbers.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config)
        >>> agent = PPO(policy, envs, PPOConfig(n_episodes=8, batch_size=8))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    def __init__(
        self,
        policy: CausalLMPolicy,
        envs: VectorEnv[Any, Any, Any],
        config: PPOConfig | None = None,
        *,
        reference: CausalLMPolicy | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config = config or PPOConfig()
        _require_fit(policy, envs, self.config)
        self.policy = policy
        self.envs = envs
        self.reference = policy.frozen_copy() if reference is None else reference
        self.callbacks = list(callbacks)
        self.optimizer = torch.optim.Adam(
            policy.parameters(),
            lr=self.config.learning_rate,
            eps=self.config.adam_epsilon,
            fused=True,
        )
        self.kl_controller = _kl_controller(self.config)
        seeds = np.random.SeedSequence(self.config.seed).generate_state(3).tolist()
        self.sampling = torch.Generator(policy.device).manual_seed(seeds[0])
        self.shuffling = torch.Generator().manual_seed(seeds[1])
        self.predicting = torch.Generator(policy.device).manual_seed(seeds[2])
        self.n_episodes = 0
        self.n_updates = 0
        self._reference_is_start = reference is None

    def learn(self, total_episodes: int) -> PPO:
        """Trains until `total_episodes` have been learnt from, those of earlier calls included.

        Episodes come in batches of `config.n_episodes`, so the last may overshoot.

        Raises:
            RuntimeError: If the first minibatch of an update has a ratio other than 1, or the first
                update a KL other than 0: the policy is then not what sampled the texts.
        """
        for callback in self.callbacks:
            callback.on_training_start(self, total_episodes)
        while self.n_episodes < total_episodes:
            stopwatch = Stopwatch()
            learning_rate = self._set_learning_rate(1 - self.n_episodes / total_episodes)
            with stopwatch("generate"):
                rollout = self.collect(stopwatch)
            with stopwatch("score"):
                old, ref_log_probs = self.judge(rollout.texts)
                experience, metrics = self.estimate(rollout, old, ref_log_probs)
            for callback in self.callbacks:
                callback.on_rollout_end(self, rollout)
            with stopwatch("train"):
                metrics |= self.update(experience)
            self.n_episodes += len(rollout)
            self.n_updates += 1
            metrics |= {
                "train/learning_rate": learning_rate,
                "train/kl_coef": self.kl_controller.kl_coef,
                **timing_metrics(stopwatch, experience.n_tokens, experience.n_episodes),
            }
            self.kl_controller.update(metrics["rollout/kl"], len(rollout))
            goes_on = [callback.on_update_end(self, metrics) for callback in self.callbacks]
            if any(answer is False for answer in goes_on):
                break
        for callback in self.callbacks:
            callback.on_training_end(self)
        return self

    def collect(self, stopwatch: Stopwatch | None = None) -> Rollout:
        """Lets the policy write `config.n_episodes` texts."""
        return collect_rollout(
            self.policy,
            self.envs,
            self.config.n_episodes,
            self.sampling,
            seed=self.config.seed if self.n_updates == 0 else None,
            stopwatch=stopwatch,
        ).to(self.policy.device)

    def judge(self, texts: Texts) -> tuple[TokenStatistics, Tensor]:
        """Returns what the policy says of its texts, and the reference's log-probs (B, T).

        The policy's log-probs are those of the training forward, not of decoding: only then is the
        ratio of the first minibatch exactly that of a policy that has not moved.
        """
        chunk = self.config.micro_batch_size or self.config.batch_size
        old = judge_in_chunks(self.policy, texts, chunk)
        return old, judge_in_chunks(self.reference, texts, chunk).log_probs

    def estimate(
        self, rollout: Rollout, old: TokenStatistics, ref_log_probs: Tensor
    ) -> tuple[Experience, dict[str, float]]:
        """Turns rewards into advantages: KL penalty, whitening, GAE."""
        config, mask = self.config, rollout.texts.completion_mask
        metrics = rollout_metrics(rollout, old, ref_log_probs, self.kl_controller.kl_coef)
        if self.n_updates == 0 and self._reference_is_start:
            _require_no_kl(float(masked_mean((old.log_probs - ref_log_probs).abs(), mask)))
        rewards = kl_penalised_rewards(
            rollout.rewards.to(old.values.dtype),
            old.log_probs,
            ref_log_probs,
            mask,
            self.kl_controller.kl_coef,
        )
        if config.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        advantages, returns = generalized_advantage_estimation(
            rewards,
            old.values,
            mask,
            torch.where(rollout.truncated, old.final_values, 0),
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
        )
        metrics |= advantage_metrics(advantages, returns, old.values, mask)
        if config.whiten_advantages:
            advantages = whiten(advantages, mask)
        experience = Experience(rollout.texts, old.log_probs, old.values, advantages, returns)
        return experience, metrics

    def update(self, experience: Experience) -> dict[str, float]:
        """Takes optimiser steps over minibatches of episodes, `config.n_epochs` times."""
        statistics: list[dict[str, float]] = []
        stopped = False
        minibatches = (
            minibatch
            for _ in range(self.config.n_epochs)
            for minibatch in experience.shuffled(self.config.batch_size, self.shuffling)
        )
        for minibatch in minibatches:
            statistics.append(self._accumulate(minibatch))
            if len(statistics) == 1:
                _require_ratio_one(statistics[0], self.policy.rounding)
            limit = self.config.target_kl
            stopped = limit is not None and statistics[-1]["approx_kl"] > 1.5 * limit
            if stopped:
                break
            norm = torch.nn.utils.clip_grad_norm_(
                self.policy.parameters(), self.config.max_grad_norm
            )
            statistics[-1]["grad_norm"] = float(norm)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        metrics = mean_of(statistics) | {
            "first_ratio_error": _ratio_error(statistics[0]),
            "n_steps": len(statistics) - stopped,
            "stopped_early": float(stopped),
        }
        return {f"train/{name}": value for name, value in metrics.items()}

    def predict(
        self,
        observation: Mapping[str, NDArray[Any]],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: NDArray[Any] | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """Chooses the next token, for one observation or a batch, as Stable-Baselines3 does.

        Args:
            observation: `input_ids` and `attention_mask`, (L,) or (n, L).
            state: Passed through; the observation holds everything.
            episode_start: Not used.
            deterministic: Takes the most probable token instead of sampling.
            action_masks: Allowed tokens, (V,) or (n, V); None: all.

        Returns:
            Token ids, () or (n,), and `state`.
        """
        ids, mask = (torch.as_tensor(observation[k]) for k in ("input_ids", "attention_mask"))
        batched = ids.ndim == 2
        ids, mask = torch.atleast_2d(ids).long(), torch.atleast_2d(mask).long()
        width = int(mask.sum(dim=1).max())
        with torch.no_grad():
            hidden = self.policy.hidden_states(
                ids[:, :width].to(self.policy.device), mask[:, :width].to(self.policy.device)
            )
            last = hidden[torch.arange(len(ids)), mask.sum(dim=1) - 1]
            allowed = None if action_masks is None else torch.as_tensor(action_masks).bool()
            logits = self.policy.logits(
                last, None if allowed is None else torch.atleast_2d(allowed)
            )
        if deterministic:
            tokens = logits.argmax(-1)
        else:
            tokens, _ = categorical.sample(logits, self.predicting)
        actions = tokens.numpy(force=True)
        return (actions if batched else actions[0]), state

    def save(self, path: str | Path) -> None:
        """Saves everything that training goes on from into a folder; see `agents.checkpoint`."""
        checkpoint.save(self, Path(path))

    @classmethod
    def load(
        cls,
        path: str | Path,
        envs: VectorEnv[Any, Any, Any],
        *,
        callbacks: Sequence[Callback] = (),
    ) -> PPO:
        """Loads what `save` wrote; `learn` goes on from there."""
        return checkpoint.load(cls, Path(path), envs, callbacks)

    def _accumulate(self, minibatch: Experience) -> dict[str, float]:
        """Adds up the gradient of one optimiser step, micro-batch by micro-batch."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = []
        for part in minibatch.split(self.config.micro_batch_size or minibatch.n_episodes):
            loss, statistics = self._loss(part, minibatch.n_tokens)
            loss.backward()
            parts.append(statistics)
        return sum_of(parts)

    def _loss(self, batch: Experience, n_tokens: int) -> tuple[Tensor, dict[str, float]]:
        """Returns the loss of a micro-batch, and statistics that add up over an optimiser step.

        Args:
            batch: Some of the step's episodes.
            n_tokens: Tokens of the whole step.
        """
        config, mask = self.config, batch.texts.completion_mask
        new = self.policy(batch.texts)
        policy = clipped_surrogate_loss(
            new.log_probs,
            batch.old_log_probs,
            batch.advantages,
            mask,
            config.clip_range,
            clip_range_high=config.clip_range_high,
            dual_clip=config.dual_clip,
            n_tokens=n_tokens,
        )
        value = clipped_value_loss(
            new.values,
            batch.old_values,
            batch.returns,
            mask,
            config.clip_range_vf,
            n_tokens=n_tokens,
        )
        entropy = entropy_loss(new.entropies, mask, n_tokens=n_tokens)
        loss = policy.loss + config.vf_coef * value.loss + config.ent_coef * entropy
        share = batch.n_tokens / n_tokens
        return loss, {
            "loss": loss.item(),
            "policy_loss": policy.loss.item(),
            "value_loss": value.loss.item(),
            "entropy": -entropy.item(),
            "approx_kl": share * policy.approx_kl.item(),
            "clip_fraction": share * policy.clip_fraction.item(),
            "clip_fraction_vf": share * value.clip_fraction.item(),
            "ratio_mean": share * policy.ratio_mean.item(),
            "ratio_var": share * policy.ratio_var.item(),
            "ratio_min": policy.ratio_min.item(),
            "ratio_max": policy.ratio_max.item(),
        }

    def _set_learning_rate(self, progress_remaining: float) -> float:
        factor = SCHEDULES[self.config.lr_schedule](progress_remaining)
        learning_rate = self.config.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate


def _require_ratio_one(statistics: Mapping[str, float], rounding: float) -> None:
    error, tolerance = _ratio_error(statistics), max(FIRST_RATIO_TOLERANCE, 8 * rounding)
    if not error <= tolerance:
        raise RuntimeError(
            "the first minibatch of an update must have a ratio of 1 to within "
            f"{tolerance:.3g}, got {error:.3g} from it: the policy's forward pass is not "
            "reproducible (is dropout on, or the model in half precision?)"
        )


def _require_no_kl(error: float) -> None:
    if not error <= FIRST_KL_TOLERANCE:
        raise RuntimeError(
            f"the first update must have a KL of 0 to within {FIRST_KL_TOLERANCE} per token, got "
            f"{error:.3g}: policy and reference differ at the start"
        )


def _ratio_error(statistics: Mapping[str, float]) -> float:
    return max(abs(statistics["ratio_max"] - 1), abs(statistics["ratio_min"] - 1))


def _kl_controller(config: PPOConfig) -> KLController:
    if config.kl_target is None:
        return FixedKLController(config.kl_coef)
    return AdaptiveKLController(config.kl_coef, config.kl_target, config.kl_horizon)


def _require_fit(policy: CausalLMPolicy, envs: VectorEnv[Any, Any, Any], config: PPOConfig) -> None:
    autoreset_mode(envs)
    if config.n_episodes < envs.num_envs:
        raise ValueError(
            f"config.n_episodes must be at least num_envs={envs.num_envs}, got {config.n_episodes}"
        )
    actions, observations = envs.single_action_space, envs.single_observation_space
    if not isinstance(actions, spaces.Discrete) or actions.n != policy.vocab_size:
        raise ValueError(
            f"envs must have one action per output of the policy, Discrete({policy.vocab_size}), "
            f"got {actions}; HuggingFaceTokenizer(..., vocab_size={policy.vocab_size}) pads a "
            "vocabulary"
        )
    length = observations["input_ids"].shape[0]  # type: ignore[index]
    if policy.max_length is not None and length > policy.max_length:
        raise ValueError(
            f"envs must have texts of at most {policy.max_length} tokens, the policy's positions, "
            f"got {length}"
        )

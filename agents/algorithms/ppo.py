"""Proximal policy optimisation of a causal language model on text.

`learn` is the algorithm in its order: collect, judge, advantage, update, adapt. The mathematics is
in `agents.objectives`, as pure functions; the environment is any vector environment with the
observation contract of `agents.rollout.collect`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.diagnostics import (
    advantage_metrics,
    mean_of,
    rollout_metrics,
    sum_of,
    timing_metrics,
)
from agents.algorithms.experience import Experience
from agents.algorithms.health_checks import (
    memory_advice,
    ratio_error,
    require_bounded_kl,
    require_finite_rewards,
    require_no_kl,
    require_ratio_one,
    require_sound_step,
    warn_of_collapse,
    warn_of_equal_scores,
)
from agents.callbacks import Callback
from agents.checkpoints import checkpoint
from agents.distributed import processes
from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.kl import kl_controller, kl_penalised_rewards
from agents.objectives.losses import clipped_surrogate_loss, clipped_value_loss, entropy_loss
from agents.objectives.masked import masked_mean, whiten
from agents.objectives.schedules import SCHEDULES
from agents.policy.causal_lm import CausalLMPolicy, TokenStatistics, judge_in_chunks
from agents.policy.prediction import next_tokens
from agents.policy.token_batch import Texts, stacked
from agents.rollout.buffer import Rollout, joined_rollouts
from agents.rollout.collect import collect_rollout, require_fit
from agents.rollout.timer import Stopwatch

_FEWER_ROWS = "write fewer texts side by side (num_envs), or shorter ones (max_new_tokens)"
_SMALLER_PARTS = "lower micro_batch_size, or let less of the policy learn (LoRA, frozen_blocks)"


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
        stopwatch: Where the time of the latest update went.

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
        require_fit(policy, envs)
        self._require_share(envs.num_envs)
        self.policy = policy
        self.envs = envs
        self.reference = policy.frozen_copy() if reference is None else reference
        self.callbacks = list(callbacks)
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        processes.copy_from_main(self._parameters)
        self.optimizer = torch.optim.Adam(
            self._parameters,
            lr=self.config.learning_rate,
            eps=self.config.adam_epsilon,
            fused=True,
        )
        self.kl_controller = kl_controller(
            self.config.kl_coef, self.config.kl_target, self.config.kl_horizon
        )
        seeds = np.random.SeedSequence(self.config.seed).generate_state(3).tolist()
        # Processes sample texts of their own, and shuffle the joint batch alike.
        self.sampling = torch.Generator(policy.device).manual_seed(seeds[0] + processes.rank())
        self.shuffling = torch.Generator().manual_seed(seeds[1])
        self.predicting = torch.Generator(policy.device).manual_seed(seeds[2])
        self.n_episodes = 0
        self.n_updates = 0
        self.stopwatch = Stopwatch(policy.device)
        self._reference_is_start = reference is None

    def learn(self, total_episodes: int) -> PPO:
        """Trains until `total_episodes` have been learnt from, those of earlier calls included.

        Episodes come in batches of `config.n_episodes`, so the last may overshoot.

        Raises:
            TrainingStopped: If a number is not what it must be, or memory runs out; the message
                says what to change. The policy stands as it was before the step that went wrong.
        """
        for callback in self.callbacks:
            callback.on_training_start(self, total_episodes)
        while self.n_episodes < total_episodes:
            self.stopwatch = stopwatch = Stopwatch(self.policy.device)
            learning_rate = self._set_learning_rate(1 - self.n_episodes / total_episodes)
            with stopwatch("generate"), memory_advice(_FEWER_ROWS):
                rollout = self.collect()
            with stopwatch("score"), memory_advice(_SMALLER_PARTS):
                rollout, old, ref_log_probs = self.gather(rollout, *self.judge(rollout.texts))
                experience, metrics = self.estimate(rollout, old, ref_log_probs)
                self._review(rollout.scores, metrics)
            for callback in self.callbacks:
                callback.on_rollout_end(self, rollout)
            with stopwatch("train"), memory_advice(_SMALLER_PARTS):
                metrics |= self.update(experience)
            self.n_episodes += len(rollout)
            self.n_updates += 1
            metrics |= {
                "train/learning_rate": learning_rate,
                "train/kl_coef": self.kl_controller.kl_coef,
                **timing_metrics(stopwatch, experience.n_tokens, experience.n_episodes),
            }
            self.kl_controller.update(metrics["rollout/kl"], len(rollout))
            answers = [callback.on_update_end(self, metrics) for callback in self.callbacks]
            if any(answer is False for each in processes.gathered(answers) for answer in each):
                break
        for callback in self.callbacks:
            callback.on_training_end(self)
        return self

    def collect(self) -> Rollout:
        """Lets the policy write this process's share of `config.n_episodes` texts."""
        with torch.no_grad(), self.policy.autocasting():
            return collect_rollout(
                self.policy,
                self.envs,
                self.config.n_episodes // processes.world_size(),
                self.sampling,
                seed=self._first_seed() if self.n_updates == 0 else None,
                stopwatch=self.stopwatch,
            ).to(self.policy.device)

    def judge(self, texts: Texts) -> tuple[TokenStatistics, Tensor]:
        """Returns what the policy says of its texts, and the reference's log-probs (B, T).

        The policy's log-probs are those of the training forward, not of decoding: only then is the
        ratio of the first minibatch exactly that of a policy that has not moved.
        """
        chunk = self.config.micro_batch_size or self.config.batch_size
        with self.stopwatch("judge"):
            old = judge_in_chunks(self.policy, texts, chunk)
        with self.stopwatch("reference"):
            ref_log_probs = judge_in_chunks(self.reference, texts, chunk).log_probs
        return old, ref_log_probs

    def gather(
        self, rollout: Rollout, old: TokenStatistics, ref_log_probs: Tensor
    ) -> tuple[Rollout, TokenStatistics, Tensor]:
        """Returns the shares of all processes together, so that every one sees the whole batch."""
        if processes.world_size() == 1:
            return rollout, old, ref_log_probs
        device = self.policy.device
        share = (*(part.cpu() for part in old), ref_log_probs.cpu())
        shares = processes.gathered((rollout.to(torch.device("cpu")), share))
        rollouts, judgements = zip(*shares, strict=True)
        *joint, ref_log_probs = (
            stacked(parts).to(device) for parts in zip(*judgements, strict=True)
        )
        return joined_rollouts(rollouts).to(device), TokenStatistics(*joint), ref_log_probs

    def estimate(
        self, rollout: Rollout, old: TokenStatistics, ref_log_probs: Tensor
    ) -> tuple[Experience, dict[str, float]]:
        """Turns rewards into advantages: KL penalty, whitening, GAE."""
        config, mask = self.config, rollout.texts.completion_mask
        require_finite_rewards(rollout.rewards)
        metrics = rollout_metrics(rollout, old, ref_log_probs, self.kl_controller.kl_coef)
        if self.n_updates == 0 and self._reference_is_start:
            require_no_kl(float(masked_mean((old.log_probs - ref_log_probs).abs(), mask)))
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
                require_ratio_one(statistics[0], self.policy.rounding)
            limit = self.config.target_kl
            stopped = limit is not None and statistics[-1]["approx_kl"] > 1.5 * limit
            if stopped:
                break
            with self.stopwatch("optimizer"):
                norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
                statistics[-1]["grad_norm"] = float(processes.whole(norm))
                require_sound_step(statistics[-1], statistics[-1]["grad_norm"])
                self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        metrics = mean_of(statistics) | {
            "first_ratio_error": ratio_error(statistics[0]),
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
        generator = None if deterministic else self.predicting
        return next_tokens(self.policy, observation, generator, action_masks), state

    def save(self, path: str | Path) -> None:
        """Saves everything that training goes on from, models included, into a folder.

        See `agents.checkpoints.checkpoint`; the model alone is saved by `policy.save_pretrained`.

        Raises:
            ValueError: If the environments, or a wrapper around them, cannot give their state.
            FileExistsError: If something else than an earlier checkpoint is at `path`.
        """
        checkpoint.save(self, Path(path))

    def restore(self, path: str | Path) -> PPO:
        """Goes on from a checkpoint, of `save` or of a run, of an agent built as this one was.

        Raises:
            FileNotFoundError, CheckpointError: If there is none, or it is damaged.
            ValueError: If the agent was built otherwise.
        """
        checkpoint.restore(self, Path(path))
        return self

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

    def _review(self, scores: Tensor, metrics: Mapping[str, float]) -> None:
        """Stops or warns where a batch of texts shows that something is wrong."""
        require_bounded_kl(metrics["rollout/kl_per_token"], self.kl_controller.kl_coef)
        warn_of_collapse(metrics["rollout/entropy"])
        if self.n_updates == 0:
            warn_of_equal_scores(scores)

    def _accumulate(self, minibatch: Experience) -> dict[str, float]:
        """Adds up the gradient of one optimiser step, over micro-batches and processes."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = []
        share = minibatch.share(processes.rank(), processes.world_size())
        size = self.config.micro_batch_size or minibatch.n_episodes
        for part in share.split(size) if share is not None else ():
            with self.stopwatch("forward"):
                loss, statistics = self._loss(part, minibatch.n_tokens)
            with self.stopwatch("backward"):
                loss.backward()
            parts.append(statistics)
        with self.stopwatch("optimizer"):
            processes.sum_gradients(self._parameters)
        return sum_of([one for each in processes.gathered(parts) for one in each])

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

    def _require_share(self, num_envs: int) -> None:
        n_episodes, n_processes = self.config.n_episodes, processes.world_size()
        if n_episodes % n_processes or n_episodes // n_processes < num_envs:
            raise ValueError(
                f"config.n_episodes must be a multiple of {n_processes} process(es), and at least "
                f"num_envs={num_envs} for each, got {n_episodes}"
            )

    def _first_seed(self) -> int:
        """Returns the environments' seed; row i of rank r is what row r n + i of one vector is."""
        return self.config.seed + processes.rank() * self.envs.num_envs

    def _set_learning_rate(self, progress_remaining: float) -> float:
        factor = SCHEDULES[self.config.lr_schedule](progress_remaining)
        learning_rate = self.config.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate

"""The loop that every policy-gradient algorithm walks: collect, forward, advantage, update, adapt.

An algorithm says how credit is assigned (`advantages`) and what is minimised (`loss`), and nothing
else; one that does not move by minibatches under Adam has an `update` of its own. The mathematics
is in `agents.objectives`; the environment is any vector environment with the observation contract
of `agents.rollout`. No algorithm is known here by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from agents.algorithms.configs.groups import GroupConfig
from agents.algorithms.configs.policy_gradient import PolicyGradientConfig
from agents.algorithms.diagnostics import (
    Statistic,
    Statistics,
    advantage_metrics,
    movement_statistics,
    of_step,
    of_update,
    ratio_error,
    rollout_metrics,
    timing_metrics,
)
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.health_checks import (
    memory_advice,
    require_bounded,
    require_bounded_kl,
    require_exact_sampling,
    require_no_kl,
    require_ratio_one,
    require_sound_step,
    warn_of_collapse,
    warn_of_equal_scores,
)
from agents.algorithms.learner import Learner
from agents.algorithms.trainable import require_learning, require_reference
from agents.callbacks import Callback
from agents.checkpoints import checkpoint
from agents.distributed import processes
from agents.objectives.groups import require_groups
from agents.objectives.kl import kl_loss, kl_penalised_rewards, sampled_kl
from agents.objectives.kl_controller import kl_controller
from agents.objectives.masked import masked_mean, whiten
from agents.objectives.statistics import ratio_statistics
from agents.policy.causal_lm import CausalLMPolicy, PolicyOutputs, forward_in_chunks
from agents.policy.prediction import next_tokens
from agents.policy.token_batch import TokenBatch, stacked
from agents.rollout.buffer import Rollout, concatenated_rollouts
from agents.rollout.collect import (
    collect_rollout,
    require_fit,
    text_length,
    vocabulary_mask,
    warn_of_unheeded_ends,
)
from agents.rollout.timer import Timer

C = TypeVar("C", bound=PolicyGradientConfig)
G = TypeVar("G", bound=GroupConfig)

_FEWER_ROWS = "write fewer texts side by side (num_envs), or shorter ones (max_new_tokens)"
_SMALLER_PARTS = "lower micro_batch_size, or let less of the policy learn (LoRA, frozen_blocks)"


class Credit(NamedTuple):
    """What each chosen token is credited with.

    Attributes:
        advantages: (B, T).
        returns: (B, T), what values are trained towards; None where none are.
    """

    advantages: Tensor
    returns: Tensor | None = None


class PolicyGradient(Learner[C]):
    """Fine-tunes a policy on feedback, held near a frozen reference by a KL penalty.

    Args:
        policy: The policy to train, in place.
        envs: A vector environment with `input_ids` and `attention_mask`, autoreset mode DISABLED
            (or SAME_STEP).
        config: The hyperparameters.
        reference: What the KL is measured from: no tensor of it may learn with the policy, whose
            vocabulary it has; None: a frozen copy of the policy as it stands.
        callbacks: Called at fixed points.

    Attributes:
        n_episodes: Episodes learnt from so far.
        n_updates: Updates made so far.
        average: Of the parameters that learn; None unless `config.ema_decay` asks for it.
        timer: Where the time of the latest update went.

    Raises:
        ValueError: If environment, policy, reference and algorithm do not fit together, or nothing
            of the policy's language model learns; the message names the numbers.
    """

    config_class: ClassVar[type[PolicyGradientConfig]]
    envs: VectorEnv[Any, Any, Any]
    reference: CausalLMPolicy

    def __init__(
        self,
        policy: CausalLMPolicy,
        envs: VectorEnv[Any, Any, Any],
        config: C | None = None,
        *,
        reference: CausalLMPolicy | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        settings: C = config or self.config_class()  # type: ignore[assignment]
        require_fit(policy, envs)
        warn_of_unheeded_ends(policy, envs)
        _require_share(settings.n_episodes, envs.num_envs)
        _require_values(type(self).__name__, settings, policy)
        require_learning(policy)
        super().__init__(policy, settings, callbacks)
        self.envs = envs
        self._vocabulary_mask = vocabulary_mask(envs)
        self.reference = policy.frozen_copy() if reference is None else reference
        require_reference(self.reference, policy, text_length(envs))
        self.kl_controller = kl_controller(
            settings.kl_coef, settings.kl_target, settings.kl_horizon
        )
        seeds = np.random.SeedSequence(settings.seed).generate_state(3).tolist()
        # Processes sample texts of their own, and shuffle the joint batch alike.
        self.sampling = torch.Generator(policy.device).manual_seed(seeds[0] + processes.rank())
        self.shuffling = torch.Generator().manual_seed(seeds[1])
        self.predicting = torch.Generator(policy.device).manual_seed(seeds[2])
        self.timer = Timer(policy.device)
        self._reference_is_start = reference is None
        self._has_reset = False

    # What an algorithm says.

    @abstractmethod
    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Assigns credit to every chosen token.

        Args:
            rollout: B episodes.
            rewards: (B, T), the KL penalty included where it is in the reward.
            old: What the policy that wrote them says of them.
        """

    @abstractmethod
    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Returns the loss of a micro-batch, and statistics that add up over an optimiser step.

        Args:
            batch: Some of the step's episodes.
            new: What the policy says of them now, with gradient.
            totals: Of the whole step.
        """

    # The loop.

    def learn(self, total_episodes: int) -> Self:
        """Trains until `total_episodes` have been learnt from, those of earlier calls included.

        Episodes come in batches of `config.n_episodes`, so the last may overshoot.

        Raises:
            TrainingStopped: If a number is not what it must be, or memory runs out; the message
                says what to change. The policy stands as it was before the step that went wrong.
        """
        for callback in self.callbacks:
            callback.on_training_start(self, total_episodes)
        while self.n_episodes < total_episodes:
            self.timer = timer = Timer(self.policy.device)
            learning_rate = self._set_learning_rate(1 - self.n_episodes / total_episodes)

            # Collect: the policy writes a batch of texts.
            with timer("generate"), memory_advice(_FEWER_ROWS):
                rollout = self.collect()
            with timer("score"), memory_advice(_SMALLER_PARTS):
                # Forward: log-probs and values of policy and reference, of all processes.
                rollout, old, ref_log_probs = self.gather(rollout, *self.forward(rollout.texts))
                # Advantage: rewards become credit for every token.
                experience, metrics = self.estimate(rollout, old, ref_log_probs)
                self._check(rollout, experience, metrics)
            for callback in self.callbacks:
                callback.on_rollout_end(self, rollout)
            # Update: parameters move.
            with timer("train"), memory_advice(_SMALLER_PARTS):
                metrics |= self.update(experience)
            self.n_episodes += len(rollout)
            self.n_updates += 1
            metrics |= {
                "train/learning_rate": learning_rate,
                "train/kl_coef": self.kl_controller.kl_coef,
                **timing_metrics(timer, experience.n_tokens, experience.n_episodes),
            }
            # Adapt: the price of KL follows what was measured.
            self.kl_controller.update(metrics["rollout/kl"], len(rollout))
            answers = [callback.on_update_end(self, metrics) for callback in self.callbacks]
            if any(a is False for each in processes.all_gather_object(answers) for a in each):
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
                seed=self._first_seed(),
                timer=self.timer,
            ).to(self.policy.device)

    def forward(self, texts: TokenBatch) -> tuple[PolicyOutputs, Tensor]:
        """Returns what the policy says of its texts, and the reference's log-probs (B, T).

        The policy's log-probs are those of the training forward, not of decoding: only then is the
        ratio of the first minibatch exactly that of a policy that has not moved.
        """
        chunk = self.config.micro_batch_size or self.config.batch_size
        with self.timer("policy"):
            old = forward_in_chunks(self.policy, texts, chunk)
        with self.timer("reference"):
            ref_log_probs = forward_in_chunks(self.reference, texts, chunk).log_probs
        return old, ref_log_probs

    def gather(
        self, rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor
    ) -> tuple[Rollout, PolicyOutputs, Tensor]:
        """Returns the shares of all processes together, so that every one sees the whole batch."""
        if processes.world_size() == 1:
            return rollout, old, ref_log_probs
        device, cpu = self.policy.device, torch.device("cpu")
        share = (rollout.to(cpu), old.to(cpu), ref_log_probs.cpu())
        rollouts, outputs, references = zip(*processes.all_gather_object(share), strict=True)
        return (
            concatenated_rollouts(rollouts).to(device),
            PolicyOutputs.concatenated(outputs).to(device),
            stacked(references).to(device),
        )

    def estimate(
        self, rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor
    ) -> tuple[Experience, dict[str, float]]:
        """Turns rewards into advantages: KL penalty, credit, normalisation."""
        mask = rollout.texts.completion_mask
        require_bounded("rewards", rollout.rewards, rollout.named)
        metrics = rollout_metrics(rollout, old, ref_log_probs, self.kl_controller.kl_coef)
        if self.n_updates == 0 and self._reference_is_start:
            require_no_kl(float(masked_mean((old.log_probs - ref_log_probs).abs(), mask)))
        rewards = rollout.rewards.to(old.log_probs.dtype)
        if self.config.kl_in == "reward":
            kl_coef = self.kl_controller.kl_coef
            rewards = kl_penalised_rewards(rewards, old.log_probs, ref_log_probs, mask, kl_coef)
        credit = self.advantages(rollout, rewards, old)
        metrics |= advantage_metrics(credit.advantages, credit.returns, old.values, mask)
        advantages = credit.advantages
        if self.config.normalize_advantage:
            advantages = whiten(advantages, mask)
        experience = Experience(
            rollout.texts, old.log_probs, ref_log_probs, old.values, advantages, credit.returns
        )
        return experience, metrics

    def update(self, experience: Experience) -> dict[str, float]:
        """Takes optimiser steps over minibatches of episodes, `config.n_epochs` times."""
        steps: list[Statistics] = []
        stopped = False
        minibatches = (
            minibatch
            for _ in range(self.config.n_epochs)
            for minibatch in experience.shuffled(self.config.batch_size, self.shuffling)
        )
        for minibatch in minibatches:
            step = self._accumulate(minibatch)
            steps.append(step)
            if len(steps) == 1:
                require_ratio_one(ratio_error(step), self.policy.rounding)
            limit = self.config.target_kl
            stopped = limit is not None and step["approx_kl"].value > 1.5 * limit
            if stopped:
                break
            with self.timer("optimizer"):
                step["grad_norm"] = Statistic(self._step(step))
        self.optimizer.zero_grad(set_to_none=True)
        metrics = of_update(steps) | {
            "first_ratio_error": ratio_error(steps[0]),
            "n_steps": len(steps) - stopped,
            "stopped_early": float(stopped),
        }
        return {f"train/{name}": value for name, value in metrics.items()}

    def _accumulate(self, minibatch: Experience) -> Statistics:
        """Adds up the gradient of one optimiser step, over micro-batches and processes."""
        self.optimizer.zero_grad(set_to_none=True)
        totals = StepTotals(minibatch.n_tokens, minibatch.n_episodes)
        parts = []
        shard = minibatch.rank_shard(processes.rank(), processes.world_size())
        size = self.config.micro_batch_size or minibatch.n_episodes
        for part in shard.split(size) if shard is not None else ():
            with self.timer("forward"):
                loss, statistics = self._forward(part, totals)
            with self.timer("backward"):
                loss.backward()
            parts.append(statistics)
        with self.timer("optimizer"):
            processes.sum_gradients(self._parameters)
        return of_step([one for each in processes.all_gather_object(parts) for one in each])

    def _forward(self, part: Experience, totals: StepTotals) -> tuple[Tensor, Statistics]:
        """Returns the loss of a micro-batch, KL included where it is in the loss."""
        mask, share = part.texts.completion_mask, part.n_tokens / totals.n_tokens
        new = self.policy(part.texts)
        loss, statistics = self.loss(part, new, totals)
        if self.config.kl_in == "loss":
            kl = self._kl_loss(part, new, totals)
            loss = loss + self.kl_controller.kl_coef * kl
            statistics = statistics | {"kl_loss": Statistic(kl.item())}
        ratios = ratio_statistics(new.log_probs, part.old_log_probs, mask)
        entropy = float(masked_mean(new.entropies.detach(), mask))
        moved = movement_statistics(ratios, entropy, share)
        return loss, {"loss": Statistic(loss.item()), **statistics, **moved}

    def _kl_loss(self, part: Experience, new: PolicyOutputs, totals: StepTotals) -> Tensor:
        """Returns the micro-batch's part of the step's KL from the reference, per completion."""
        mask, kind = part.texts.completion_mask, self.config.kl_estimator
        if kind == "exact":
            kl = self.policy.kl_from(self.reference, part.texts)
        else:
            kl = sampled_kl(new.log_probs, part.ref_log_probs, mask, kind)
        return kl_loss(kl, mask, n_tokens=totals.n_episodes)

    def _step(self, statistics: Statistics) -> float:
        """Moves the parameters along the gradient, and returns its norm."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        grad_norm = float(processes.full_tensor(norm))
        require_sound_step(statistics["loss"].value, grad_norm, statistics["ratio_mean"].value)
        self.optimizer.step()
        if self.average:
            self.average.update()
        return grad_norm

    # What users and checkpoints call.

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
            action_masks: Allowed tokens, (V,) or (n, V); None: all. Whatever they are, tokens that
                the environments' vocabulary excludes are not chosen.

        Returns:
            Token ids, () or (n,), and `state`.

        Raises:
            ValueError: If a mask allows nothing, or the model's logits are not finite.
        """
        generator = None if deterministic else self.predicting
        masks = [mask for mask in (action_masks, self._vocabulary_mask) if mask is not None]
        allowed = np.logical_and.reduce(np.broadcast_arrays(*masks)) if masks else None
        return next_tokens(self.policy, observation, generator, allowed), state

    @classmethod
    def load(
        cls,
        path: str | Path,
        envs: VectorEnv[Any, Any, Any],
        *,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Loads what `save` wrote; `learn` goes on from there."""
        saved = checkpoint.load_models(Path(path), cls.config_class)
        agent = cls(
            saved.policy, envs, saved.config, reference=saved.reference, callbacks=callbacks
        )
        return agent.restore(path)

    @property
    def streams(self) -> dict[str, torch.Generator]:
        """The random streams by name."""
        return {name: getattr(self, name) for name in ("sampling", "shuffling", "predicting")}

    def state_dict(self) -> dict[str, Any]:
        """Returns the counters and the KL controller."""
        return {
            "n_episodes": self.n_episodes,
            "n_updates": self.n_updates,
            "kl_controller": self.kl_controller.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.n_episodes, self.n_updates = state["n_episodes"], state["n_updates"]
        self.kl_controller.load_state_dict(state["kl_controller"])

    def _check(
        self, rollout: Rollout, experience: Experience, metrics: Mapping[str, float]
    ) -> None:
        """Stops or warns where a batch of texts shows that something is wrong."""
        require_bounded_kl(metrics["rollout/kl_per_token"], self.kl_controller.kl_coef)
        require_exact_sampling(metrics["rollout/sampling_log_prob_error"], self.policy.rounding)
        if experience.returns is not None:
            require_bounded("returns", experience.returns, rollout.named)
        require_bounded("advantages", experience.advantages, rollout.named)
        warn_of_collapse(metrics["rollout/entropy"])
        if self.n_updates == 0:
            warn_of_equal_scores(rollout.scores)

    def _first_seed(self) -> int | None:
        """Returns the seed of the first reset; row i of rank r is row r n + i of one vector."""
        if self._has_reset or self.n_updates:
            return None
        self._has_reset = True
        return self.config.seed + processes.rank() * self.envs.num_envs


class GroupPolicyGradient(PolicyGradient[G]):
    """Compares the episodes of a batch that have one `group_id`, and needs no value function."""

    def groups(self, rollout: Rollout) -> Tensor:
        """Returns the group of each episode, (B,).

        Raises:
            ValueError: If the environments report no groups, or a group is not of `group_size`.
        """
        size = self.config.group_size
        if rollout.group_ids is None:
            raise ValueError(
                f"envs must report the group_id of every episode at reset for {type(self).__name__}"
                f", and do not; prompts=GroupedPrompts(prompts, size={size}) gives it"
            )
        require_groups(rollout.group_ids, size=size)
        return rollout.group_ids


def _require_share(n_episodes: int, num_envs: int) -> None:
    n_processes = processes.world_size()
    if n_episodes % n_processes or n_episodes // n_processes < num_envs:
        raise ValueError(
            f"config.n_episodes must be a multiple of {n_processes} process(es), and at least "
            f"num_envs={num_envs} for each, got {n_episodes}"
        )


def _require_values(name: str, config: PolicyGradientConfig, policy: CausalLMPolicy) -> None:
    if config.learns_values == (policy.value_head is None):
        needed = "'shared' or 'separate'" if config.learns_values else "'none'"
        raise ValueError(
            f"the policy of {name} must have value_network {needed}, got "
            f"{policy.options.value_network!r}: PolicyConfig sets it"
        )
    if config.learns_action_values != policy.options.action_values:
        raise ValueError(
            f"the policy of {name} must have action_values {config.learns_action_values}, got "
            f"{policy.options.action_values}: PolicyConfig sets it"
        )

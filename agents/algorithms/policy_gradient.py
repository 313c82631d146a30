"""The loop that every policy-gradient algorithm walks: collect, forward, advantage, update, adapt.

An algorithm says how credit is assigned (`advantages`) and what is minimised (`loss`), and nothing
else; one that does not move by minibatches under Adam has an `update` of its own. The mathematics
is in `agents.objectives`; the environment is any vector environment with the observation contract
of `agents.rollout`. No algorithm is known here by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, Self, TypeVar

import torch
from torch import Tensor

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
    writer_metrics,
)
from agents.algorithms.episodic_learner import EpisodicLearner
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.health_checks import (
    memory_advice,
    require_bounded,
    require_bounded_kl,
    require_no_kl,
    require_ratio_one,
    require_sound_sampling,
    require_sound_step,
    warn_of_collapse,
    warn_of_equal_scores,
)
from agents.algorithms.weighing import WEIGHTS, Weighs, weighed
from agents.distributed import processes
from agents.objectives.kl import exact_kl, kl_loss, kl_penalised_rewards, sampled_kl
from agents.objectives.losses import token_mean
from agents.objectives.masked import masked_mean, whiten
from agents.objectives.statistics import ratio_statistics
from agents.policy.causal_lm import PolicyOutputs, forward_in_chunks
from agents.policy.token_batch import TokenBatch, stacked
from agents.rollout.buffer import Rollout, concatenated_rollouts
from agents.rollout.timer import Timer

C = TypeVar("C", bound=PolicyGradientConfig)

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


class PolicyGradient(EpisodicLearner[C]):
    """Fine-tunes a policy on feedback, held near a frozen reference by a KL penalty.

    Arguments and attributes are those of `EpisodicLearner`.
    """

    # What an algorithm says.

    @property
    def weighs(self) -> Weighs:
        """What counts more or less where a writer wrote in the policy's place."""
        return "tokens"

    @property
    def needs_distributions(self) -> bool:
        """Whether the forward passes of an update give whole distributions, and action values."""
        return self.config.kl_in == "loss" and self.config.kl_estimator == "exact"

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

    def added_up(self, terms: Tensor, mask: Tensor, totals: StepTotals) -> Tensor:
        """Adds up terms of tokens (B, T) with the weights that they have in the policy's loss.

        KL in the loss needs the same weights, or `kl_coef` is not the price of a nat. By default
        it is the mean over the step's tokens.
        """
        return token_mean(terms, mask, totals.n_tokens)

    # The loop.

    def learn(self, total_episodes: int) -> Self:
        """Trains until `total_episodes` have been learnt from, those of earlier calls included.

        Episodes come in batches of `config.n_episodes`, so the last may overshoot.

        Raises:
            ValueError: If `total_episodes` is no int of at least 1.
            TrainingStopped: If a number is not what it must be, or memory runs out; the message
                says what to change. The policy stands as it was before the step that went wrong.
        """
        self._begin(total_episodes)
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
            if not self._goes_on(metrics):
                break
        for callback in self.callbacks:
            callback.on_training_end(self)
        return self

    def collect(self) -> Rollout:
        """Lets the policy write this process's share of `config.n_episodes` texts."""
        share, seed = self.config.n_episodes // processes.world_size(), self._first_seed()
        with torch.no_grad(), self.policy.autocasting():
            rollout = self._collect_rollout(
                self.policy, self.envs, share, self.sampling, seed=seed, timer=self.timer
            )
        return rollout.to(self.policy.device)

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
        credit = self.credit(rollout, old, ref_log_probs)
        metrics |= advantage_metrics(credit.advantages, credit.returns, old.values, mask)
        advantages = credit.advantages
        if self.config.normalize_advantage:
            advantages = whiten(advantages, mask)
        experience = Experience(
            rollout.texts, old.log_probs, ref_log_probs, old.values, advantages, credit.returns
        )
        if self.writer is not None:
            return self._weighed(rollout, experience, metrics)
        return experience, metrics

    def _weighed(
        self, rollout: Rollout, experience: Experience, metrics: dict[str, float]
    ) -> tuple[Experience, dict[str, float]]:
        """Lets texts of a writer count as the policy's, and says how far they are from that."""
        old, written = experience.old_log_probs, rollout.log_probs
        metrics |= writer_metrics(old, written, rollout.texts.completion_mask)
        return weighed(experience, written, self.weighs), metrics

    def credit(self, rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor) -> Credit:
        """Returns what each token is credited with, for its reward and the KL penalty in it."""
        rewards = rollout.rewards.to(old.log_probs.dtype)
        if self.config.kl_in == "reward":
            mask, kl_coef = rollout.texts.completion_mask, self.kl_controller.kl_coef
            rewards = kl_penalised_rewards(rewards, old.log_probs, ref_log_probs, mask, kl_coef)
        return self.advantages(rollout, rewards, old)

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
        new = self.policy(part.texts, distributions=self.needs_distributions)
        loss, statistics = self.loss(part, new, totals)
        if self.config.kl_in == "loss":
            kl = self._kl(part, new)
            loss = loss + self.kl_controller.kl_coef * self.added_up(kl, mask, totals)
            per_completion = kl_loss(kl.detach(), mask, n_tokens=totals.n_episodes)
            statistics = statistics | {"kl_loss": Statistic(per_completion.item())}
        ratios = ratio_statistics(new.log_probs, part.old_log_probs, mask)
        entropy = float(masked_mean(new.entropies.detach(), mask))
        moved = movement_statistics(ratios, entropy, share)
        return loss, {"loss": Statistic(loss.item()), **statistics, **moved}

    def _kl(self, part: Experience, new: PolicyOutputs) -> Tensor:
        """Returns the KL from the reference at every token, (B, T)."""
        mask, kind = part.texts.completion_mask, self.config.kl_estimator
        if kind == "exact":
            assert new.distributions is not None
            with torch.no_grad():
                ref_log_probs = self.reference.distributions(part.texts)
            exact = exact_kl(new.distributions, ref_log_probs)
            return torch.zeros_like(new.log_probs).masked_scatter(mask, exact)
        kl = sampled_kl(new.log_probs, part.ref_log_probs, mask, kind)
        return kl * part.extras.get(WEIGHTS, 1.0)

    def _step(self, statistics: Statistics) -> float:
        """Moves the parameters along the gradient, and returns its norm."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        grad_norm = float(processes.full_tensor(norm))
        require_sound_step(statistics["loss"].value, grad_norm, statistics["ratio_mean"].value)
        self.optimizer.step()
        if self.average:
            self.average.update()
        return grad_norm

    def _check(
        self, rollout: Rollout, experience: Experience, metrics: Mapping[str, float]
    ) -> None:
        """Stops or warns where a batch of texts shows that something is wrong."""
        require_bounded_kl(metrics["rollout/kl_per_token"], self.kl_controller.kl_coef)
        require_sound_sampling(metrics, self.policy.rounding)
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

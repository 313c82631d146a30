"""ACER: an actor-critic that learns from its earlier texts too.

Q by Retrace, importance weights that are cut and corrected for it over the whole vocabulary, and a
trust region around an averaged policy, in the space of each token's logits.

Source: Wang et al. 2017, "Sample efficient actor-critic with experience replay", arXiv:1611.01224.
The KL penalty in the rewards is the present policy's, for replayed texts too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.algorithms.configs.acer import ACERConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.algorithms.replay import Remembered, Replay
from agents.objectives.kl import kl_penalised_rewards
from agents.objectives.retrace import retrace_targets
from agents.objectives.truncated_importance import (
    bias_corrected_objective,
    trust_region_projection,
)
from agents.policy.causal_lm import PolicyOutputs, forward_in_chunks
from agents.policy.model.module_copy import copy_sharing_fixed
from agents.rollout.buffer import Rollout

_AVERAGE = "average_policy."


class ACER(PolicyGradient[ACERConfig]):
    """Fine-tunes a policy on feedback, on new texts and on earlier ones.

    Arguments and attributes are those of `EpisodicLearner`; the policy must have action values.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, PolicyConfig
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(action_values=True))
        >>> agent = ACER(policy, envs, ACERConfig(n_episodes=8, batch_size=8))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    config_class = ACERConfig
    shards = False
    takes_writer = False  # needs to know how likely every token was, and not only the written one

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._replay = Replay(self.config.replay_size, self._vocabulary_mask)
        self._average_policy = copy_sharing_fixed(self.policy).requires_grad_(False)
        self._averages = dict(self._average_policy.named_parameters())

    def estimate(
        self, rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor
    ) -> tuple[Experience, dict[str, float]]:
        """Remembers the batch with the distributions that it was drawn from."""
        experience, metrics = super().estimate(rollout, old, ref_log_probs)
        behaviour = self._distributions(experience)
        rewards = rollout.rewards.to(old.log_probs.dtype)
        remembered = Remembered(
            rollout.texts,
            rewards,
            ref_log_probs,
            torch.arange(len(rollout), device=rewards.device),
            rollout.truncated,
            {"behaviour_log_probs": behaviour},
        )
        self._replay.add(remembered)
        return self._experience(remembered, old), metrics

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Credits nothing yet: Retrace is computed in every step, from the Q of that step."""
        return Credit(torch.zeros_like(rewards))

    @property
    def needs_distributions(self) -> bool:
        """Whole distributions and action values are what a step is made of."""
        return True

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Returns a loss whose gradient is bent into the trust region, and the error of Q."""
        assert new.distributions is not None
        assert new.action_values is not None
        # Gradients with respect to normalised logits are those with respect to any others.
        logits = new.distributions.detach().requires_grad_()
        log_probs = logits.log_softmax(dim=-1)
        actions = batch.texts.input_ids[batch.texts.completion_mask]
        behaviour = self._behaviour(batch, log_probs)
        targets = self._targets(batch, new, log_probs.detach(), behaviour)
        wanted = self._objective(log_probs, behaviour, actions, new.action_values, targets)
        (ascent,) = torch.autograd.grad(wanted.sum(), logits)
        step = self._in_trust_region(ascent, batch, log_probs)
        bound = (step != ascent).any(dim=-1).float().mean().item()
        chosen_q = new.action_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        q_loss = 0.5 * (chosen_q - targets).square().sum() / totals.n_tokens
        # The value of the first term is 0; its gradient with respect to the logits is the step.
        moved = -(step * (new.distributions - new.distributions.detach())).sum() / totals.n_tokens
        return moved + self.config.vf_coef * q_loss, {
            "value_loss": Statistic(q_loss.item()),
            "trust_region_fraction": Statistic(batch.n_tokens / totals.n_tokens * bound),
        }

    def _objective(
        self,
        log_probs: Tensor,
        behaviour: Tensor,
        actions: Tensor,
        q_values: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """Returns what is maximised at each choice, (N,), entropy included."""
        config = self.config
        objective = bias_corrected_objective(
            log_probs, behaviour, actions, q_values.detach(), targets, config.max_weight
        )
        entropies = -(log_probs.exp() * log_probs.clamp(min=-1e4)).sum(dim=-1)
        return objective + config.ent_coef * entropies

    @torch.no_grad()
    def _in_trust_region(self, ascent: Tensor, part: Experience, log_probs: Tensor) -> Tensor:
        """Returns a direction (N, V) that hardly leads away from the averaged policy."""
        average = self._average_policy.distributions(part.texts).exp()
        max_kl = math.inf if self.config.max_kl is None else self.config.max_kl
        return trust_region_projection(ascent, log_probs.exp() - average, max_kl)

    def _behaviour(self, part: Experience, log_probs: Tensor) -> Tensor:
        """Returns log μ of every token at every choice, (N, V)."""
        return part.extras["behaviour_log_probs"][part.texts.completion_mask].to(log_probs.dtype)

    def update(self, experience: Experience) -> dict[str, float]:
        """Learns from the new batch, then from batches drawn from all that are remembered."""
        metrics = super().update(experience)
        for _ in range(min(self.config.replay_ratio, len(self._replay) - 1)):
            remembered = self._replay.draw(self.config.n_episodes, self.shuffling)
            chunk = self.config.micro_batch_size or self.config.batch_size
            now = forward_in_chunks(self.policy, remembered.texts, chunk)
            super().update(self._experience(remembered, now))
        return metrics

    def tensors(self) -> dict[str, Tensor]:
        """Returns averaged parameters, the averaged policy, and what is remembered."""
        learning = self.policy.trainable_parameters()
        average = {
            f"{_AVERAGE}{name}": part for name, part in self._averages.items() if name in learning
        }
        return super().tensors() | average | self._replay.tensors()

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned."""
        left = self._replay.load_tensors(tensors, self.policy.device)
        learning = self.policy.trainable_parameters()
        for name, part in self._averages.items():
            if name in learning:
                part.copy_(left.pop(f"{_AVERAGE}{name}"))
        super().load_tensors(left)

    def _experience(self, remembered: Remembered, now: PolicyOutputs) -> Experience:
        return Experience(
            remembered.texts,
            now.log_probs,
            remembered.ref_log_probs,
            None,
            torch.zeros_like(now.log_probs),
            None,
            {
                "rewards": remembered.rewards,
                "truncated": remembered.truncated,
                **remembered.extras,
            },
        )

    @torch.no_grad()
    def _distributions(self, experience: Experience) -> Tensor:
        """Returns log μ of every token at every chosen position, (B, T, V), in half precision."""
        texts = experience.texts
        shape = (*texts.input_ids.shape, self.policy.vocab_size)
        everywhere = torch.zeros(shape, dtype=torch.float16, device=texts.input_ids.device)
        chunk = self.config.micro_batch_size or self.config.batch_size
        for rows in torch.arange(len(texts.input_ids), device=everywhere.device).split(chunk):
            part = texts.select(rows)
            width = part.input_ids.shape[1]
            block = everywhere.new_zeros((len(rows), width, shape[2]))
            block[part.completion_mask] = self.policy.distributions(part).to(torch.float16)
            everywhere[rows, :width] = block
        return everywhere

    @torch.no_grad()
    def _targets(
        self, part: Experience, new: PolicyOutputs, log_probs: Tensor, behaviour: Tensor
    ) -> Tensor:
        """Returns Q^ret of every choice, (N,), by the policy and the Q of now."""
        assert new.action_values is not None
        assert new.bootstrap_values is not None
        mask = part.texts.completion_mask
        chosen = part.texts.input_ids[mask].unsqueeze(-1)

        def placed(values: Tensor) -> Tensor:
            everywhere = values.new_zeros(mask.shape)
            everywhere[mask] = values
            return everywhere

        now = placed(log_probs.gather(-1, chosen).squeeze(-1))
        then = placed(behaviour.gather(-1, chosen).squeeze(-1))
        rewards = kl_penalised_rewards(
            part.extras["rewards"].to(now.dtype),
            now,
            part.ref_log_probs,
            mask,
            self.kl_controller.kl_coef,
        )
        values = (log_probs.exp() * new.action_values).sum(dim=-1)
        truncated = part.extras["truncated"]
        targets = retrace_targets(
            rewards,
            placed(new.action_values.gather(-1, chosen).squeeze(-1)),
            placed(values),
            (now - then).exp(),
            mask,
            torch.where(truncated, new.bootstrap_values.to(rewards.dtype), 0),
            gamma=self.config.gamma,
        )
        return targets[mask]

    @torch.no_grad()
    def _step(self, statistics: Statistics) -> float:
        """Moves the parameters, and the averaged policy a little after them."""
        norm = super()._step(statistics)
        for name, parameter in self.policy.trainable_parameters().items():
            if name in self._averages:
                self._averages[name].lerp_(parameter, 1 - self.config.average_decay)
        return norm

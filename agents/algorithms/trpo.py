"""Trust region policy optimisation: one natural-gradient step per update, searched for in a region.

The region is the exact KL(π_old ‖ π) over the vocabulary, averaged over tokens. The direction
solves F s = g by conjugate gradient, F being the Fisher matrix of the policy; the step along it
shrinks until the surrogate has grown within the region, or is taken back, bit for bit.

Source: Schulman et al. 2015, "Trust region policy optimization", arXiv:1502.05477. Advantages are
PPO's: GAE of rewards that hold the KL penalty.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from agents.algorithms.configs.trpo import TRPOConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.health_checks import require_sound_step
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.distributed import processes
from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.kl import exact_kl
from agents.objectives.losses import clipped_value_loss
from agents.objectives.masked import masked_sum
from agents.objectives.trust_region import (
    LineSearch,
    backtracking_line_search,
    conjugate_gradient,
    fisher_vector_product,
    flat_gradient,
    longest_step,
)
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout


class TRPO(PolicyGradient[TRPOConfig]):
    """Fine-tunes a policy on feedback by steps that stay in a trust region.

    Arguments and attributes are those of `EpisodicLearner`. Of a value function on the policy's own
    trunk only the head learns: what the policy shares with it moves within the region alone.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config)
        >>> agent = TRPO(policy, envs, TRPOConfig(n_episodes=8, batch_size=8))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    config_class = TRPOConfig
    shards = False

    def optimized_parameters(self) -> list[nn.Parameter]:
        """Returns those of the value function; the policy's move in `update`."""
        return self._learning(of_values=True)

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Estimates advantages by GAE; an episode that was cut off goes on in its value."""
        assert old.values is not None
        assert old.bootstrap_values is not None
        return Credit(
            *generalized_advantage_estimation(
                rewards,
                old.values,
                rollout.texts.completion_mask,
                torch.where(rollout.truncated, old.bootstrap_values, 0),
                gamma=self.config.gamma,
                gae_lambda=self.config.gae_lambda,
            )
        )

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Returns the loss of the value function."""
        assert new.values is not None
        assert batch.old_values is not None
        assert batch.returns is not None
        mask, n_tokens = batch.texts.completion_mask, totals.n_tokens
        loss = clipped_value_loss(
            new.values, batch.old_values, batch.returns, mask, None, n_tokens=n_tokens
        ).loss
        return loss, {"value_loss": Statistic(loss.item())}

    def update(self, experience: Experience) -> dict[str, float]:
        """Fits the values while the policy stands still, then moves the policy once."""
        policy_parameters = self._learning(of_values=False)
        with _fixed(policy_parameters):
            metrics = super().update(experience)
        search, surrogate, grad_norm = self._natural_step(experience, policy_parameters)
        if self.average:
            self.average.update()
        return metrics | {
            "train/surrogate_gain": search.objective - surrogate if search.factor else 0.0,
            "train/step_kl": search.kl if search.factor else 0.0,
            "train/line_search_factor": search.factor,
            "train/policy_grad_norm": grad_norm,
        }

    def _natural_step(
        self, experience: Experience, parameters: list[nn.Parameter]
    ) -> tuple[LineSearch, float, float]:
        """Moves the policy, and returns what the search found, and where it started from.

        Returns:
            The search, the surrogate before it, and the norm of the surrogate's gradient.
        """
        config = self.config
        parts = self._parts(experience)
        n_tokens = experience.n_tokens
        with self.timer("forward"):
            start, gradient = self._surrogate_and_gradient(parts, parameters, n_tokens)
            old = [self._distributions(part) for part in parts]
        grad_norm = float(gradient.norm())
        require_sound_step(-start, grad_norm, 1.0)
        if grad_norm == 0:
            return LineSearch(0.0, start, 0.0), start, grad_norm

        def product(vector: Tensor) -> Tensor:
            return self._fisher_product(parts, parameters, vector, n_tokens)

        with self.timer("backward"):
            direction = conjugate_gradient(product, gradient, max_iterations=config.cg_iterations)
            step = longest_step(direction, product(direction), config.max_kl)
        before = [parameter.detach().clone() for parameter in parameters]
        origin = parameters_to_vector(before)

        def evaluate(factor: float) -> tuple[float, float]:
            vector_to_parameters(origin + factor * step, parameters)
            return self._surrogate_and_kl(parts, old, n_tokens)

        with self.timer("optimizer"), torch.no_grad():
            search = backtracking_line_search(
                evaluate,
                start,
                max_kl=config.max_kl,
                shrink=config.line_search_shrink,
                max_trials=config.line_search_trials,
            )
            if not search.factor:
                for parameter, value in zip(parameters, before, strict=True):
                    parameter.copy_(value)
        return search, start, grad_norm

    def _parts(self, experience: Experience) -> list[Experience]:
        """Returns this process's share of the episodes, a micro-batch at a time."""
        shard = experience.rank_shard(processes.rank(), processes.world_size())
        size = self.config.micro_batch_size or self.config.batch_size
        return [] if shard is None else list(shard.split(size))

    def _surrogate(self, part: Experience, log_probs: Tensor, n_tokens: int) -> Tensor:
        """Returns a micro-batch's share of (1/n) Σ A π/π_old."""
        log_ratio = log_probs - part.old_log_probs
        mask = part.texts.completion_mask
        return masked_sum(torch.where(mask, log_ratio, 0).exp() * part.advantages, mask) / n_tokens

    def _surrogate_and_gradient(
        self, parts: list[Experience], parameters: list[nn.Parameter], n_tokens: int
    ) -> tuple[float, Tensor]:
        value = torch.zeros((), dtype=torch.float64)
        gradient = torch.zeros_like(parameters_to_vector(parameters)).detach()
        for part in parts:
            surrogate = self._surrogate(part, self.policy(part.texts).log_probs, n_tokens)
            value += surrogate.item()
            gradient += flat_gradient(surrogate, parameters)
        return float(processes.all_reduce_sum(value)), processes.all_reduce_sum(gradient)

    @torch.no_grad()
    def _distributions(self, part: Experience) -> Tensor:
        return self.policy.distributions(part.texts)

    def _fisher_product(
        self, parts: list[Experience], parameters: list[nn.Parameter], vector: Tensor, n_tokens: int
    ) -> Tensor:
        """Returns (F + damping I) v; memory holds the graph of one micro-batch at a time."""
        total = torch.zeros_like(vector)
        # Only plain attention can be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            for part in parts:
                now = self.policy.distributions(part.texts)
                kl = exact_kl(now.detach(), now).sum() / n_tokens
                total += fisher_vector_product(kl, parameters)(vector)
        return processes.all_reduce_sum(total) + self.config.cg_damping * vector

    @torch.no_grad()
    def _surrogate_and_kl(
        self, parts: list[Experience], old: list[Tensor], n_tokens: int
    ) -> tuple[float, float]:
        both = torch.zeros(2, dtype=torch.float64)
        for part, distributions in zip(parts, old, strict=True):
            now = self.policy(part.texts, distributions=True)
            both[0] += self._surrogate(part, now.log_probs, n_tokens).item()
            both[1] += exact_kl(distributions, now.distributions).sum().item() / n_tokens
        surrogate, kl = processes.all_reduce_sum(both).tolist()
        return surrogate, kl

    def _learning(self, *, of_values: bool) -> list[nn.Parameter]:
        """Returns the parameters that learn, of the value function or of the policy."""
        return [
            parameter
            for name, parameter in self.policy.trainable_parameters().items()
            if name.startswith("value_") == of_values
        ]


@contextmanager
def _fixed(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Lets parameters stand still, and no gradient be computed for them."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)

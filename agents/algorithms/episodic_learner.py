"""What a learner keeps that writes its own texts: environments, reference, random streams.

Does not know what is learnt from the texts, nor the loop in which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig
from agents.algorithms.learner import Learner
from agents.algorithms.trainable import require_learning, require_policy, require_reference
from agents.callbacks import Callback
from agents.checkpoints.models import load_models
from agents.distributed import processes
from agents.distributed.sharding import shard
from agents.objectives.kl_controller import kl_controller
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.prediction import next_tokens
from agents.rollout.collect import collect_rollout
from agents.rollout.dictation import collect_dictated, require_dictation
from agents.rollout.fit import (
    heed_ends,
    require_fit,
    text_length,
    vocabulary_mask,
    warn_of_unheeded_ends,
)
from agents.rollout.timer import Timer
from agents.rollout.writers.text_writer import TextWriter

C = TypeVar("C", bound=PolicyGradientConfig)


class EpisodicLearner(Learner[C, CausalLMPolicy]):
    """Keeps what writing texts and measuring KL from a reference takes.

    Args:
        policy: The policy to train, in place. If its model ends texts at none of the tokens at
            which `envs` end them, it does at those from now on, wherever it is saved.
        envs: A vector environment with `input_ids` and `attention_mask`, autoreset mode DISABLED
            (or SAME_STEP).
        config: The hyperparameters.
        reference: What the KL is measured from: no tensor of it may learn with the policy, whose
            vocabulary it has; None: a frozen copy of the policy as it stands.
        callbacks: Called at fixed points.
        writer: An engine that writes the texts in the policy's place; None: the policy does.

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
    takes_writer: ClassVar[bool] = True
    """Whether it can learn from texts of which only the written tokens' log-probs are known."""
    shards: ClassVar[bool] = True
    """Whether it can move a policy of which each process has a share."""
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
        writer: TextWriter | None = None,
    ) -> None:
        settings: C = config or self.config_class()  # type: ignore[assignment]
        require_policy(policy)
        require_fit(policy, envs)
        warn_of_unheeded_ends(policy, envs)
        heed_ends(policy, envs)
        if writer is not None:
            require_dictation(envs)
            if not self.takes_writer:
                name = type(self).__name__
                raise ValueError(f"writer must be None for {name}, got {type(writer).__name__}")
        _require_share(settings.n_episodes, envs.num_envs)
        _require_values(type(self).__name__, settings, policy)
        require_learning(policy)
        processes.broadcast_from_main(policy.trainable_parameters().values())
        self._reference_is_start = reference is None
        self.reference = policy.frozen_copy() if reference is None else reference
        require_reference(self.reference, policy, text_length(envs))
        self._share_out(policy, settings, writer)
        super().__init__(policy, settings, callbacks)
        self.envs = envs
        self.writer = writer
        self._collect_rollout = partial(collect_dictated, writer) if writer else collect_rollout
        self._vocabulary_mask = vocabulary_mask(envs)
        self.kl_controller = kl_controller(
            settings.kl_coef, settings.kl_target, settings.kl_horizon
        )
        seeds = np.random.SeedSequence(settings.seed).generate_state(3).tolist()
        # Processes sample texts of their own, and shuffle the joint batch alike.
        self.sampling = torch.Generator(policy.device).manual_seed(seeds[0] + processes.rank())
        self.shuffling = torch.Generator().manual_seed(seeds[1])
        self.predicting = torch.Generator(policy.device).manual_seed(seeds[2])
        self.timer = Timer(policy.device)
        self._has_reset = False

    def _share_out(self, policy: CausalLMPolicy, config: C, writer: TextWriter | None) -> None:
        """Shares policy and reference out over processes, where the policy's options ask for it."""
        if policy.options.sharded:
            self._require_shards(config, writer)
            shard(policy)
            shard(self.reference)

    def _require_shards(self, config: C, writer: TextWriter | None) -> None:
        """Refuses what cannot be with a policy that is shared out."""
        name, n = type(self).__name__, processes.world_size()
        if not self.shards:
            raise ValueError(f"policy.sharded must be False for {name}, got True")
        if writer is not None:
            raise ValueError(
                "writer must be None where policy.sharded is True, for no engine finds the shares, "
                f"got {type(writer).__name__}"
            )
        if config.n_episodes % config.batch_size or config.batch_size % n:
            raise ValueError(
                "config.n_episodes must be a multiple of batch_size, and that of the number of "
                f"processes, {n}, where policy.sharded is True, got {config.n_episodes} and "
                f"{config.batch_size}"
            )

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
        writer: TextWriter | None = None,
    ) -> Self:
        """Loads what `save` wrote; `learn` goes on from there.

        Args:
            path: Where it was saved.
            envs: Made as those of the agent that was saved. Their layers and the number of rows are
                compared; prompts and rewards are not, as a checkpoint holds what changes.
            callbacks: Called at fixed points; those that were saved go on.
            writer: An engine that writes the texts in the policy's place.

        Raises:
            FileNotFoundError, CheckpointError: If there is no checkpoint with models, it is
                damaged, or of another algorithm.
            ValueError: If what was saved and `envs` do not fit together.
        """
        saved = load_models(Path(path), cls._saved_config)
        agent = cls(
            saved.policy,
            envs,
            saved.config,
            reference=saved.reference,
            callbacks=callbacks,
            writer=writer,
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

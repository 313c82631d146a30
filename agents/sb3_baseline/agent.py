"""Stable-Baselines3's PPO on text, in the shape of our own: `SB3PPO`.

The algorithm is SB3's, untouched; this file decides what it learns with and how much at a time, and
reports what it did as `agents.PPO` does: the same callbacks with the same metrics, against
episodes. The environment is any vector environment with the observation contract of
`agents.rollout.collect`, without action masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.diagnostics import timing_metrics
from agents.algorithms.health_checks import require_bounded
from agents.algorithms.trainable import require_total_episodes
from agents.callbacks import Callback
from agents.objectives.schedules import SCHEDULES
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.rollout.buffer import Rollout
from agents.rollout.timer import Timer
from agents.sb3_baseline.features import length_of
from agents.sb3_baseline.hyperparameters import sb3_arguments, update_sizes
from agents.sb3_baseline.metrics import buffer_metrics, collected_metrics, update_metrics
from agents.sb3_baseline.networks import Network, policy_arguments, start_like
from agents.sb3_baseline.text_recorder import TextRecorder
from agents.sb3_baseline.vec_env import MeasuredVecEnv, require_no_masks


@dataclass
class LearningRate:
    """A schedule for SB3 that says what it is told, because SB3's own count steps."""

    value: float

    def __call__(self, progress_remaining: float) -> float:
        """Returns the learning rate of this update."""
        return self.value


class SB3PPO:
    """Trains a policy of Stable-Baselines3 by its PPO, and reports as `agents.PPO` does.

    Every update takes as many steps as our PPO's would on average: `config.n_episodes` times the
    mean length of texts, which is the last update's steps per text that ended. Texts that are
    unfinished at the end of an update go on in the next, and count when they end.

    SB3 sets the global random states to `config.seed`, and draws from them.

    Args:
        network: `"mlp"` on one-hots of the whole text, or `"transformer"`, that of `start`.
        start: The policy whose first distribution SB3's starts from; the transformer starts from
            its weights and values too. It stays as it is.
        envs: A vector environment with `input_ids` and `attention_mask`, autoreset mode DISABLED.
        config: The hyperparameters, in our terms; `agents.sb3_baseline.hyperparameters` translates.
        mean_length: Of the first texts, in tokens: it sizes the first update.
        reference: What the KL that is reported is measured from; None reports none.
        callbacks: Called at the points at which `agents.PPO` calls them, with this agent.

    Attributes:
        model: The `stable_baselines3.PPO`.
        n_episodes: Episodes that have ended so far.
        n_updates: Updates made so far.

    Raises:
        ValueError: If `config` or the environments ask for what SB3's PPO cannot do.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> gpt2 = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> start = CausalLMPolicy.from_config(gpt2)
        >>> config = PPOConfig(n_episodes=8, batch_size=8, kl_coef=0.0)
        >>> agent = SB3PPO("mlp", start, envs, config, mean_length=20.0)
        >>> agent.learn(total_episodes=8).n_episodes >= 8
        True
    """

    average: None = None
    """It averages no weights; runs ask."""

    def __init__(
        self,
        network: Network,
        start: CausalLMPolicy,
        envs: VectorEnv[Any, Any, Any],
        config: PPOConfig,
        *,
        mean_length: float,
        reference: CausalLMPolicy | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        space = envs.single_observation_space
        assert isinstance(space, spaces.Dict)
        arguments = sb3_arguments(config)
        require_no_masks(envs, config.seed)
        sizes = update_sizes(config, envs.num_envs, mean_length)
        self.config = config
        self.envs = MeasuredVecEnv(envs)
        self.reference = reference
        self.callbacks = list(callbacks)
        self.n_episodes = 0
        self.n_updates = 0
        self._mean_length = mean_length
        self._learning_rate = LearningRate(config.learning_rate)
        self._recorder = TextRecorder(envs.num_envs, length_of(space), self._on_rollout_end)
        self._rollout: Rollout | None = None
        self.model = PPO(
            "MultiInputPolicy",
            self.envs,
            self._learning_rate,
            sizes.n_steps,
            batch_size=sizes.n_steps * envs.num_envs,  # until the first update: divides evenly
            policy_kwargs=policy_arguments(network, start, space, config.adam_epsilon),
            device=start.device,
            **arguments,
        )
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        start_like(self.model.policy, network, start)

    @property
    def policy(self) -> ActorCriticPolicy:
        """What learns: SB3's own."""
        return self.model.policy

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.config.seed

    def learn(self, total_episodes: int) -> Self:
        """Trains until `total_episodes` have ended, those of earlier calls included.

        Raises:
            ValueError: If that is no int of at least 1.
        """
        require_total_episodes(total_episodes)
        for callback in self.callbacks:
            callback.on_training_start(self, total_episodes)
        while self.n_episodes < total_episodes:
            progress_remaining = 1 - self.n_episodes / total_episodes
            factor = SCHEDULES[self.config.lr_schedule](progress_remaining)
            self._learning_rate.value = self.config.learning_rate * factor
            metrics = self._update()
            goes_on = [callback.on_update_end(self, metrics) for callback in self.callbacks]
            if any(answer is False for answer in goes_on):
                break
        for callback in self.callbacks:
            callback.on_training_end(self)
        return self

    def save(self, path: str | Path) -> None:
        """Saves SB3's model in its own format, which `stable_baselines3.PPO.load` reads."""
        self.model.save(path)

    def _update(self) -> dict[str, float]:
        """Lets SB3 collect and learn, and returns the metrics.

        Once; or, where no text ended in so few steps, until one has, as if it were one update.
        """
        timer = self.envs.timer = self._recorder.timer = Timer()
        self._rollout, n_tokens = None, 0
        while self._rollout is None:
            self._resize()
            steps = self.model.n_steps * self.envs.num_envs
            self.model.learn(steps, callback=self._recorder, reset_num_timesteps=False)
            self.n_updates += 1
            n_tokens += steps
        rollout = self._rollout
        # Not the mean of those that ended, among which few steps let the short ones prevail.
        self._mean_length = n_tokens / len(rollout)
        self.n_episodes += len(rollout)
        logged = self.model.logger.name_to_value
        timer.seconds["score"] += 0.0  # the reference is not part of SB3's algorithm
        return {
            **collected_metrics(rollout, self._ref_log_probs(rollout)),
            **buffer_metrics(self.model.rollout_buffer),
            **update_metrics(logged, self.config.vf_coef, self.config.ent_coef),
            **timing_metrics(timer, n_tokens, len(rollout)),
        }

    def _resize(self) -> None:
        """Sizes the next update by the mean length of the last texts."""
        sizes = update_sizes(self.config, self.envs.num_envs, self._mean_length)
        model = self.model
        model.batch_size = sizes.batch_size
        if model.n_steps == sizes.n_steps:
            return
        assert model.rollout_buffer_class is not None
        model.n_steps = sizes.n_steps
        model.rollout_buffer = model.rollout_buffer_class(
            sizes.n_steps,
            model.observation_space,
            model.action_space,
            device=model.device,
            gamma=model.gamma,
            gae_lambda=model.gae_lambda,
            n_envs=model.n_envs,
        )

    def _on_rollout_end(self, rollout: Rollout) -> None:
        require_bounded("rewards", rollout.rewards, rollout.named)
        self._rollout = rollout
        for callback in self.callbacks:
            callback.on_rollout_end(self, rollout)

    def _ref_log_probs(self, rollout: Rollout) -> Any:
        if self.reference is None:
            return None
        chunk = self.config.micro_batch_size or self.config.batch_size
        texts = rollout.texts.to(self.reference.device)
        return forward_in_chunks(self.reference, texts, chunk).log_probs.cpu()

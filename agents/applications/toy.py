"""The toy: `TextGen-v0` as it stands, from an untrained policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin

if TYPE_CHECKING:
    import gymnasium as gym

    from agents.policy.causal_lm import CausalLMPolicy
    from agents.policy.config import PolicyConfig

EOS_PROBABILITY = 0.2


def untrained(env: gym.Env[Any, Any], seed: int, options: PolicyConfig) -> CausalLMPolicy:
    """Returns a policy that ends a text with probability 0.2 at every token.

    Args:
        env: Whose vocabulary it has.
        seed: Of its weights.
        options: How it becomes a policy.

    Raises:
        ValueError: If the environment does not say which token ends a text.
    """
    from agents.applications.toy_policy import toy_policy
    from agents.policy.causal_lm import CausalLMPolicy

    if not env.has_wrapper_attr("tokenizer"):
        raise ValueError(f"model toy needs an environment with a tokenizer, got {env}")
    spaces: Any = (env.action_space, env.observation_space)
    toy = toy_policy(
        int(spaces[0].n),
        env.get_wrapper_attr("tokenizer").eos_token_id,
        length=spaces[1]["input_ids"].shape[0],
        eos_probability=EOS_PROBABILITY,
        seed=seed,
    )
    return CausalLMPolicy(toy.model, options)


TOY = Application(
    name="toy",
    description=(
        "TextGen-v0 as it stands, from a policy that ends with probability 0.2 at every word."
    ),
    preset=FineTuning(
        model="toy",
        prompts="How are you?",
        reward="word_count",
        prompt_template="{prompt}",
        max_new_tokens=20,
        total_episodes=1536,
        num_envs=64,
        algorithm=PPOConfig(learning_rate=3e-3, n_episodes=64, batch_size=32, kl_coef=0.0),
    ),
    others=(
        TrajectoryBalanceConfig(  # those of benchmarks/contestants.py, for twice as many texts
            learning_rate=3e-3,
            lr_schedule="constant",
            n_episodes=64,
            batch_size=32,
            group_size=8,
            kl_coef=0.03,
            replay_size=128,
            replay_ratio=8,
        ),
    ),
    policies={"toy": untrained},
    origins={"toy": Origin("Made for the run: it has learnt nothing before.", language=None)},
)

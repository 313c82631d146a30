"""The toy: `TextGen-v0` as it stands, from an untrained policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning

if TYPE_CHECKING:
    from agents.policy.causal_lm import CausalLMPolicy
    from agents.policy.config import PolicyConfig

EOS_PROBABILITY = 0.2


def untrained(config: FineTuning, options: PolicyConfig) -> tuple[CausalLMPolicy, None]:
    """Returns a policy that ends a text with probability 0.2 at every token."""
    import text_gym
    from agents.applications.toy_policy import toy_policy
    from agents.policy.causal_lm import CausalLMPolicy

    env = text_gym.TextGenEnv(max_new_tokens=config.max_new_tokens)
    toy = toy_policy(
        env.tokenizer.vocab_size,
        env.tokenizer.eos_token_id,
        length=env.task.max_length + (config.max_response_tokens or 0),
        eos_probability=EOS_PROBABILITY,
        seed=config.algorithm.seed,
    )
    return CausalLMPolicy(toy.model, options), None


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
    policies={"toy": untrained},
)

"""What differs between the learners of a run: how each is built, evaluated and saved.

The order of a run is `agents.runs.pipeline`, the same for all. A new algorithm of our own is a name
in `_OWN`; a learner of another kind is one more `Learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gymnasium.vector import VectorEnv

from agents.algorithms.acer import ACER
from agents.algorithms.configs.sb3_ppo import SB3PPOConfig
from agents.algorithms.expert_iteration import ExpertIteration
from agents.algorithms.grpo import GRPO
from agents.algorithms.policy_gradient import PolicyGradient
from agents.algorithms.ppo import PPO
from agents.algorithms.reinforce import REINFORCE
from agents.algorithms.rloo import RLOO
from agents.algorithms.trajectory_balance import TrajectoryBalance
from agents.algorithms.trpo import TRPO
from agents.applications.fine_tuning import FineTuning
from agents.distributed import processes
from agents.distributed.sharding import whole
from agents.evaluation.evaluate import describe, evaluate
from agents.evaluation.metrics import Evaluation
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.fit import text_length
from agents.rollout.writers.text_writer import TextWriter
from agents.runs.final_policies import save_model
from agents.runs.shared_evaluation import evaluate_together

Envs = VectorEnv[Any, Any, Any]


class Learner(NamedTuple):
    """Says how a run deals with an agent.

    Attributes:
        build: Policy to start from, environments to learn in and others for evaluation, config →
            the agent.
        evaluate: Agent, environments, config → what its policy writes.
        save: Agent, tokenizer, path → its policy there; all processes call it, the first writes.
        resumable: Whether it has checkpoints, and a run that was stopped goes on from the last.
    """

    build: Callable[[CausalLMPolicy, Envs, Envs, FineTuning], Any]
    evaluate: Callable[[Any, Envs, FineTuning], Evaluation]
    save: Callable[[Any, Any, Path], None]
    resumable: bool


def _policy_gradient(algorithm: type[PolicyGradient[Any]]) -> Learner:
    def build(policy: CausalLMPolicy, envs: Envs, _: Envs, config: FineTuning) -> Any:
        return algorithm(
            policy, envs, config.algorithm, writer=_writer(config.writer, policy, envs)
        )

    return Learner(build, _evaluate_own, _save_own, resumable=True)


def _writer(name: str, policy: CausalLMPolicy, envs: Envs) -> TextWriter | None:
    """Returns the engine of a name; None: `own`."""
    if name == "own":
        return None
    if name == "vllm":
        from agents.rollout.writers.vllm_engine import VLLMWriter

        return VLLMWriter(policy, max_model_len=text_length(envs))
    from agents.rollout.writers.continuous_batching import TransformersWriter

    return TransformersWriter()


def _evaluate_own(agent: PolicyGradient[Any], envs: Envs, config: FineTuning) -> Evaluation:
    seed, kl_coef = config.algorithm.seed, config.algorithm.kl_coef
    n_episodes = config.eval_episodes
    return evaluate_together(
        agent.policy, agent.reference, envs, n_episodes, seed=seed, kl_coef=kl_coef
    )


def _save_own(agent: PolicyGradient[Any], tokenizer: Any, path: Path) -> None:
    policy = whole(agent.policy)
    if policy is not None:
        save_model(policy, tokenizer, path)


def _build_sb3(start: CausalLMPolicy, envs: Envs, eval_envs: Envs, config: FineTuning) -> Any:
    """Returns SB3's PPO, sized by the length of what the run's model writes.

    Raises:
        ValueError: If the run asks for what SB3's PPO cannot do.
    """
    from agents.sb3_baseline.agent import SB3PPO
    from agents.sb3_baseline.hyperparameters import sb3_arguments

    algorithm, n_processes = config.algorithm, processes.world_size()
    assert isinstance(algorithm, SB3PPOConfig)
    if config.responder is not None:
        raise ValueError(
            f"responder must be None for sb3-ppo, which is reported by texts of one turn, got "
            f"{config.responder!r}"
        )
    if config.writer != "own":
        raise ValueError(f"writer must be 'own' for sb3-ppo, got {config.writer!r}")
    sb3_arguments(algorithm)  # refuses what it must before anything is written
    if n_processes > 1:
        raise ValueError(f"sb3-ppo must learn in one process, got {n_processes}")
    reference = start.to("cpu").frozen_copy()  # where SB3 keeps what it collects
    written = evaluate(start, reference, eval_envs, config.eval_episodes, seed=algorithm.seed)
    mean_length = written.figures["length"]
    network = algorithm.network
    return SB3PPO(network, start, envs, algorithm, mean_length=mean_length, reference=reference)


def _evaluate_sb3(agent: Any, envs: Envs, config: FineTuning) -> Evaluation:
    from agents.sb3_baseline.evaluation import write_texts

    rollout = write_texts(agent.policy, envs, config.algorithm.seed)
    return describe(rollout, rollout.log_probs, agent.reference, config.algorithm.kl_coef)


def _save_sb3(agent: Any, _: Any, path: Path) -> None:
    agent.save(path)


_OWN = (PPO, REINFORCE, RLOO, GRPO, TrajectoryBalance, ExpertIteration, TRPO, ACER)

LEARNERS: Mapping[type, Learner] = {
    **{algorithm.config_class: _policy_gradient(algorithm) for algorithm in _OWN},
    SB3PPOConfig: Learner(_build_sb3, _evaluate_sb3, _save_sb3, resumable=False),
}
"""By the config of the algorithm."""

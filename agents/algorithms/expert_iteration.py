"""Expert iteration: a policy is trained, as on data, on the best of what it wrote itself.

Each round writes a group of texts to every prompt and ascends (1/n) Σ_prompts Σ_i w_i log π(y_i),
supervised training on weighted texts. The weights of a group sum to 1: all on its best texts
(`select_by="filter"`), or w_i ∝ exp(R_i/β) (`"weight"`), whose fixed point is the optimum of
E[R] - β KL.

Source: Anthony et al. 2017, arXiv:1705.08439; on language models RAFT (Dong et al. 2023,
arXiv:2304.06767) and ReST (Gulcehre et al. 2023, arXiv:2308.08998); weighted, reward-weighted
regression (Peters and Schaal 2007).
"""

from __future__ import annotations

from torch import Tensor

from agents.algorithms.configs.expert_iteration import ExpertIterationConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.algorithms.weighing import Weighs
from agents.objectives.credit import over_tokens
from agents.objectives.group_weights import best_weights, exponential_weights
from agents.objectives.losses import entropy_loss
from agents.objectives.policy_losses import policy_gradient_loss
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout
from agents.rollout.groups import reported_groups


class ExpertIteration(PolicyGradient[ExpertIterationConfig]):
    """Fine-tunes a policy by imitation of its own texts, the better ones more than the others.

    Arguments and attributes are those of `EpisodicLearner`; the environments must report
    `group_id`, as those with `GroupedPrompts` do.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, PolicyConfig
        >>> from text_gym.prompt_sources import GroupedPrompts
        >>> prompts = GroupedPrompts(["hello", "how are you ?"], size=4)
        >>> envs = gym.make_vec(
        ...     "TextGen-v0", num_envs=8, prompts=prompts, autoreset_mode="Disabled"
        ... )
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
        >>> settings = ExpertIterationConfig(n_episodes=8, batch_size=8, group_size=4)
        >>> ExpertIteration(policy, envs, settings).learn(total_episodes=16).n_updates
        2
    """

    config_class = ExpertIterationConfig

    @property
    def weighs(self) -> Weighs:
        """Texts: each is imitated as a whole."""
        return "texts"

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Weighs each text by its reward, less its KL penalty, among those of its prompt.

        Credit is the weight times the group's size, so that its mean over texts is 1.
        """
        scores, group_ids = rewards.sum(dim=1), reported_groups(rollout, self.config.group_size)
        if self.config.select_by == "weight":
            weights = exponential_weights(scores, group_ids, self.kl_controller.kl_coef)
        else:
            weights = best_weights(scores, group_ids, self.config.keep)
        credit = weights * self.config.group_size
        return Credit(over_tokens(credit, rollout.texts.completion_mask))

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the weighted negative log-likelihood of whole texts and the entropy bonus."""
        mask = batch.texts.completion_mask
        likelihood = policy_gradient_loss(
            new.log_probs, batch.advantages, mask, n_tokens=totals.n_episodes
        )
        entropy = entropy_loss(new.entropies, mask, n_tokens=totals.n_tokens)
        return likelihood + self.config.ent_coef * entropy, {
            "policy_loss": Statistic(likelihood.item())
        }

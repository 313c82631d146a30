"""What RLOO and GRPO share: episodes of one prompt that are compared, and no value function."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from agents.algorithms.configs.groups import GroupConfig
from agents.algorithms.policy_gradient import PolicyGradient
from agents.objectives.groups import require_groups
from agents.rollout.buffer import Rollout

G = TypeVar("G", bound=GroupConfig)


class GroupPolicyGradient(PolicyGradient[G]):
    """Compares the episodes of a batch that have one `group_id`."""

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

"""Algorithms that train a policy on examples that others made, with a reference or without.

The loop is `agents.algorithms.offline`. No algorithm is known here by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from agents.algorithms.offline import C, E, Offline
from agents.algorithms.readable import require_readable
from agents.algorithms.trainable import require_policy, require_reference
from agents.callbacks import Callback
from agents.checkpoints.models import load_models
from agents.policy.causal_lm import CausalLMPolicy


class OfflinePolicy(Offline[C, E, CausalLMPolicy]):
    """Trains a policy on examples that others made.

    Args:
        policy: The policy to train, in place; it needs no values.
        examples: What to learn from, at least one.
        config: The hyperparameters.
        heldout: What is evaluated after every epoch, and never learnt from; None: nothing.
        reference: Where an algorithm compares with one. None: a frozen copy of the policy as it
            stands.
        callbacks: Called at fixed points; every optimiser step is an update.

    Attributes are those of `Offline`.

    Raises:
        ValueError: As `Offline` and `require_readable`, or if the policy has a value function, or
            the reference learns with it or cannot read the examples.
    """

    examples_class: ClassVar[type]
    """What it learns from."""
    needs_reference: ClassVar[bool]
    """Whether the loss compares with a reference. If not, none is built or stored."""

    def __init__(
        self,
        policy: CausalLMPolicy,
        examples: E,
        config: C | None = None,
        *,
        heldout: E | None = None,
        reference: CausalLMPolicy | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        require_policy(policy)
        if policy.value_head is not None:
            raise ValueError(
                f"the policy of {type(self).__name__} must have value_network 'none', got "
                f"{policy.options.value_network!r}: PolicyConfig sets it"
            )
        super().__init__(policy, examples, config, heldout=heldout, callbacks=callbacks)
        require_readable("examples", examples, self.examples_class, policy)
        if heldout is not None:
            require_readable("heldout", heldout, self.examples_class, policy)
        self.reference = reference
        if self.needs_reference and reference is None:
            self.reference = policy.frozen_copy()
        if self.reference is not None:
            require_reference(self.reference, policy, int(examples.lengths.max()))
        self._reference_is_start = reference is None

    @classmethod
    def load(
        cls,
        path: str | Path,
        examples: E,
        *,
        heldout: E | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Loads what `save` wrote; `learn` goes on from there, with the same examples."""
        saved = load_models(Path(path), cls._saved_config)
        agent = cls(
            saved.policy,
            examples,
            saved.config,
            heldout=heldout,
            reference=saved.reference,
            callbacks=callbacks,
        )
        return agent.restore(path)

"""Conversation: the small-talk model learns to have conversations that people would rate well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.applications.application import Application
from agents.applications.conversation.made import ANSWER_TOKENS, MODEL, PROMPT_TOKENS, RATING, TURNS
from agents.applications.conversation.turn_form import PROMPT_TEMPLATE, RESPONSE_TEMPLATE
from agents.applications.dialogue import CHITCHAT
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    import torch

    from agents.applications.split import Split
    from text_gym import Prompt
    from text_gym.applications.small_talk import Split as Named
    from text_gym.turns import Responder


def prompts() -> Split:
    """Returns human turns that leave the model room for the conversation; some are held out.

    Raises:
        FileNotFoundError: If the model must be made first; names the command.
        ModuleNotFoundError: If the package with the conversations is missing; names the extra.
    """
    from agents.applications.split import Split

    return Split(fitting("train"), fitting("heldout"))


def fitting(split: Named) -> list[Prompt]:
    """Returns the prompts of `TextGen/Conversation-v0` that are short enough for the model."""
    from agents.applications.conversation.turn_form import encode_turn
    from agents.applications.dialogue import SMALL_TALK_MODEL
    from text_gym import HuggingFaceTokenizer, Prompt
    from text_gym.applications.conversation import lines

    tokenizer = HuggingFaceTokenizer.from_pretrained(SMALL_TALK_MODEL)
    named = lines(split)
    return [Prompt(one) for one in named if len(encode_turn(one, 0, tokenizer)) <= PROMPT_TOKENS]


def partner(device: torch.device) -> Responder:
    """Returns the partner: the model that the preset starts from, which goes on as it is.

    Raises:
        FileNotFoundError: If the model must be made first; names the command.
    """
    from agents.applications.conversation.partner import LanguageModelPartner
    from agents.policy.causal_lm import CausalLMPolicy
    from text_gym import HuggingFaceTokenizer

    folder = MODEL.require()
    model = CausalLMPolicy.from_pretrained(folder, PolicyConfig(value_network="none"))
    tokenizer = HuggingFaceTokenizer.from_pretrained(folder)
    return LanguageModelPartner(model.frozen_copy().to(device), tokenizer, ANSWER_TOKENS - 1)


CONVERSATION = Application(
    name="conversation",
    description=(
        "The small-talk model learns to have conversations of three turns that people would rate "
        "well."
    ),
    preset=FineTuning(
        model="conversation",
        prompts="conversation",
        reward="rating",
        prompt_template=PROMPT_TEMPLATE,
        responder="partner",
        response_template=RESPONSE_TEMPLATE,
        **TURNS,
        total_episodes=1_024,
        num_envs=256,
        checkpoint_every=1,
        policy=PolicyConfig(autocast="auto"),
        algorithm=TrajectoryBalanceConfig(
            learning_rate=3e-4, micro_batch_size=16, kl_coef=0.25, replay_ratio=0
        ),
    ),
    prompts={"conversation": prompts},
    learnt_rewards={"rating": RATING.require},
    responders={"partner": partner},
    models={"conversation": MODEL.require},
    origins={
        "conversation": Origin(
            f"The small-talk model, after it has read whole conversations; both learnt from "
            f"{CHITCHAT}.",
            "mit",
        )
    },
    sources={"conversation": f"Short turns of {CHITCHAT}."},
)

"""What a fine-tuning run can be told: `FineTuning`.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs` does what
it says; `agents.applications` has those that come with the package.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agents.algorithms.configs.names import AlgorithmConfig, config_for
from agents.field_kinds import require_kinds
from agents.policy.config import PolicyConfig

SAYS_NOTHING = {
    "checkpoint_every",
    "device",
    "keep_checkpoints",
    "name",
    "output",
    "profile",
    "threads",
    "track",
}
"""Options of a run that say nothing of what it learns, and may change before it goes on."""
TrackerName: TypeAlias = Literal["wandb", "trackio"]


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Says what to fine-tune, on which prompts, for which feedback, and where to write."""

    model: str
    """`small-talk` (the model in this package), `smollm2` (SmolLM2-135M-Instruct, after `python -m
    agents.fetch smollm2`), `conversation` (the small-talk model that has read whole conversations,
    after `python -m agents.prepare conversation`), `translation`, `verse`, `verse-poems`,
    `verse-lines` (after `python -m agents.pretrain --corpus translation` or `verse`),
    `calculator`, `facts-start` (made when first asked for), `toy` (untrained, ends a text with
    probability 0.2 at every token), or a folder, hub id or GGUF file of a causal language model."""
    env_id: str | None = None
    """An environment by its Gymnasium id, in the place of the preset's: `TextGen/CountingUp-v0`, or
    `my_module:MyTask-v0` or `file.py:MyTask-v0` for one that code of yours registers. It has its
    own prompts, lengths and turns, and its own reward unless `reward` is given too. None: it is
    made of the options below."""
    env_args: str = "{}"
    """Arguments of that environment, as JSON; `file.py:name` in it is what has that name there."""
    wrappers: str | None = None
    """Wrappers around the environment: the name of one in `text_gym.wrappers`, `file.py:name` or
    `package.module:name`; or several with their arguments, innermost first, as JSON:
    `{"ClipFeedback": {"low": -1}, "file.py:MyWrapper": {}}`. Evaluation leaves out those known
    to change the reward: ours, `VectorRewardWrapper`s, and Gymnasium's `NormalizeReward`."""
    prompts: str | None
    """`chitchat` (human turns of conversations that the small-talk model never saw), `small-talk`
    (the package's own), `film-reviews` (first words of reviews, after `python -m agents.fetch
    film-reviews`), `conversation` (short human turns), `translation` (clauses, after `python -m
    agents.fetch translation`), `facts` (questions), `sums`, `verse-subjects`, a .txt, .csv
    or .jsonl file, a folder that the library `datasets` saved, `hub:owner/name` (a tenth of the
    texts of any of these is held out), or one text. Of a data set, as JSON, which part and columns:
    `{"hub:owner/name": {"split": "train", "prompt": "question", "reference": "answer"}}`."""
    eval_prompts: str | None = None
    """What the policy is evaluated on, as `prompts`; of a file all of it, and then nothing of the
    file of `prompts` is held out. None: what `prompts` holds out."""
    reward: str | None
    """What a reply is paid for: `sentiment` (VADER's compound, in [-1, 1]), `word_count`,
    `positive_review` (log-odds that it is from one, by a classifier fitted on reviews), `variety`
    (the share of its pairs of words that are distinct), `unwanted` (-1 for a profanity), `rating`
    (what people would rate a conversation, by a model of their ratings), `chrf` (nearness to the
    reference that a prompt comes with; `chrf1`: recall counts once in it, not twice),
    `right_answer` (of a sum), `honesty-0.25`, `honesty-0.5`, `honesty-1`, `honesty-2` (a right
    answer less the price of a wrong one), `haiku`, `couplet` (how much of the form is kept); a
    function or class of your own, as `file.py:name` or `package.module:name`; or what was learnt:
    the folder of a reward model, of its run, or of several such runs, of which the lowest reward
    counts. Several with weights, and arguments of classes, as JSON: `{"sentiment": 1,
    "file.py:Polite": {"weight": 0.5, "arguments": {"word": "thanks"}}}`. None: what the environment
    of `env_id` pays."""
    prompt_template: str | None = "{prompt}\n"
    """What the policy sees of a prompt."""
    max_new_tokens: int | None = 32
    """Longest reply, end of text included; of several turns, the policy's tokens in all of them."""
    chat: bool = False
    """Whether prompts and answers go through the chat template of the model's tokenizer; then
    `prompt_template` must be `{prompt}`."""
    responder: str | None = None
    """Who continues the text whenever the policy ends a turn: a name that an application brings.
    None: a text is of one turn."""
    response_template: str = "{response}"
    """What the policy sees of what the responder says."""
    max_response_tokens: int | None = None
    """Room for all that the responder says to one text; must be given with one."""
    max_turn_tokens: int | None = None
    """Most tokens of one turn of the policy; None: `max_new_tokens`."""
    max_turns: int | None = None
    """Most turns of the policy; None: as many as fit."""
    constraint: str | None = None
    """What masks keep texts to, each turn by itself, in training and in evaluation: a name that an
    application brings. None: nothing."""
    ban_unwanted: bool = False
    """Whether masks keep profanities (better-profanity's English list) from being written, in
    training and in evaluation."""
    total_episodes: int
    """Replies to learn from."""
    num_envs: int = 256
    """Replies written side by side, by all processes together."""
    eval_episodes: int = 256
    """Replies that are evaluated before and after: to the prompts held out, or if there are fewer
    than ten prompts, to those of training."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """How the model becomes a policy, and what of it learns."""
    writer: Literal["own", "transformers", "vllm"] = "own"
    """Who writes the replies that are learnt from: this package's decoder (`own`), or an engine:
    `transformers` (its continuous batching), or `vllm`, where that is installed. An engine is given
    as many prompts at once as `num_envs` says; what it samples otherwise than the policy would is
    measured and weighed."""
    algorithm: AlgorithmConfig
    """How to learn; the options are those of the algorithm that `--algorithm` names."""
    output: Path = Path("runs")
    """Folder of runs."""
    monitor: str | None = None
    """A second measure, which training does not see, of replies to prompts held out: what `reward`
    may name, or `objective`. It warns when reward and measure part. None: that of `select_by`."""
    monitor_every: int = 4
    """Updates from one look of the monitor to the next."""
    select_by: str | None = None
    """A measure, as of `monitor`, by which the best moment of training is what the run ends with;
    None: the last."""
    stop_when: Literal["never", "parted"] = "never"
    """Whether training stops when the monitor finds that reward and measure part."""
    checkpoint_every: int = 4
    """Updates between checkpoints, from the last of which a stopped run goes on."""
    keep_checkpoints: int = 2
    """Checkpoints to keep; older ones are removed."""
    name: str | None = None
    """Folder of this run within it; None: preset, seed and time."""
    track: tuple[TrackerName, ...] = ()
    """Where metrics and replies go besides that folder, which has TensorBoard events, `metrics.csv`
    and `metrics.jsonl` in any case: Weights & Biases, trackio, or both."""
    profile: bool = False
    """Whether to say in the end where the time of an update went."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | Literal["measured"] | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2; `measured`: as many as make it fastest,
    found by a few updates with several numbers before it begins. Results are the same bit for bit
    only for the same number, which the run's folder holds."""

    def __post_init__(self) -> None:
        """Checks what is said of the environment, of the writer and of the monitor.

        Raises:
            ValueError: If a field is of another kind, or a number too low; if the environment
                decides what is given, or nobody does; if an engine cannot write what is asked of
                texts; if there are two measures, none where one is needed, or nobody could use it.
        """
        require_kinds(self)
        self._check_environment()
        self._check_writer()
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if None not in (self.monitor, self.select_by) and self.monitor != self.select_by:
            raise ValueError(
                f"monitor must be None or that of select_by={self.select_by!r}, got "
                f"{self.monitor!r}"
            )
        if self.stop_when != "never" and self.watched is None:
            raise ValueError(f"stop_when must be 'never' without a monitor, got {self.stop_when!r}")

    def _check_environment(self) -> None:
        if self.env_id is None:
            for name in _NEEDED:
                if getattr(self, name) is None:
                    raise ValueError(f"{name} must be given where env_id is not, got None")
            if self.env_args != "{}":
                raise ValueError(f"env_args must be of an env_id, got {self.env_args!r} without")
            return
        for name, left_out in _DECIDED.items():
            if getattr(self, name) != left_out:
                raise ValueError(
                    f"{name} must be left out where env_id names the environment that decides it, "
                    f"{self.env_id}, got {getattr(self, name)!r}"
                )

    def _check_writer(self) -> None:
        for name in ("responder", "constraint", "ban_unwanted"):
            if self.writer != "own" and getattr(self, name):
                raise ValueError(
                    f"writer must be 'own' where {name} is given, which no engine knows, got "
                    f"{self.writer!r}"
                )

    @property
    def watched(self) -> str | None:
        """The measure of the monitor; None: there is none."""
        return self.select_by or self.monitor


_COUNTS = ("total_episodes", "monitor_every")
_DECIDED: dict[str, Any] = {
    "prompts": None,
    "eval_prompts": None,
    "prompt_template": None,
    "max_new_tokens": None,
    "chat": False,
    "responder": None,
    "response_template": "{response}",
    "max_response_tokens": None,
    "max_turn_tokens": None,
    "max_turns": None,
}
"""What an environment that is named decides itself, as it is left out."""
_NEEDED = ("prompts", "prompt_template", "max_new_tokens", "reward")
"""What must be said where none is named."""


def in_environment(config: FineTuning, env_id: str) -> FineTuning:
    """Returns a run in another environment, which decides prompts, lengths, turns and reward.

    Args:
        config: Of the run.
        env_id: See `FineTuning.env_id`.
    """
    return dataclasses.replace(config, env_id=env_id, reward=None, **_DECIDED)


def with_algorithm(config: FineTuning, name: str) -> FineTuning:
    """Returns a run with another algorithm.

    Args:
        config: Of the run.
        name: Of `agents.algorithms.configs.names.ALGORITHMS`.
    """
    algorithm: Any = config_for(name, config.algorithm)
    return dataclasses.replace(config, algorithm=algorithm)

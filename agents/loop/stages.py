"""The stages of a round: which files go from one to the next, and what each is told.

Each does what a command does alone: `agents.sample`, `text_gym.feedback`, `agents.reward_model`,
`agents.train`, `agents.evaluate`. What is judged in one round is learnt from in all later ones.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from agents.applications.registry import MODELS
from agents.distributed import processes
from agents.loop.collecting import COMPARISONS, JUDGEMENTS, STUDY, collect_judgements
from agents.loop.evaluating import evaluate_models
from agents.loop.manifest import digest_of
from agents.loop.options import Loop
from agents.loop.pair_selection import at_random, most_disagreed
from agents.loop.stage import Stage
from agents.reports.json_file import write_json, write_whole
from agents.reward_models.reward_model import RewardModel
from agents.runs import offline_pipeline, pipeline, sampling
from agents.runs.offline_presets import RewardModelRun
from agents.runs.rewards import load_reward
from agents.runs.sampling_options import Sampling
from text_gym.feedback import Item, Judgement, read_items
from text_gym.feedback.items import fitted, item_to_json
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.judging import judge
from text_gym.rewards import RewardFunction

ITEMS, ASKED, EVALUATION = "items.jsonl", "asked.jsonl", "evaluation.json"
POLICY, REWARD_MODEL = "policy", "reward_model"
SEEDS_PER_ROUND = 1000
"""Between the seeds of two rounds: more than a round has reward models."""


@dataclass(frozen=True)
class Round:
    """Says what the stages of one round do.

    Attributes:
        config: Of the loop.
        root: The loop's folder, absolute.
        number: From 1.
        console: Where to say what goes on.
    """

    config: Loop
    root: Path
    number: int
    console: Console

    @property
    def stages(self) -> list[Stage]:
        """The stages, in order."""
        learn = [self.learn_reward(member) for member in self._members]
        return [self.sample(), self.collect(), *learn, self.fine_tune(), self.evaluate()]

    def sample(self) -> Stage:
        """The model writes pairs of replies, more than are judged."""
        assert self.config.prompts is not None
        told = Sampling(
            model=self.model,
            prompts=self.config.prompts,
            per_prompt=self.config.per_prompt,
            n_prompts=self.config.prompts_of(self.number),
            output=self._folder("sample") / ITEMS,
            prompt_template=self.config.prompt_template,
            max_new_tokens=self.config.max_new_tokens,
            temperature=self.config.policy.temperature,
            ban_unwanted=self.config.ban_unwanted,
            seed=self.seed,
            device=self.config.device,
            threads=self.config.threads,
        )

        def work() -> None:
            if not (self._folder("sample") / ITEMS).exists():  # whole, if it is there
                sampling.run(told)

        names = ("prompts", "per_prompt", "n_prompts", "max_new_tokens", "temperature", "seed")
        reads = [] if self.number == 1 else [self.earlier.tuned]
        return self._stage("sample", _of(told, names), reads, [ITEMS], work, model=not reads)

    def collect(self) -> Stage:
        """Some of the pairs are judged."""
        config, folder = self.config, self._folder("collect")

        def work() -> None:
            asked = self._asked()
            write_whole(folder / ASKED, "".join(map(_line, asked)))
            judged = self._simulated if config.annotators == "simulated" else None
            collect_judgements(asked, self.root / STUDY, folder, judged, self.console)

        names = ("annotators", "accuracy", "pairs")
        told = _of(config, names) | {"n": config.judgements_of(self.number), "seed": self.seed}
        if config.annotators == "simulated":
            told["reward"] = config.reward
        reads = [self._folder("sample") / ITEMS]
        if self._by_disagreement:
            reads += self.earlier.reward_models
        return self._stage("collect", told, reads, [ASKED, JUDGEMENTS, COMPARISONS], work)

    def learn_reward(self, member: int) -> Stage:
        """A reward model learns from all that was judged so far."""
        said = self._folder("collect") / COMPARISONS
        run = self.reward_model(member).parent
        assert self.config.prompt_template is not None
        told = RewardModelRun(
            model=self.config.model,
            data=said,
            prompt_template=self.config.prompt_template,
            algorithm=dataclasses.replace(
                self.config.reward_algorithm, seed=self.seed + member - 1
            ),
            policy=dataclasses.replace(self.config.policy, value_network="none"),
            output=run.parent,
            name=run.name,
            track=self.config.track,
            device=self.config.device,
            threads=self.config.threads,
        )

        def work() -> None:
            offline_pipeline.resume(run) if _has_begun(run) else offline_pipeline.run(told)

        settings = dataclasses.asdict(told.algorithm)
        name = f"reward-model/{member}"
        return self._stage(name, settings, [said], [REWARD_MODEL], work, model=True)

    def fine_tune(self) -> Stage:
        """The model learns by the reward."""
        run = self._folder("fine-tune")
        reward = str(self._folder("reward-model"))
        told = self.config.fine_tuning(self.model, reward, run, self.seed)

        def work() -> None:
            pipeline.resume(run) if _has_begun(run) else pipeline.run("fine-tune", told)

        names = ("prompts", "total_episodes", "num_envs", "max_new_tokens")
        settings = _of(told, names) | {"algorithm": dataclasses.asdict(told.algorithm)}
        before = [] if self.number == 1 else [self.earlier.tuned]
        reads = [*before, *self.reward_models]
        return self._stage("fine-tune", settings, reads, [POLICY], work, model=not before)

    def evaluate(self) -> Stage:
        """The tuned model answers held-out prompts beside the one that the loop began with."""
        config = self.config

        def work() -> None:
            rewards = {"proxy": self._reward(str(self._folder("reward-model")))}
            if config.annotators == "simulated":
                rewards = {"gold": self._reward(config.reward), **rewards}
            models = config.model, str(self.tuned)
            write_json(self.evaluation, evaluate_models(*models, rewards, config))

        settings = _of(config, ("prompts", "eval_episodes")) | {"seed": config.algorithm.seed}
        if config.annotators == "simulated":
            settings["reward"] = config.reward
        reads = [self.tuned, *self.reward_models]
        return self._stage("evaluate", settings, reads, [EVALUATION], work, model=True)

    # What goes from one stage to the next

    @property
    def seed(self) -> int:
        """Of what this round draws: another one for each round."""
        return self.config.algorithm.seed + SEEDS_PER_ROUND * (self.number - 1)

    @property
    def earlier(self) -> Round:
        """The round before."""
        return dataclasses.replace(self, number=self.number - 1)

    @property
    def model(self) -> str:
        """What this round begins with: the model of the loop, or that of the round before."""
        return self.config.model if self.number == 1 else str(self.earlier.tuned)

    @property
    def tuned(self) -> Path:
        """What this round ends with."""
        return self._folder("fine-tune") / POLICY

    @property
    def evaluation(self) -> Path:
        """How good that is."""
        return self._folder("evaluate") / EVALUATION

    @property
    def reward_models(self) -> list[Path]:
        """What was learnt of rewards in this round."""
        return [self.reward_model(member) for member in self._members]

    def reward_model(self, member: int) -> Path:
        """Returns the folder of one reward model, counted from 1."""
        return self._folder("reward-model") / str(member) / REWARD_MODEL

    @property
    def _members(self) -> range:
        return range(1, self.config.reward_models + 1)

    @property
    def _by_disagreement(self) -> bool:
        return self.config.pairs == "disagreement" and self.number > 1

    def _folder(self, stage: str) -> Path:
        return self.root / f"round-{self.number}" / stage

    def _stage(
        self,
        name: str,
        settings: Mapping[str, Any],
        reads: Sequence[Path],
        writes: Sequence[str],
        work: Callable[[], object],
        *,
        model: bool = False,
    ) -> Stage:
        """Returns a stage; `model` tells whether it reads the model that the loop began with."""
        config = self.config
        begun = {"model": _digest_of(config.model, MODELS)} if model else {}
        if "prompts" in settings:
            assert config.prompts is not None
            begun["prompts"] = _digest_of(config.prompts)
        folder = self._folder(name)
        return Stage(name, self.root, folder, settings, reads, begun, writes, work)

    # What is asked, and what is answered

    def _asked(self) -> list[Item]:
        """Returns the pairs that are judged.

        Raises:
            ValueError: If there are too few to choose from.
        """
        pool = fitted(read_items(self._folder("sample") / ITEMS), "compare")
        wanted = self.config.judgements_of(self.number)
        if len(pool) < wanted:
            raise ValueError(
                "judgements must be at most as many as there are pairs of different replies, got "
                f"{wanted} of {len(pool)}; raise pool or per_prompt, or take more prompts"
            )
        if not self._by_disagreement:
            return [pool[at] for at in at_random(len(pool), wanted, self.seed)]
        models = [RewardModel.load(one) for one in self.earlier.reward_models]
        return [pool[at] for at in most_disagreed(log_odds(pool, models), wanted)]

    def _simulated(self, asked: Sequence[Item]) -> list[Judgement]:
        manner = Manner(accuracy=self.config.accuracy)
        return judge(asked, self._reward(self.config.reward), manner, seed=self.seed)

    def _reward(self, name: str) -> RewardFunction:
        return load_reward(name, processes.init(use_cpu=self.config.device == "cpu"))


def log_odds(pairs: Sequence[Item], models: Sequence[RewardModel]) -> NDArray[np.float64]:
    """Returns what reward models say of pairs, in nats of preference, (K, n, 2)."""
    prompts = [str(one.prompt) for one in pairs for _ in one.completions]
    texts = [completion.text for one in pairs for completion in one.completions]
    said = [model.nats * model.score(prompts, texts) for model in models]
    return np.stack(said).reshape(len(models), len(pairs), 2)


def _digest_of(name: str, places: Mapping[str, Callable[[], Path]] | None = None) -> str:
    """Returns the SHA-256 of what has a name and is a file or folder, or else the name."""
    path = places[name]() if places and name in places else Path(name)
    return digest_of(path) if path.exists() else name


def _has_begun(run: Path) -> bool:
    return (run / "config.json").exists()


def _of(told: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(told, name) for name in names}


def _line(item: Item) -> str:
    return json.dumps(item_to_json(item), ensure_ascii=False) + "\n"

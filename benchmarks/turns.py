"""What do turns cost a rollout? `python benchmarks/turns.py`.

GPT-2 of 4 layers × 128, V = 64, 64 rows, prompts of 4 tokens, writes 32 tokens to each: in one
turn; and in two of 16, between which somebody else adds 8. Tokens are those that the policy chose.
All rows end their turns together, so that what was added is read in one pass. Seconds are those of
the processor, which others on the machine stretch less.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import process_time
from typing import Any

from benchmarks import command_line
from benchmarks.figures import figure, write_result
from benchmarks.tasks import Numbers, gpt2, make_envs, random_prompts
from benchmarks.timing import interleaved, ratios, tokens_per_second
from benchmarks.writers import Case, collected, plain_model
from text_gym.turns import Turn

ROWS, VOCAB_SIZE, PROMPT = 64, 64, 4
TOKENS, ADDED = 32, 8
GOAL = 0.8


def answers(turns: Sequence[Turn]) -> list[str]:
    """Returns the same answer to everyone."""
    return [" ".join(["1"] * ADDED)] * len(turns)


def _no_reward(prompt: str, completion: str) -> float:  # noqa: ARG001
    return 0.0


def main() -> None:
    """Times both rollouts in turns, and writes figures."""
    parser = command_line.parser(__doc__, repeats=15, quick_repeats=5)
    options = command_line.parse(parser)
    tokenizer = Numbers(VOCAB_SIZE)
    prompts = random_prompts(ROWS, VOCAB_SIZE, PROMPT, options.seed)
    length = PROMPT + TOKENS + ADDED
    policy = gpt2(
        layers=4, width=128, heads=4, vocab_size=VOCAB_SIZE, max_length=length, seed=options.seed
    )
    model = plain_model(policy)
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    task: dict[str, Any] = {
        "prompts": prompts,
        "tokenizer": tokenizer,
        "reward_function": _no_reward,
        "max_new_tokens": TOKENS,
    }
    turns: dict[str, Any] = {
        "responder": answers,
        "max_response_tokens": ADDED,
        "max_turn_tokens": TOKENS // 2,
    }
    envs = {
        "one turn": make_envs(ROWS, ends=False, **task),
        "two turns": make_envs(ROWS, ends=False, **task, **turns),
    }
    timed = {
        name: tokens_per_second(
            collected(Case(name, policy, model, one, ids, TOKENS, (), ROWS), judged=False, seed=0),
            process_time,
        )
        for name, one in envs.items()
    }
    samples = interleaved(timed, options.repeats)
    found = [
        figure(
            "rollout of two turns / of one",
            ratios(samples, "two turns", "one turn"),
            "×",
            at_least=GOAL,
        ),
        *(
            figure(f"rollout, {name}", values, "tokens/s", note="of the processor")
            for name, values in samples.items()
        ),
    ]
    settings = {"rows": ROWS, "tokens": TOKENS, "added": ADDED, "prompt": PROMPT}
    write_result("turns", found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()

"""Measure how a token's cost grows with the length: `python benchmarks/cost_per_token.py`.

A whole PPO update (collect, judge, estimate, four epochs) with completions of 16 and of 256 tokens:
GPT-2 of 4 layers × 128, V = 64, 64 texts, prompts of 4 tokens; forward passes of about the same
number of tokens (`micro_batch_size` 64 and 4), so that the same caches hold them.

Attention is the only part whose work per token depends on the length. It is measured alone, on
random queries, keys and values of the shapes that the update uses: scaled dot-product attention in
every decoding step, in two judging passes, and forward and backward in every epoch. The cost per
token may grow by the difference of that, and no more:

    cost(256) <= cost(16) + attention(256) - attention(16)

The same share from the arithmetic alone is reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from torch.nn.functional import scaled_dot_product_attention

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.floor import Model
from benchmarks.tasks import LargeNumbers, Numbers, gpt2, make_envs, random_prompts
from benchmarks.timing import Samples, interleaved

LAYERS, WIDTH, HEADS = 4, 128, 4
VOCAB_SIZE, PROMPT, EPISODES, EPOCHS = 64, 4, 64, 4
SHORT, LONG = 16, 256


def agent_of(length: int, seed: int) -> PPO:
    """Returns an agent whose texts have `length` tokens."""
    envs = make_envs(
        EPISODES,
        ends=False,
        prompts=random_prompts(EPISODES, VOCAB_SIZE, PROMPT, seed),
        tokenizer=Numbers(VOCAB_SIZE),
        reward_function=LargeNumbers(VOCAB_SIZE),
        max_new_tokens=length,
    )
    policy = gpt2(
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        vocab_size=VOCAB_SIZE,
        max_length=PROMPT + length,
        seed=seed,
    )
    config = PPOConfig(
        n_episodes=EPISODES,
        n_epochs=EPOCHS,
        batch_size=EPISODES,
        micro_batch_size=micro_batch_size(length),
        seed=seed,
    )
    return PPO(policy, envs, config)


def micro_batch_size(length: int) -> int:
    """Returns the texts of a forward pass: fewer where they are longer."""
    return max(1, EPISODES * SHORT // length)


def update_seconds(agent: PPO, length: int) -> Callable[[], float]:
    """Returns a measurement of one update, in seconds per token."""

    def measure() -> float:
        start = perf_counter()
        agent.learn(agent.n_episodes + EPISODES)
        return (perf_counter() - start) / (EPISODES * length)

    return measure


def attention_seconds(length: int) -> Callable[[], float]:
    """Returns a measurement of an update's attention alone, in seconds per token."""
    total = PROMPT + length
    size = WIDTH // HEADS
    query = torch.randn(EPISODES, HEADS, 1, size)
    keys, values = torch.randn(2, EPISODES, HEADS, total, size).unbind()
    rows = micro_batch_size(length)
    texts = [torch.randn(rows, HEADS, total, size, requires_grad=True) for _ in range(3)]

    def measure() -> float:
        start = perf_counter()
        for _ in range(LAYERS):
            _decode(query, keys, values)
            for _ in range(EPISODES // rows):
                _train(texts)
        return (perf_counter() - start) / (EPISODES * length)

    return measure


@torch.no_grad()
def _decode(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
    for seen in range(PROMPT + 1, keys.shape[2] + 1):
        scaled_dot_product_attention(query, keys[:, :, :seen], values[:, :, :seen])


def _train(texts: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for _ in ("policy", "reference"):
            scaled_dot_product_attention(*texts, is_causal=True)
    for _ in range(EPOCHS):
        attended = scaled_dot_product_attention(*texts, is_causal=True)
        torch.autograd.grad(attended, texts, torch.ones_like(attended))


def allowed_by_arithmetic(model: Model) -> float:
    """Returns by what factor a token's arithmetic grows, products and attention together."""

    def per_token(length: int) -> float:
        total = PROMPT + length
        return model.forward(total, total * (total + 1) // 2, length) / length

    return per_token(LONG) / per_token(SHORT)


def figures(samples: Samples, model: Model) -> list[Figure]:
    """Returns the figures."""
    short, long = samples["update, 16 tokens"], samples["update, 256 tokens"]
    attention = list(
        zip(samples["attention, 16 tokens"], samples["attention, 256 tokens"], strict=True)
    )
    allowed = [a + late - early for a, (early, late) in zip(short, attention, strict=True)]
    return [
        figure(
            "cost per token at 256 / that at 16 and attention's growth",
            [b / a for a, b in zip(allowed, long, strict=True)],
            at_most=1.0,
            note="attention is measured alone, on the shapes that the update uses",
        ),
        figure("cost per token at 256 / at 16", [b / a for a, b in zip(short, long, strict=True)]),
        figure("the same, by arithmetic alone", allowed_by_arithmetic(model)),
        *(
            figure(name, [1e6 * value for value in values], "µs/token")
            for name, values in samples.items()
        ),
    ]


def main() -> None:
    """Measures both lengths in turn."""
    options = command_line.parse(command_line.parser(__doc__, repeats=9, quick_repeats=3))
    timed = {}
    agents = {length: agent_of(length, options.seed) for length in (SHORT, LONG)}
    for length, agent in agents.items():
        timed[f"update, {length} tokens"] = update_seconds(agent, length)
        timed[f"attention, {length} tokens"] = attention_seconds(length)
    samples = interleaved(timed, options.repeats)
    write_result(
        "cost_per_token",
        figures(samples, Model.of(agents[LONG].policy)),
        seed=options.seed,
        settings={"episodes": EPISODES, "epochs": EPOCHS},
        folder=options.output,
    )


if __name__ == "__main__":
    main()

"""From an environment to its exact solution: `solve`.

Knows what a task consists of; what can be read off the enumerated texts is `Solution`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.exact.scoring import score_completions
from text_gym.exact.solution import Solution
from text_gym.exact.tree import Mask, Masks, grow
from text_gym.inner_env import task_of
from text_gym.rewards import RewardFunction, as_reward_function
from text_gym.task import EncodedPrompt, TextTask


def solve(
    env: Any,
    prompt: Any = None,
    *,
    prompt_id: int | None = None,
    reward_function: RewardFunction | Callable[[str, str], float] | None = None,
    max_completions: int = 2_000_000,
    chunk: int = 512,
) -> Solution:
    """Enumerates and scores every completion of one prompt.

    EOS, stop tokens, token limit and action mask are those of the task; masks of `Constrain`
    wrappers count too. Where the limit truncates, texts that reach it are paid 0, as by the
    environment; what a learner would bootstrap there is not part of the answer. Of several prompts,
    solve each and average.

    Memory: about eight bytes per completion for the rewards and for each policy in use, and the
    texts of one batch.

    Args:
        env: A `TextGenEnv` or `TextGenVectorEnv`, wrapped or not, or a `TextTask`.
        prompt: What `reset(options={"prompt": ...})` takes. Where there is but one prompt, neither
            this nor its place in the list need be given.
        prompt_id: The prompt's place in the list of prompts.
        reward_function: Scores the completions; by default the task's own.
        max_completions: Most completions to enumerate.
        chunk: Most completions scored, and states shown to a policy, at once.

    Raises:
        ValueError: If a responder continues the texts; if there are more completions (counted
            before anything is enumerated, unless a constraint makes that impossible); if the prompt
            is not given though there are several; or if a wrapper pays another reward and
            `reward_function` does not say which.
        RewardError: If the reward function fails.

    Example:
        >>> import numpy as np
        >>> from text_gym import CharTokenizer, TextGenEnv
        >>> env = TextGenEnv(
        ...     prompts=["b"],
        ...     tokenizer=CharTokenizer("ab"),
        ...     reward_function=lambda prompt, completion: completion.count("a"),
        ...     max_new_tokens=2,
        ... )
        >>> solution = solve(env)
        >>> solution.n_completions, solution.optimal_return, solution.optimal_completions()
        (7, 2.0, [(0, 0)])
        >>> best = solution.soft_optimum(solution.uniform_policy, beta=1.0)
        >>> round(best.value, 4), round(best.expected_reward, 4), round(best.kl, 4)
        (0.8253, 1.1163, 0.291)
    """
    task = _task_of(env, reward_is_given=reward_function is not None)
    if task.turns is not None:
        raise ValueError(f"env must write texts of one turn, got {task.turns.responder!r}")
    start = _prompt_of(task, prompt, prompt_id)
    function = task.reward_function if reward_function is None else reward_function
    tree = grow(
        start.token_ids,
        task.stop_codes,
        task.max_new_tokens,
        _masks_of(env, task, start),
        max_completions,
    )
    function = as_reward_function(function, "reward_function")
    rewards = score_completions(tree, task, start, function, chunk)
    return Solution(tree, rewards, chunk)


def _task_of(env: Any, *, reward_is_given: bool) -> TextTask:
    if isinstance(env, TextTask):
        return env
    task = task_of(env)
    if env.unwrapped.outermost_reward_wrapper is not None and not reward_is_given:
        raise ValueError(
            "reward_function must be given where a wrapper changes what is paid, got None for an "
            f"environment in {type(env.unwrapped.outermost_reward_wrapper).__name__}"
        )
    return task


def _prompt_of(task: TextTask, prompt: Any, prompt_id: int | None) -> EncodedPrompt:
    if prompt is not None or prompt_id is not None:
        return task.given(prompt, prompt_id)
    listed = task.source.prompts
    if listed is None or len(listed) != 1:
        count = "prompts that cannot be listed" if listed is None else f"{len(listed)} prompts"
        raise ValueError(f"prompt must be given unless there is only one, got None for {count}")
    return task.encode(listed[0])


def _masks_of(env: Any, task: TextTask, start: EncodedPrompt) -> Mask | Masks:
    """Returns the vocabulary's mask, or what all `Constrain` wrappers leave of it by state."""
    compositions = []
    while not isinstance(env, TextTask) and hasattr(env, "env"):
        if "composition" in vars(env):
            compositions.append(env.composition)
        env = env.env
    size = task.tokenizer.vocab_size
    usable = np.ones(size, np.bool_) if task.action_mask is None else task.action_mask == 1
    if not compositions:
        return usable

    def masks(tokens: NDArray[np.int64]) -> Mask:
        allowed = np.tile(usable, (len(tokens), 1))
        for row, written in enumerate(tokens.tolist()):
            for composition in compositions:
                text = composition.replay(start.token_ids, written)
                allowed[row] &= composition.allowed(text)
        return allowed

    return masks

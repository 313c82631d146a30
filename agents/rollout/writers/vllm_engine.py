"""vLLM as a writer, in this process and on its devices: `VLLMWriter`.

The engine keeps weights of its own in its own layout, so that the policy's are given to it before
each batch. vLLM asks for exact versions of torch and transformers, and belongs into an environment
of its own with this package beside it. It knows neither environments nor learners.

Source: vLLM 0.32: `LLM.generate`, `LLM.collective_rpc("reload_weights")`, `SamplingParams`.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model import lora
from agents.rollout.writers.text_writer import Order, Written


class VLLMWriter:
    """Writes texts by vLLM, on the CPU or a GPU that it shares with training.

    Sets `VLLM_ENABLE_V1_MULTIPROCESSING=0` for this process, unless it is set: weights in memory
    can only be given to an engine that runs in it.

    Args:
        policy: Whose model it builds; `load` takes others of the same shape.
        **engine: Arguments of `vllm.LLM`, instead of its defaults and ours; `max_model_len`, for
            example, the most tokens of a text.

    Raises:
        ImportError: If vLLM is missing.
        ValueError: If there are several processes, or the model is not one that vLLM knows.
    """

    def __init__(self, policy: CausalLMPolicy, **engine: Any) -> None:
        if processes.world_size() > 1:
            raise ValueError(
                f"a vLLM writer must be in the only process, got {processes.world_size()}"
            )
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            import vllm
        except ImportError as error:
            raise ImportError(
                "VLLMWriter needs vLLM: pip install vllm, in an environment of its own"
            ) from error
        self._vllm = vllm
        self._temperature = policy.temperature
        with TemporaryDirectory() as folder:
            lora.plain(policy.model, merge=True).save_pretrained(folder)
            self._llm = vllm.LLM(model=folder, **_settings(policy) | engine)

    def load(self, policy: CausalLMPolicy) -> None:
        """Writes from now on as the policy does at this moment; forgets what it has read."""
        weights = lora.plain(policy.model, merge=True).state_dict()
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights.items()})
        self._llm.reset_prefix_cache()
        self._temperature = policy.temperature

    def write(self, order: Order) -> list[Written]:
        """Returns a text for each prompt; see `TextWriter`."""
        prompts = [{"prompt_token_ids": list(prompt)} for prompt in order.prompts]
        outputs = self._llm.generate(prompts, self._sampling(order), use_tqdm=False)
        return [_written(output.outputs[0]) for output in outputs]

    def _sampling(self, order: Order) -> list[Any]:
        """Returns how to sample each text: from the whole distribution, by a seed of its own."""
        allowed = None if order.allowed is None else np.flatnonzero(order.allowed).tolist()
        return [
            self._vllm.SamplingParams(
                temperature=self._temperature,
                top_p=1.0,
                top_k=0,
                max_tokens=most,
                stop_token_ids=list(order.stop_ids),
                ignore_eos=True,  # what ends a text is the order's to say
                allowed_token_ids=allowed,
                logprobs=0,  # of the token that was drawn, and no others
                seed=order.seed + number,
                detokenize=False,
            )
            for number, most in enumerate(order.budgets)
        ]


def _settings(policy: CausalLMPolicy) -> dict[str, Any]:
    """Returns what makes vLLM's log-probs those that it sampled with."""
    return {
        "skip_tokenizer_init": True,
        "dtype": str(policy.head.weight.dtype).removeprefix("torch."),
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",  # the model's own may sample otherwise
        "gpu_memory_utilization": 0.3,  # the policy learns in the rest
    }


def _written(text: Any) -> Written:
    ids = list(text.token_ids)
    log_probs = [float(said[token].logprob) for said, token in zip(text.logprobs, ids, strict=True)]
    return Written(ids, log_probs, text.finish_reason)

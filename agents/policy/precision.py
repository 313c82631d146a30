"""Where products in bfloat16 pay. Knows machines and options, no models."""

from __future__ import annotations

import dataclasses

import torch

from agents.policy.config import PolicyConfig


def gains_by_bfloat16(device: torch.device) -> bool:
    """Tells whether a device computes small models faster in bfloat16.

    A processor does that has instructions for it, instead of imitating them. A GPU has them, but
    there the time goes to calls, of which autocast makes more.
    """
    if device.type != "cpu":
        return False
    # amx_bf16, avx512_bf16, sve_bf16 and the like
    return any(have for name, have in torch.cpu.get_capabilities().items() if "bf16" in name)


def settled(options: PolicyConfig, device: torch.device) -> PolicyConfig:
    """Returns options in which `autocast` is not left to the machine any more."""
    if options.autocast != "auto":
        return options
    return dataclasses.replace(options, autocast="bfloat16" if gains_by_bfloat16(device) else None)

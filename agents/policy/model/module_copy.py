"""Copies of modules that share the tensors that do not learn.

A reference or a second trunk beside a model that is mostly frozen costs only what differs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def copy_sharing_fixed(module: M, instead: Mapping[nn.Module, nn.Module | None] | None = None) -> M:
    """Copies a module; the copy holds the very parameters that do not learn, and the very buffers.

    Args:
        module: What to copy.
        instead: Parts of it, and what stands in their place in the copy.
    """
    memo: dict[int, Any] = {
        id(part): part for part in module.parameters() if not part.requires_grad
    }
    memo |= {id(buffer): buffer for buffer in module.buffers()}
    memo |= {id(part): replacement for part, replacement in (instead or {}).items()}
    return copy.deepcopy(module, memo)

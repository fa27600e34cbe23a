# SPDX-License-Identifier: Apache-2.0
"""An offline talking companion: a small byte-level RWKV-7 whose state is never reset.

    import parrot
    model = parrot.Model.open()
    state = model.new_state()
    for piece in model.generate(state, prompt=b"\\x02Hello!\\x03\\x06"):
        print(piece.decode(), end="", flush=True)

The names below are the stable API. They are loaded when first used, so that `import parrot` and
`parrot --help` cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parrot.base.errors import ParrotError
    from parrot.engine.generate import Abort, Sampling
    from parrot.engine.model import Model
    from parrot.engine.state import State

_HOMES = {
    "Abort": "parrot.engine.generate",
    "Model": "parrot.engine.model",
    "ParrotError": "parrot.base.errors",
    "Sampling": "parrot.engine.generate",
    "State": "parrot.engine.state",
}

__all__ = ["Abort", "Model", "ParrotError", "Sampling", "State"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'parrot' has no attribute {name!r}")

# SPDX-License-Identifier: Apache-2.0
"""An offline talking companion: a small byte-level RWKV-7 whose state is never reset."""

from parrot.base.errors import ParrotError
from parrot.engine.generate import Abort
from parrot.engine.model import Model
from parrot.engine.state import State

__all__ = ["Abort", "Model", "ParrotError", "State"]

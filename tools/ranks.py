# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one network (`torchrun`). Alone, they do nothing here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def ranks(device: str) -> Iterator[tuple[int, int]]:
    """(this process's number, how many there are), as torchrun says."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield 0, 1
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield dist.get_rank(), world
    finally:
        dist.destroy_process_group()


def mean(x: Tensor) -> Tensor:
    """Over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(x)
        x /= dist.get_world_size()
    return x


def together(x: Tensor) -> Tensor:
    """The rows of all processes, one after the other."""
    if not dist.is_initialized():
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def from_first(number: float) -> float:
    """What process 0 says: clocks differ, decisions must not."""
    if not dist.is_initialized():
        return number
    x = torch.tensor([number], dtype=torch.float64)
    if dist.get_backend() == "nccl":
        x = x.cuda()
    dist.broadcast(x, 0)
    return float(x.item())


def shared(work: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """`work(batch)`, each process having done its share of the batch's first dimension."""
    if not dist.is_initialized():
        return work(batch)
    world, rank, n = dist.get_world_size(), dist.get_rank(), len(batch)
    each = -(-n // world)
    mine = batch[rank * each : (rank + 1) * each]
    done = batch.new_zeros(each, *batch.shape[1:])
    if len(mine):
        done[: len(mine)] = work(mine)
    parts = [torch.empty_like(done) for _ in range(world)]
    dist.all_gather(parts, done)
    return torch.cat(parts)[:n]

"""How the denoising UNet sees the reference: its self-attention also looks at the other's tokens.

In every transformer block of the reference UNet the input of the self-attention is kept. The block
of the same name in the denoising UNet projects it with its own key and value matrices, once for
each clip, and appends the result to its own keys and values. Rows without a prompt (the
unconditional half of guidance) attend to themselves alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch import nn

_SELF_ATTENTION = ".attn1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeysValues:
    """What one block attends to besides itself."""

    keys: torch.Tensor
    """(B, heads, tokens, channels of a head)."""
    values: torch.Tensor
    """(B, heads, tokens, channels of a head)."""


@contextmanager
def recorded_norms(reference_unet: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Record what enters each self-attention while the reference UNet runs inside the block.

    Yields:
        Name of the transformer block to (B, tokens, channels); filled by the run.
    """
    norms: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401 - torch types hooks by their shape alone
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            norms[name] = output

        return hook

    handles = [
        reference_unet.get_submodule(f"{name}.norm1").register_forward_hook(keep(name))
        for name in _blocks(reference_unet)
    ]
    try:
        yield norms
    finally:
        for handle in handles:
            handle.remove()


class ReferenceAttention:
    """The self-attentions of a denoising UNet, which from now on can be given a reference."""

    def __init__(self, denoising_unet: nn.Module) -> None:
        self._readers: dict[str, _Reader] = {}
        self._attentions: dict[str, Any] = {}
        for name in _blocks(denoising_unet):
            attention: Any = denoising_unet.get_submodule(f"{name}{_SELF_ATTENTION}")
            reader = _Reader()
            attention.set_processor(reader)
            self._readers[name] = reader
            self._attentions[name] = attention

    def project(self, norms: Mapping[str, torch.Tensor]) -> dict[str, KeysValues]:
        """Return keys and values of what `recorded_norms` found, block by block of the same name.

        Raises:
            KeyError: the UNets have different blocks.
        """
        return {
            name: KeysValues(
                keys=_by_head(attention, attention.to_k(norms[name])),
                values=_by_head(attention, attention.to_v(norms[name])),
            )
            for name, attention in self._attentions.items()
        }

    @contextmanager
    def reading(
        self, banks: Sequence[Mapping[str, KeysValues]], *, plain_rows: int
    ) -> Iterator[None]:
        """Let the UNet read references inside the block.

        Args:
            banks: one for each of the last rows of the UNet's batch, in order.
            plain_rows: how many rows before them read none.
        """
        try:
            for name, reader in self._readers.items():
                own = [bank[name] for bank in banks]
                reader.plain_rows = plain_rows
                reader.bank = own[0] if len(own) == 1 else _joined(own)
            yield
        finally:
            for reader in self._readers.values():
                reader.bank = None


class _Reader:
    """Self-attention as diffusers' own processor computes it, with more keys and values."""

    def __init__(self) -> None:
        self.bank: KeysValues | None = None
        self.plain_rows = 0

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers' Attention, which has no types
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        del encoder_hidden_states, attention_mask, temb  # a self-attention without mask has none
        query = _by_head(attn, attn.to_q(hidden_states))
        keys = _by_head(attn, attn.to_k(hidden_states))
        values = _by_head(attn, attn.to_v(hidden_states))
        if self.bank is None:
            attended = scaled_dot_product_attention(query, keys, values)
        else:
            plain, rest = slice(self.plain_rows), slice(self.plain_rows, None)
            reading = scaled_dot_product_attention(
                query[rest],
                torch.cat([keys[rest], self.bank.keys], dim=2),
                torch.cat([values[rest], self.bank.values], dim=2),
            )
            attended = reading
            if self.plain_rows:
                alone = scaled_dot_product_attention(query[plain], keys[plain], values[plain])
                attended = torch.cat([alone, reading])
        merged = attended.transpose(1, 2).flatten(2)
        projected: torch.Tensor = attn.to_out[0](merged)
        return projected


def _blocks(unet: nn.Module) -> list[str]:
    """Names of the transformer blocks that have a self-attention."""
    names = [name for name, _ in unet.named_modules() if name.endswith(_SELF_ATTENTION)]
    return [name.removesuffix(_SELF_ATTENTION) for name in names]


def _by_head(attention: Any, tokens: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - as above
    """Turn (B, tokens, channels) into (B, heads, tokens, channels of a head)."""
    return tokens.view(*tokens.shape[:2], attention.heads, -1).transpose(1, 2)


def _joined(banks: Sequence[KeysValues]) -> KeysValues:
    return KeysValues(
        keys=torch.cat([bank.keys for bank in banks]),
        values=torch.cat([bank.values for bank in banks]),
    )

"""What scores, heads and play ask of a network that reads tokens: attention or recurrence.

Shapes: B rows, T tokens, D width, V vocabulary.
"""

from typing import Any, Protocol

from maxent_lm.types import Array, Params


class Sizes(Protocol):
  """What others build on."""

  @property
  def d_model(self) -> int:
    """D."""
    ...

  @property
  def vocab_size(self) -> int:
    """V."""
    ...


class Network(Protocol):
  """`decoder.LM` and `recurrent.Recurrent`; column t of a hidden state has read tokens[:, :t + 1].

  `hidden` reads whole rows; `decode`, from an `empty` memory on, a token a row.
  """

  @property
  def config(self) -> Sizes:
    """Its sizes."""
    ...

  def hidden(self, params: Params, tokens: Array, /) -> Array:
    """[B, T] -> [B, T, D]."""
    ...

  def head(self, params: Params, /) -> Array:
    """The output matrix [D, V]."""
    ...

  def empty(self, *, batch: int, slots: int) -> Any:
    """The memory of `batch` rows that have read nothing and will read `slots` tokens."""
    ...

  def decode(self, params: Params, token: Array, memory: Any, /) -> tuple[Array, Any]:
    """[B] one more token a row -> ([B, D], memory)."""
    ...

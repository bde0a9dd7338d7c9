"""The shape of a decoder-only language model, and how it is computed."""

import dataclasses

FAMILIES = ('llama', 'qwen2', 'qwen3')
DTYPES = ('float32', 'bfloat16')
SIZES = (
  'vocab_size',
  'd_model',
  'num_layers',
  'num_heads',
  'num_kv_heads',
  'head_dim',
  'd_ff',
  'max_length',
)


@dataclasses.dataclass(frozen=True)
class LMConfig:
  """A Llama-shaped decoder: pre-norm, RoPE, grouped-query attention, SwiGLU.

  Hashable, so that it can be a static argument of `jax.jit`. Raises ValueError, in one sentence,
  for a combination that no model has.

  Attributes:
    vocab_size: V, rows of the embedding table.
    d_model: D, width of the residual stream.
    num_layers: L.
    num_heads: N query heads.
    num_kv_heads: K key and value heads; N / K query heads share one.
    head_dim: H, even; need not be D / N.
    d_ff: F, hidden width of the SwiGLU block.
    family: 'llama', 'qwen2' (biases on query, key, value) or 'qwen3' (RMSNorm on query and key).
    tied: the output head is the transposed embedding table.
    rope_theta: base of the rotary frequencies.
    norm_eps: added to the mean square in every RMSNorm.
    max_length: longest sequence the model was made for, in tokens.
    dtype: of activations, 'float32' or 'bfloat16'; norms, softmax and logits are always float32.
    param_dtype: of the stored parameters, cast to `dtype` where they are used.
    remat: recompute each layer in the backward pass instead of keeping its activations.
    scan_layers: `lax.scan` over the layers (compile time constant in depth) or unroll them; the
      parameters are stacked [L, ...] either way.
  """

  vocab_size: int
  d_model: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  family: str = 'llama'
  tied: bool = True
  rope_theta: float = 10_000.0
  norm_eps: float = 1e-6
  max_length: int = 2048
  dtype: str = 'float32'
  param_dtype: str = 'float32'
  remat: bool = False
  scan_layers: bool = False

  def __post_init__(self) -> None:
    for name, size in zip(SIZES, (dataclasses.asdict(self)[name] for name in SIZES), strict=True):
      if size < 1:
        raise ValueError(f'LMConfig.{name} is {size}; it must be at least 1.')
    if self.family not in FAMILIES:
      raise ValueError(
        f'LMConfig.family {self.family!r} is not known; use one of {", ".join(FAMILIES)}.'
      )
    for name, dtype in (('dtype', self.dtype), ('param_dtype', self.param_dtype)):
      if dtype not in DTYPES:
        raise ValueError(f'LMConfig.{name} {dtype!r} is not known; use one of {", ".join(DTYPES)}.')
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
        f'LMConfig.num_heads {self.num_heads} is not a multiple of num_kv_heads '
        f'{self.num_kv_heads}; every key head serves the same number of query heads.'
      )
    if self.head_dim % 2:
      raise ValueError(
        f'LMConfig.head_dim {self.head_dim} is odd; rotary embeddings rotate pairs, use an even '
        'number.'
      )
    if self.rope_theta <= 0 or self.norm_eps <= 0:
      raise ValueError(
        f'LMConfig.rope_theta {self.rope_theta} and norm_eps {self.norm_eps} must both be positive.'
      )

  @property
  def qkv_bias(self) -> bool:
    """Query, key and value projections have a bias."""
    return self.family == 'qwen2'

  @property
  def qk_norm(self) -> bool:
    """Queries and keys go through an RMSNorm over the head dimension, before RoPE."""
    return self.family == 'qwen3'

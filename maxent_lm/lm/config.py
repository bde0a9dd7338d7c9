"""The shape of a decoder-only language model, and how it is computed."""

import dataclasses

FAMILIES = ('llama', 'qwen2', 'qwen3')
DTYPES = ('float32', 'bfloat16')
ATTENTIONS = ('xla', 'cudnn')
CUDNN_HEAD_DIM = 256  # the largest it computes, in multiples of 8; 128 before Hopper
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
    cache_dtype: of the keys and values that decoding keeps; '' is `dtype`. What attention computes
      of them is in the wider of the two.
    attention: of whole rows, 'xla' or 'cudnn', a fused kernel of NVIDIA GPUs that never holds
      queries x keys (see `layers.mix`).
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
  cache_dtype: str = ''
  attention: str = 'xla'
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
    known = {
      'dtype': DTYPES,
      'param_dtype': DTYPES,
      'cache_dtype': ('', *DTYPES),
      'attention': ATTENTIONS,
    }
    for name, values in known.items():
      value = dataclasses.asdict(self)[name]
      if value not in values:
        listed = ', '.join(each or "''" for each in values)
        raise ValueError(f'LMConfig.{name} {value!r} is not known; use one of {listed}.')
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
    if self.attention == 'cudnn':
      self._check_cudnn()

  def _check_cudnn(self) -> None:
    if self.dtype == 'float32':
      raise ValueError(
        "LMConfig.attention 'cudnn' has no float32: set dtype to bfloat16, or attention to 'xla'."
      )
    if self.head_dim % 8 or self.head_dim > CUDNN_HEAD_DIM:
      raise ValueError(
        f"LMConfig.attention 'cudnn' needs a head_dim that is a multiple of 8 and at most "
        f"{CUDNN_HEAD_DIM}, but it is {self.head_dim}; set attention to 'xla'."
      )

  @property
  def qkv_bias(self) -> bool:
    """Query, key and value projections have a bias."""
    return self.family == 'qwen2'

  @property
  def qk_norm(self) -> bool:
    """Queries and keys go through an RMSNorm over the head dimension, before RoPE."""
    return self.family == 'qwen3'

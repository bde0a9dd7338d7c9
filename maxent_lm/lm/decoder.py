"""The decoder as a stack of layers, and `LM`, its face of pure functions.

The modules are flax nnx and know no mesh. `LM` splits them at the door: outside, parameters are a
plain nested dict of arrays, and everything is a pure function of them. Layer parameters are stacked
[L, ...] whether the layers are scanned or unrolled.

Shapes: B rows, T tokens, P prompt tokens, S cache slots, D width, N query heads, K key heads, H
head dimension, F hidden width, L layers, V vocabulary.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding

from maxent_lm.lm import cache as cache_lib
from maxent_lm.lm import partition
from maxent_lm.lm.cache import Cache, Shared
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.layers import DEVIATION, Block, RMSNorm, mix, parameter, rope
from maxent_lm.types import Array, Params

# `layers.Attend` for any layer: it is also given the layer's index and the loop's carry.
LayerAttend = Callable[[Array | int, tuple, Array, Array, Array], tuple[Array, tuple]]


class Decoder(nnx.Module):
  """Embedding, L blocks, final norm; the head is applied elsewhere, in chunks."""

  def __init__(self, config: LMConfig) -> None:
    self.config = config
    vocabulary, d = config.vocab_size, config.d_model
    self.embedding = parameter(config, (vocabulary, d), deviation=DEVIATION)
    stack = nnx.vmap(
      lambda _: Block(config), transform_metadata={nnx.PARTITION_NAME: None}, out_axes=0
    )
    self.layers = stack(jnp.arange(config.num_layers))
    self.norm = RMSNorm(config, d)
    self.head = None if config.tied else parameter(config, (d, vocabulary), deviation=DEVIATION)

  def __call__(
    self,
    tokens: Array,
    positions: Array,
    attend: LayerAttend,
    carry: tuple,
    *,
    remat: bool,
    scale: Array | None = None,
  ) -> tuple[Array, tuple, tuple]:
    """[B, T] tokens -> (hidden [B, T, D], final carry, what each layer kept, stacked [L, ...]).

    `scale` [B, T] multiplies the embeddings; None is 1.
    """
    # The table stays split: a device looks up its part of the width for all rows of its copy, and
    # the devices then exchange parts of the width for rows.
    tokens = partition.constrain(tokens, 'copy', None)
    x = partition.constrain(self.embedding[...][tokens], 'copy', None, 'embed')
    x = partition.constrain(x.astype(self.config.dtype), 'batch', None, None)
    if scale is not None:
      x *= scale[:, :, None].astype(x.dtype)
    angles = rope(positions, self.config)
    graph, layers = nnx.split(self.layers)

    def layer(state: tuple[Array, tuple], of: tuple[Array | int, Params]) -> tuple:
      (x, carry), (index, params) = state, of
      x, (carry, kept) = nnx.merge(graph, params)(
        x, angles, functools.partial(attend, index, carry)
      )
      return (x, carry), kept

    scan = self.config.scan_layers
    step = jax.checkpoint(layer, prevent_cse=not scan) if remat else layer
    loop = jax.lax.scan if scan else _unrolled
    (x, carry), kept = loop(step, (x, carry), (jnp.arange(self.config.num_layers), layers))
    return self.norm(x), carry, kept


def _unrolled(step: Callable, state: tuple, stacked: tuple[Array, Params]) -> tuple:
  """`lax.scan(step, state, (indices, params))` as a Python loop with static indices."""
  indices, params = stacked
  kept = []
  for i in range(len(indices)):
    # A leaf is [L, ...], or from `LM.unstacked` a tuple.
    own = jax.tree.map(lambda leaf, i=i: leaf[i], params, is_leaf=lambda x: isinstance(x, tuple))
    state, out = step(state, (i, own))
    kept.append(out)
  return state, jax.tree.map(lambda *outs: jnp.stack(outs), *kept)


def segment_positions(segments: Array) -> Array:
  """[B, T] positions that count from 0 at the first column of every run of equal numbers."""
  columns = jnp.broadcast_to(jnp.arange(segments.shape[1])[None, :], segments.shape)
  starts = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
  return columns - jax.lax.cummax(jnp.where(starts, columns, 0), axis=1)


def _attend_sequence(config: LMConfig, segments: Array | None, *, keep: bool) -> LayerAttend:
  """Causal attention within segments; `keep` hands keys and values back (prefill)."""
  # Padding (segment 0) sees the padding before it: no row is fully masked, so nothing is NaN.
  mask = None if segments is None else (segments[:, :, None] == segments[:, None, :])[:, None]

  def attend(_: Array | int, carry: tuple, query: Array, key: Array, value: Array) -> tuple:
    mixed = mix(config, query, key, value, mask=mask, is_causal=True)
    return mixed, (carry, (key, value) if keep else ())

  return attend


def _attend_cache(cache: Cache) -> LayerAttend:
  """One query per row over the cache, which the loop over layers carries as (keys, values)."""
  slots = jnp.arange(cache.valid.shape[1])[None, :]
  valid = cache.valid | (slots == cache.length)
  shared = cache.shared

  def attend(layer: Array | int, carry: tuple, query: Array, key: Array, value: Array) -> tuple:
    carry, keys, values = cache_lib.append(carry, key, value, layer=layer, slot=cache.length)
    b, _, n, h = query.shape
    grouped = query.reshape(b, key.shape[2], n // key.shape[2], h)
    wider = jnp.promote_types(value.dtype, values.dtype)
    logits = [_see(grouped, keys, valid)]
    if shared is not None:
      common = cache_lib.of_layer(shared.keys, layer)
      logits += [_in_rows(_see(_in_groups(grouped, shared), common, shared.valid), b)]
    powers, total = _powers(logits)
    mixed = jnp.einsum('bkgs,bksh->bkgh', powers[0].astype(wider), values)
    if shared is not None:
      of_shared = _in_groups(powers[1].astype(wider), shared)
      before = jnp.einsum('nkgp,nkph->nkgh', of_shared, cache_lib.of_layer(shared.values, layer))
      mixed += _in_rows(before, b)
    mixed = (mixed / total).astype(value.dtype)
    return mixed.reshape(b, 1, n, h), (carry, ())

  return attend


def _see(queries: Array, keys: Array, valid: Array) -> Array:
  """q k / sqrt(H), float32 [B, K, G, S], of queries [B, K, G, H] and keys [B, K, S, H]."""
  logits = jnp.einsum('bkgh,bksh->bkgs', queries, keys, preferred_element_type=jnp.float32)
  scaled = logits * queries.shape[-1] ** -0.5
  return jnp.where(valid[:, None, None, :], scaled, jnp.finfo(jnp.float32).min)


def _powers(parts: Sequence[Array]) -> tuple[list[Array], Array]:
  """e^(x - max) of each part [..., S], max over all of them, and [..., 1] the sum over all."""
  largest = functools.reduce(jnp.maximum, (jnp.max(x, axis=-1, keepdims=True) for x in parts))
  powers = [jnp.exp(x - largest) for x in parts]
  totals = (jnp.sum(x, axis=-1, keepdims=True) for x in powers)
  return powers, functools.reduce(jnp.add, totals)


def _in_groups(of_rows: Array, shared: Shared) -> Array:
  """[B, K, G, X] -> [N, K, (B / N) G, X]: the queries of a group are those of one long row."""
  count = shared.valid.shape[0]
  _, k, g, x = of_rows.shape
  split = of_rows.reshape(count, -1, k, g, x).swapaxes(1, 2)
  return split.reshape(count, k, -1, x)


def _in_rows(of_groups: Array, rows: int) -> Array:
  """What `_in_groups` undoes."""
  count, k, _, x = of_groups.shape
  split = of_groups.reshape(count, k, rows // count, -1, x).swapaxes(1, 2)
  return split.reshape(rows, k, -1, x)


@functools.cache
def _abstract(config: LMConfig) -> tuple[nnx.GraphDef, nnx.State]:
  return nnx.split(nnx.eval_shape(lambda: Decoder(config)))


@dataclasses.dataclass(frozen=True)
class LM:
  """A language model as pure functions of (params, tokens).

  Hashable: close over it or pass it as a static argument. It holds no arrays; `params` is a plain
  nested dict as made by `init` or `pretrained.load_params`.
  """

  config: LMConfig

  def abstract_params(self) -> Params:
    """The parameters as ShapeDtypeStructs; costs no memory."""
    return nnx.to_pure_dict(_abstract(self.config)[1])

  def init(self, seed: int, shardings: Params | None = None) -> Params:
    """Random parameters: weights N(0, 0.02^2), residual outputs 0.02 / sqrt(2L), norms 1, biases 0.

    Drawn on the host, leaf by leaf, so nothing is compiled, and the same seed gives the same
    numbers on every mesh. `shardings` (see `partition.param_shardings`) says where they go.
    """

    variables = dict(nnx.to_flat_state(_abstract(self.config)[1]))

    def draw(path: tuple, leaf: Array, sharding: NamedSharding | None = None) -> Array:
      names = partition.path_names(path)
      meta = variables[names].get_metadata()
      generator = np.random.default_rng([seed, zlib.crc32('/'.join(names).encode())])
      values = np.full(leaf.shape, meta['mean'], np.float32)
      if meta['deviation']:
        noise = generator.standard_normal(leaf.shape, dtype=np.float32)
        values += np.float32(meta['deviation']) * noise
      return partition.place(values.astype(leaf.dtype), sharding)

    abstract = self.abstract_params()
    trees = (abstract,) if shardings is None else (abstract, shardings)
    return jax.tree_util.tree_map_with_path(draw, *trees)

  def _module(self, params: Params) -> Decoder:
    return nnx.merge(_abstract(self.config)[0], params)

  def hidden(
    self,
    params: Params,
    tokens: Array,
    positions: Array | None = None,
    segments: Array | None = None,
    scale: Array | None = None,
  ) -> Array:
    """Hidden states after the final norm, [B, T, D] in the compute dtype.

    Args:
      params: nested dict of arrays.
      tokens: [B, T] int32.
      positions: [B, T] rotary positions; default: the column, or the place within the segment.
      segments: [B, T] int32, consecutive columns with one number are one sequence; a token sees
        only earlier tokens of its own sequence. 0 is padding. None: each row is one sequence
        (padding on the right needs no mask, for it is later than everything real).
      scale: [B, T] factors on the embeddings, for derivatives in them; None is 1.
    """
    if positions is None:
      positions = segment_positions(jnp.zeros_like(tokens) if segments is None else segments)
    attend = _attend_sequence(self.config, segments, keep=False)
    remat = self.config.remat
    return self._module(params)(tokens, positions, attend, (), remat=remat, scale=scale)[0]

  def run(
    self, params: Params, tokens: Array, attend: LayerAttend, carry: tuple
  ) -> tuple[Array, tuple]:
    """(hidden [B, T, D], final carry) of whole rows, with `attend` in every layer's attention.

    For looking inside: `attend` must mix causally itself, and may leave what it saw in the carry.
    """
    positions = segment_positions(jnp.zeros_like(tokens))
    return self._module(params)(tokens, positions, attend, carry, remat=False)[:2]

  def laid_out(
    self, params: Params, tokens: Array, positions: Array, attend: LayerAttend
  ) -> tuple[Array, tuple]:
    """Hidden states [B, T, D] of tokens that see each other as `attend` says, in every layer.

    And what `attend` keeps of every layer, stacked [L, ...].
    """
    remat = self.config.remat
    hidden, _, kept = self._module(params)(tokens, positions, attend, (), remat=remat)
    return hidden, kept

  def unstacked(self, params: Params) -> Params:
    """Parameters for a loop over tokens or rows, with a tuple of L arrays for every [L, ...].

    Otherwise each turn of the loop takes every layer's out of the stack, which on CPU copies them.
    Scanned layers stay stacked.
    """
    if self.config.scan_layers:
      return params
    return {**params, 'layers': jax.tree.map(tuple, params['layers'])}

  def narrowed(self, params: Params) -> Params:
    """Parameters in the dtype in which layers multiply them; norms' scales stay as they are.

    The same numbers as without it: a loop over tokens else casts every one of them for each token.
    """

    def cast(path: tuple, leaf: Array) -> Array:
      is_scale = partition.path_names(path)[-1] == 'scale'
      return leaf if is_scale else leaf.astype(self.config.dtype)

    return jax.tree_util.tree_map_with_path(cast, params)

  def stacked(self, params: Params) -> Params:
    """What `unstacked` undoes."""
    if self.config.scan_layers:
      return params
    layers = jax.tree.map(jnp.stack, params['layers'], is_leaf=lambda x: isinstance(x, tuple))
    return {**params, 'layers': layers}

  def head(self, params: Params) -> Array:
    """The output matrix [D, V], in the parameter dtype: the embedding's transpose if tied."""
    head = params['embedding'].T if self.config.tied else params['head']
    # Gather it over fsdp once, not in every chunk of a loop that uses it.
    return partition.constrain(head, None, 'vocab')

  def logits(
    self,
    params: Params,
    tokens: Array,
    positions: Array | None = None,
    segments: Array | None = None,
  ) -> Array:
    """All logits, [B, T, V] float32: for tests and small models; training uses `scores`."""
    hidden = self.hidden(params, tokens, positions, segments)
    head = self.head(params).astype(hidden.dtype)
    return jnp.einsum('btd,dv->btv', hidden, head, preferred_element_type=jnp.float32)

  def empty(self, *, batch: int, slots: int) -> Cache:
    """A cache of `slots` slots with nothing in it; ValueError if the model is too short for it."""
    if slots > self.config.max_length:
      raise ValueError(
        f'{slots} columns do not fit: the model has {self.config.max_length} positions; raise '
        'max_length.'
      )
    return cache_lib.empty(self.config, batch=batch, slots=slots)

  def prefill(
    self, params: Params, tokens: Array, valid: Array, cache_length: int
  ) -> tuple[Array, Cache]:
    """Reads LEFT-padded prompts [B, P] and makes a cache of `cache_length` = S >= P slots.

    `valid` [B, P] is True on real tokens. Returns the hidden state [B, D] of the last column, from
    which the first response token is drawn, and the cache. Raises ValueError if S is shorter than
    the prompts or longer than the model's `max_length`.
    """
    prompt = tokens.shape[1]
    if not prompt <= cache_length <= self.config.max_length:
      raise ValueError(
        f'A cache of {cache_length} slots does not fit: it must hold the prompt of {prompt} tokens '
        f'and be no longer than max_length {self.config.max_length}.'
      )
    segments = valid.astype(jnp.int32)
    positions = segment_positions(segments)
    attend = _attend_sequence(self.config, segments, keep=True)
    hidden, _, (keys, values) = self._module(params)(tokens, positions, attend, (), remat=False)
    cache = cache_lib.filled(self.config, keys, values, valid)
    return hidden[:, -1], cache_lib.extend(cache, cache_length)

  def decode(self, params: Params, token: Array, cache: Cache) -> tuple[Array, Cache]:
    """Reads one token [B] per row into slot `cache.length`; returns its hidden state [B, D]."""
    hidden, (keys, values), _ = self._module(params)(
      token[:, None],
      cache.position[:, None],
      _attend_cache(cache),
      (cache.keys, cache.values),
      remat=False,
    )
    read = jnp.arange(cache.valid.shape[1])[None, :] == cache.length
    return hidden[:, 0], cache._replace(
      keys=keys,
      values=values,
      valid=cache.valid | read,
      position=cache.position + 1,
      length=cache.length + 1,
    )

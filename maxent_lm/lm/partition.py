"""Where every parameter lives: parameter path -> logical axes -> mesh axes.

The only file that names mesh axes. Two tables: `PARAMETERS` says what each axis of a parameter is,
`RULES` says which mesh axes that is split over. An axis whose size the mesh does not divide is
replicated instead.
"""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from maxent_lm.types import Array, Params

MESH_AXES = ('data', 'fsdp', 'tensor')

RULES: Mapping[str, tuple[str, ...]] = {
  'batch': ('data', 'fsdp'),
  'all': ('data', 'fsdp', 'tensor'),
  'copy': ('data',),  # rows, together on the devices that share one copy of the parameters
  'embed': ('fsdp',),
  'heads': ('tensor',),
  'kv': ('tensor',),
  'mlp': ('tensor',),
  'vocab': ('tensor',),
}

PARAMETERS: Mapping[tuple[str, ...], tuple[str | None, ...]] = {
  ('embedding',): ('vocab', 'embed'),
  ('head',): ('embed', 'vocab'),
  ('norm', 'scale'): (None,),
  ('layers', 'attention_norm', 'scale'): (None, None),
  ('layers', 'attention', 'query'): (None, 'embed', 'heads', None),
  ('layers', 'attention', 'key'): (None, 'embed', 'kv', None),
  ('layers', 'attention', 'value'): (None, 'embed', 'kv', None),
  ('layers', 'attention', 'output'): (None, 'heads', None, 'embed'),
  ('layers', 'attention', 'query_bias'): (None, 'heads', None),
  ('layers', 'attention', 'key_bias'): (None, 'kv', None),
  ('layers', 'attention', 'value_bias'): (None, 'kv', None),
  ('layers', 'attention', 'query_norm', 'scale'): (None, None),
  ('layers', 'attention', 'key_norm', 'scale'): (None, None),
  ('layers', 'mlp_norm', 'scale'): (None, None),
  ('layers', 'mlp', 'gate'): (None, 'embed', 'mlp'),
  ('layers', 'mlp', 'up'): (None, 'embed', 'mlp'),
  ('layers', 'mlp', 'down'): (None, 'mlp', 'embed'),
  ('q1', 'down'): (None, 'vocab'),
  ('q2', 'down'): (None, 'vocab'),
  ('atoms', 'down'): (None, 'vocab'),
}


def make_mesh(
  *, data: int = 1, fsdp: int = 1, tensor: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """A (data, fsdp, tensor) mesh over the first of `devices` (default: those of the program).

  At most one size may be -1: it takes all devices that are left. Raises ValueError if the sizes
  ask for more devices than there are, or if -1 cannot use up the rest.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [data, fsdp, tensor]
  asked = f'data={data} x fsdp={fsdp} x tensor={tensor}'
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise ValueError(f'Mesh {asked} is not valid; sizes are positive, and at most one may be -1.')
  count = len(devices)
  if -1 in sizes:
    sizes[sizes.index(-1)] = count // math.prod(size for size in sizes if size != -1)
  used = math.prod(sizes)
  if used > count or used == 0 or (-1 in (data, fsdp, tensor) and used != count):
    raise ValueError(
      f'Mesh {asked} does not fit {count} devices; the sizes must multiply to at most that number, '
      'and to exactly it with one of them -1 for the rest.'
    )
  if used < count and len({device.process_index for device in devices}) > 1:
    raise ValueError(f'Mesh {asked} must use all {count} devices of the processes.')
  return jax.make_mesh(
    tuple(sizes), MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[:used]
  )


def path_names(path: tuple) -> tuple[str, ...]:
  """The names along a pytree path: dict keys, attributes and indices as strings."""
  return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def logical_axes(path: tuple) -> tuple[str | None, ...] | None:
  """Logical axes of the parameter whose path `path` ends with; None if there is no such."""
  names = path_names(path)
  for length in range(len(names), 0, -1):
    if names[-length:] in PARAMETERS:
      return PARAMETERS[names[-length:]]
  return None


def partition_spec(
  shape: Sequence[int], axes: Sequence[str | None], sizes: Mapping[str, int]
) -> PartitionSpec:
  """`RULES` applied to `axes` on a mesh of `sizes`; axes that do not divide are replicated."""
  entries = []
  for size, axis in zip(shape, axes, strict=True):
    names = RULES[axis] if axis else ()
    divides = size % math.prod(sizes[name] for name in names) == 0
    entries.append(names if names and divides else None)
  return PartitionSpec(*entries)


def param_shardings(tree: Params, mesh: Mesh) -> Params:
  """A NamedSharding for every leaf of `tree` (arrays or ShapeDtypeStructs), in the same structure.

  A leaf is recognised by the end of its path, so optimiser state, averaged copies and whole train
  states work too. Scalars, unknown paths and leaves of another rank are replicated.
  """

  def sharding(path: tuple, leaf: Array) -> NamedSharding:
    axes = logical_axes(path)
    if axes is None or len(axes) != len(leaf.shape):
      return replicated(mesh)
    return NamedSharding(mesh, partition_spec(leaf.shape, axes, mesh.shape))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def abstract(tree: Params, mesh: Mesh) -> Params:
  """`tree` as ShapeDtypeStructs with the shardings of `param_shardings`; nothing is allocated."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    tree,
    param_shardings(tree, mesh),
  )


def device_bytes(tree: Params) -> int:
  """Of the shapes with shardings in `tree`, what one device holds; keys of randomness left out."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """For [B, ...] arrays: rows over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(RULES['batch']))


def abstract_rows(tree: Params, mesh: Mesh) -> Params:
  """Arrays [B, ...] as ShapeDtypeStructs with `batch_sharding`."""
  rows = batch_sharding(mesh)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows), tree
  )


def batch_shards(mesh: Mesh) -> int:
  """How many pieces `batch_sharding` cuts the rows into; their number must be a multiple."""
  return math.prod(mesh.shape[name] for name in RULES['batch'])


def shares(axis: str, size: int) -> int:
  """How many pieces devices cut a logical axis of `size` into under `jax.set_mesh`.

  1 without a mesh, and where they cannot share it, so that each has all of it.
  """
  mesh = jax.sharding.get_abstract_mesh()
  count = 1 if mesh.empty else math.prod(mesh.shape[name] for name in RULES[axis])
  return count if size % count == 0 else 1


def replicated(mesh: Mesh) -> NamedSharding:
  """The whole array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def constrain(values: Array, *axes: str | None) -> Array:
  """`values` laid out by its logical axes under `jax.set_mesh`; unchanged without a mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return values
  return jax.lax.with_sharding_constraint(values, partition_spec(values.shape, axes, mesh.shape))


def whole_rows(logits: Array) -> Array:
  """[B, V] with its rows over all devices and none of them split; unchanged if those cannot share.

  A device gives away its part of the vocabulary for rows, and holds no more than before.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or logits.shape[0] % mesh.size:
    return logits
  # Said first, or XLA would put the head together and compute the rows from it.
  return constrain(constrain(logits, 'batch', 'vocab'), 'all', None)


def place(values: np.ndarray | Array, sharding: Sharding | None) -> Array:
  """An array on the devices of `sharding`, which may belong to several processes.

  Every one of them holds the whole of `values`, and gives its own devices their part; or `values`
  is on the devices of all of them already.
  """
  if sharding is None or sharding.is_fully_addressable:
    return jax.device_put(values, sharding)
  if isinstance(values, jax.Array) and not values.is_fully_addressable:
    return jax.device_put(values, sharding)
  if jnp.issubdtype(values.dtype, jax.dtypes.prng_key):
    return jax.random.wrap_key_data(place(jax.random.key_data(values), sharding))
  host = np.asarray(values)
  return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def place_all(tree: Params, mesh: Mesh) -> Params:
  """Every leaf on the mesh, laid out as `param_shardings` says."""
  return jax.tree.map(place, tree, param_shardings(tree, mesh))

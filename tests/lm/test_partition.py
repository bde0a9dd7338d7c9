import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import PartitionSpec
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.analysis import cost, hlo
from maxent_lm.lm import partition
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CRITICS
from maxent_lm.lm.scores import make_scorer, score_hidden

MESH = dict(data=2, fsdp=2, tensor=2)
EVEN = dict(vocab_size=40, d_model=24)  # divisible by every mesh axis


@pytest.mark.parametrize('family', ['llama', 'qwen2', 'qwen3'])
def test_every_parameter_is_named_by_the_table(family):
  abstract = LM(tiny(family=family, tied=False)).abstract_params()
  for path, leaf in jax.tree_util.tree_flatten_with_path(abstract)[0]:
    assert partition.path_names(path) in partition.PARAMETERS
    assert len(partition.logical_axes(path)) == leaf.ndim


def test_the_table_names_nothing_else():
  """Parameters of the decoders, and the output layers of critics that are as wide as one."""
  named = set()
  for family in ('llama', 'qwen2', 'qwen3'):
    abstract = LM(tiny(family=family, tied=False)).abstract_params()
    paths = jax.tree_util.tree_flatten_with_path(abstract)[0]
    named |= {partition.path_names(path) for path, _ in paths}
  lm = LM(tiny())
  for kind, options in {'ilql': {}, 'atoms': {'count': 3}}.items():
    critic = CRITICS[kind](lm, chunk=8, trunk='stopped', width=8, **options)
    heads = jax.eval_shape(functools.partial(critic.init, seed=0), lm.abstract_params())
    paths = jax.tree_util.tree_flatten_with_path(heads)[0]
    named |= {partition.path_names(path) for path, _ in paths} & set(partition.PARAMETERS)
  assert named == set(partition.PARAMETERS)


def test_parameter_shardings_literal():
  mesh = partition.make_mesh(**MESH)
  shardings = partition.param_shardings(LM(tiny(**EVEN)).abstract_params(), mesh)
  attention = shardings['layers']['attention']
  assert shardings['embedding'].spec == PartitionSpec('tensor', 'fsdp')
  assert attention['query'].spec == PartitionSpec(None, 'fsdp', 'tensor', None)
  assert attention['output'].spec == PartitionSpec(None, 'tensor', None, 'fsdp')
  assert shardings['layers']['mlp']['down'].spec == PartitionSpec(None, 'tensor', 'fsdp')
  assert shardings['norm']['scale'].is_fully_replicated
  assert partition.batch_sharding(mesh).spec == PartitionSpec(('data', 'fsdp'))


def test_an_axis_that_does_not_divide_is_replicated_alone():
  mesh = partition.make_mesh(**MESH)
  lm = LM(tiny(vocab_size=41, num_kv_heads=1, d_model=24))
  shardings = partition.param_shardings(lm.abstract_params(), mesh)
  assert shardings['embedding'].spec == PartitionSpec(None, 'fsdp')
  key = shardings['layers']['attention']['key'].spec
  assert key == PartitionSpec(None, 'fsdp', None, None)


def test_optimiser_state_follows_its_parameters():
  mesh = partition.make_mesh(**MESH)
  params = LM(tiny(**EVEN)).abstract_params()
  tree = {'params': params, 'opt': jax.eval_shape(optax.adam(1e-3).init, params), 'key': params}
  shardings = partition.param_shardings(tree, mesh)

  def specs(part):
    return jax.tree.map(lambda s: s.spec, part)

  assert specs(shardings['opt'][0].mu) == specs(shardings['params'])
  assert specs(shardings['opt'][0].nu) == specs(shardings['params'])
  assert shardings['opt'][0].count.spec == PartitionSpec()
  unknown = partition.param_shardings({'temperature': jnp.zeros((8, 8))}, mesh)
  assert unknown['temperature'].is_fully_replicated


def test_meshes_take_what_is_left_and_refuse_what_does_not_fit():
  assert partition.make_mesh(fsdp=-1, tensor=2).shape == {'data': 1, 'fsdp': 4, 'tensor': 2}
  one = partition.make_mesh(devices=jax.devices()[:1])
  assert one.shape == {'data': 1, 'fsdp': 1, 'tensor': 1}
  assert partition.make_mesh(data=3).devices.size == 3
  with pytest.raises(ValueError, match='data=9 x fsdp=1 x tensor=1 does not fit 8 devices'):
    partition.make_mesh(data=9)
  with pytest.raises(ValueError, match='data=3 x fsdp=-1 x tensor=1 does not fit 8 devices'):
    partition.make_mesh(data=3, fsdp=-1)
  with pytest.raises(ValueError, match='at most one may be -1'):
    partition.make_mesh(data=-1, fsdp=-1)


def test_sharded_initialisation_draws_the_same_numbers():
  mesh = partition.make_mesh(**MESH)
  lm = LM(tiny(**EVEN))
  shardings = partition.param_shardings(lm.abstract_params(), mesh)
  params = lm.init(0, shardings)
  assert jax.tree.map(lambda leaf: leaf.sharding, params) == shardings
  jax.tree.map(np.testing.assert_array_equal, params, lm.init(0))


def sharded_gradient(lm, mesh, params):
  """A jitted (params, tokens) -> (loss, gradient) on `mesh`, and one that knows of no mesh."""

  def loss(params, tokens):
    scores = make_scorer(lm, chunk=16)(params, tokens)
    return jnp.mean(scores.logp + scores.entropy + 0.1 * scores.value**2)

  gradient = jax.value_and_grad(loss)
  shardings = partition.param_shardings(params, mesh)
  sharded = jax.jit(
    gradient,
    in_shardings=(shardings, partition.batch_sharding(mesh)),
    out_shardings=(partition.replicated(mesh), shardings),
  )
  return sharded, jax.jit(gradient)


@pytest.mark.parametrize('scan', [False, True])
def test_eight_devices_give_the_loss_and_gradient_of_one(scan):
  lm = LM(tiny(**EVEN, family='qwen3', num_layers=2, tied=scan, scan_layers=scan, remat=scan))
  params = roughened(lm.init(0), scale=0.1)
  tokens = random_tokens(8, 6)
  mesh = partition.make_mesh(**MESH)
  sharded, single = sharded_gradient(lm, mesh, params)
  expected = single(params, tokens)
  with jax.set_mesh(mesh):
    placed = jax.device_put(params, partition.param_shardings(params, mesh))
    actual = sharded(placed, jax.device_put(tokens, partition.batch_sharding(mesh)))
  assert not actual[1]['embedding'].is_fully_replicated
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=2e-6), actual, expected
  )


@pytest.mark.parametrize('chunk', [10, 24, 1000])
def test_devices_score_the_rows_that_they_have(chunk):
  """8 rows of 9 states on 4 x 2 devices: each multiplies 18 states with half of the head, once."""
  lm = LM(tiny(**EVEN))
  mesh = partition.make_mesh(**MESH)
  shapes = (8, 9, 24), (24, 40), (8, 9)
  shardings = partition.batch_sharding(mesh), None, partition.batch_sharding(mesh)
  hidden, head, tokens = (
    jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    for shape, dtype, sharding in zip(
      shapes, (jnp.float32, jnp.float32, jnp.int32), shardings, strict=True
    )
  )

  def score(hidden, head, tokens):
    head = partition.constrain(head, None, 'vocab')
    return score_hidden(hidden, head, tokens, chunk=chunk).logp

  with jax.set_mesh(mesh):
    program = hlo.parse(jax.jit(score).lower(hidden, head, tokens).compile().as_text())
  flops = cost.flops(program, hlo.executions(program))
  assert flops == 2 * 18 * lm.config.d_model * lm.config.vocab_size / 2


@pytest.fixture
def cold_cache(tmp_path):
  """XLA warns only when it compiles, which a warm cache would hide."""
  warm = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  compilation_cache.reset_cache()
  yield
  jax.config.update('jax_compilation_cache_dir', warm)
  compilation_cache.reset_cache()


def test_nothing_is_replicated_in_order_to_be_split_again(cold_cache, capfd):
  lm = LM(tiny(**EVEN, num_layers=2, scan_layers=True))
  mesh = partition.make_mesh(**MESH)
  params, tokens = lm.abstract_params(), jax.ShapeDtypeStruct((8, 6), jnp.int32)
  with jax.set_mesh(mesh):
    sharded_gradient(lm, mesh, params)[0].lower(params, tokens).compile()
  assert 'rematerialization' not in capfd.readouterr().err

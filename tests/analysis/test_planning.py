"""Plans of a tiny run on eight simulated devices, and of programs that do what they should not."""

import importlib.util
import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from test_lint import ROOT
from tiny_runs import tiny_config

from maxent_lm.analysis import examine, planning, roofline
from maxent_lm.build.plan import make_plan
from maxent_lm.lm import partition

SIZES = {'compute__scan_layers': True, 'compute__remat': True, 'compute__logits': 8 * 160}
# Numbers of tokens that no parameter has as a dimension, else buffers look like one another.
BATCH = {'batch__max_prompt_tokens': 56}
MESH = {'mesh__data': 2, 'mesh__fsdp': 2, 'mesh__tensor': 2}


def planned(*, columns=9, **model):
  config = tiny_config('vargrad', **SIZES, **MESH, **BATCH)
  config.unlock()
  config.batch.max_new_tokens = columns
  config.model.update({'vocab_size': 160, 'num_layers': 3, **model})
  return make_plan(config, jax.devices())


@pytest.fixture(scope='module')
def plan():
  return planned()


@pytest.fixture(scope='module')
def slice_():
  chip, shape = roofline.slice_shape('v5p:2x2x2')
  return roofline.Slice(chip, shape, tuple(itertools.product(*map(range, shape))))


@pytest.fixture(scope='module')
def report(plan, slice_):
  return examine.examine(plan, slice_)


def test_nothing_is_allocated(plan):
  for leaf in jax.tree.leaves((plan.policy.params, plan.state)):
    assert isinstance(leaf, jax.ShapeDtypeStruct)
  assert plan.policy.lm.config.vocab_size == 160
  assert plan.logits == 8 * 9 * 160
  assert plan.decode_steps == (8, 0)


def test_the_programs_of_a_run_hold(report):
  assert {v.what: v.seen for v in planning.verdicts(report) if not v.holds} == {}


def test_shards_of_queries_are_not_taken_for_keys_put_together(slice_):
  """Two of four heads are on a device: as many as there are keys in all."""
  grouped = examine.examine(planned(num_heads=4, num_kv_heads=2), slice_)
  assert failures(grouped) == []


def exchanged(report, name):
  """(dims of what a device gets, without ones and sorted; how often)."""
  return [
    (sorted(size for size in buffer.dims if size > 1), each.times)
    for each in report.programs[name].collectives
    for buffer in each.buffers
  ]


def test_decoding_puts_nothing_of_the_vocabulary_together_for_every_token(report):
  """Embedding and head are 160 x 32, split over tensor = 2 and fsdp = 2."""
  often = [dims for dims, times in exchanged(report, 'rollout') if times > 1]
  assert [32, 80] not in often and [16, 160] not in often and [32, 160] not in often


def test_drawing_puts_no_rows_of_logits_together():
  """Devices that share two rows have half of the 152 tokens, which is no whole blocks of 16."""
  plan = planned(vocab_size=152)
  found = examine.count(plan.rollout.compile().as_text(), unknown=plan.decode_steps)
  gathered = [b for each in found.collectives if each.kind == 'all-gather' for b in each.buffers]
  assert [str(b) for b in gathered if b.dtype == 'f32' and b.dims[0] == 2] == []


def test_devices_keep_the_prompts_of_their_rows(report):
  """Keys of 3 layers, 4 prompts, 56 + 9 columns, one of two heads of 16."""
  caches = [sorted((3, 4, columns, 16)) for columns in (56, 65)]
  assert not [dims for dims, _ in exchanged(report, 'rollout') if dims in caches]


def test_memory_is_the_state_and_what_a_program_adds(report, plan):
  state = report.programs['update'].arguments
  leaves = jax.tree.leaves((plan.state.params, plan.state.opt_state, plan.policy.params))
  size = sum(leaf.dtype.itemsize * leaf.size for leaf in leaves) / 4  # data has two copies
  assert size < state < 1.1 * size  # the norms are whole; then there is the batch
  for name, each in report.programs.items():
    assert report.memory(name) == state + each.temporary + each.outputs - each.aliased
    assert each.added > 0


def test_an_update_works_as_much_as_its_products(report, plan):
  """2 x weights x tokens, and attention: forward, for the reference, remat, and twice backward.

  Prompts, once a group, go forward once more, for nothing is kept of them.
  """
  layers = plan.policy.params['layers']
  products = sum(w.size for name in ('attention', 'mlp') for w in layers[name].values())
  attention = 3 * 2 * 2 * 16  # layers, logits and values, two heads of 16
  prompts = 4 * 56 * (products + attention * 56)
  responses = 8 * 9 * (products + attention * (56 + 9))
  head = plan.policy.params['head'].size * 8 * 10  # one more state a row, at the cut
  least = 2 * (6 * prompts + 5 * (responses + head)) / 8
  assert least < report.programs['update'].flops < 1.25 * least  # padding to chunks


@pytest.mark.parametrize('columns', [9, 80])
def test_a_rollout_works_as_much_as_its_products(columns):
  """Prompts once a group, then every token but the last; long responses in two loops."""
  plan = planned(columns=columns)
  assert sum(plan.decode_steps) == columns - 1
  assert plan.decode_steps == ((8, 0) if columns == 9 else (40, 39, 0))
  layers, head = plan.policy.params['layers'], plan.policy.params['head'].size
  products = sum(w.size for name in ('attention', 'mlp') for w in layers[name].values())
  attention = 3 * 2 * 2 * 16  # layers, logits and values, two heads of 16
  prompts = 4 * (56 * (products + attention * 56) + head)
  widths = [56 + room for room in ([columns] if columns == 9 else [40, 80])]
  steps = zip(plan.decode_steps[:-1], widths, strict=True)
  tokens = sum(8 * count * (products + attention * width + head) for count, width in steps)
  text = plan.rollout.compile().as_text()
  flops = examine.count(text, unknown=plan.decode_steps).flops
  assert flops == pytest.approx(2 * (prompts + tokens) / 8, rel=0.05)


def test_least_times_are_of_the_chip(report):
  least = report.roofline('update')
  assert least.compute == report.programs['update'].flops / 459e12
  assert least.seconds >= least.compute > 0
  assert report.roofline('rollout').interconnect > 0


def test_the_report_ends_with_one_line(report):
  lines = planning.lines(report)
  assert lines[-1].startswith('fits, because update: 0.00 GiB <= 95 GiB a device: 0.00 that stay')
  assert any(
    line.startswith('holds: the new state takes the place of the old one') for line in lines
  )
  assert any('all-gather x' in line for line in lines)


def without(report, name, function, *shapes):
  """The report with another program in the place of `name`."""
  with jax.set_mesh(report.plan.policy.mesh):
    text = jax.jit(function).lower(*shapes).compile().as_text()
  programs = {**report.programs, name: examine.count(text)}
  return report._replace(programs=programs)


def failures(report):
  return [v.what for v in planning.verdicts(report) if not v.holds]


def test_all_logits_at_once_are_seen(report):
  params, mesh = report.plan.policy.params, report.plan.policy.mesh
  rows = partition.batch_sharding(mesh)
  hidden = jax.ShapeDtypeStruct((8, 9, 32), jnp.float32, sharding=rows)

  def scores(params, hidden):
    return jax.nn.logsumexp(hidden @ partition.constrain(params['head'], None, 'vocab'), axis=-1)

  bad = without(report, 'rollout', scores, params, hidden)
  assert failures(bad) == ['the rollout makes no buffer of B x R x V / devices = 1.44e+03 elements']


@pytest.mark.parametrize('name', ['gate', 'down'])
def test_a_parameter_put_together_is_seen(report, name):
  def norm(params):
    whole = partition.constrain(params['layers']['mlp'][name], None, None, None)
    return jnp.linalg.norm(whole @ whole.swapaxes(1, 2))

  bad = without(report, 'rollout', norm, report.plan.policy.params)
  assert failures(bad) == ['the rollout gathers no whole parameter']


def test_all_layers_put_together_over_fsdp_are_seen(report):
  def norm(params):
    whole = partition.constrain(params['layers']['mlp']['gate'], None, None, 'mlp')
    return jnp.linalg.norm(jnp.sin(whole) @ whole.swapaxes(1, 2))

  bad = without(report, 'rollout', norm, report.plan.policy.params)
  assert failures(bad) == ['the rollout gathers no whole parameter']


def test_a_chip_that_is_too_small_is_told(report, slice_):
  small = slice_._replace(chip=slice_.chip._replace(hbm=1000.0))
  lines = planning.lines(report._replace(slice=small))
  assert lines[-1].startswith('does not fit, because update: 0.00 GiB > 0 GiB a device')


def test_what_xla_refuses_does_not_fit(report):
  message = (
    'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. '
    'Used 40.73G of 15.75G hbm. Exceeded hbm capacity by 24.98G.\n\nTotal hbm usage >= 40.98G:'
  )
  said = examine.refusal(message)
  assert said == 'Used 40.73G of 15.75G hbm. Exceeded hbm capacity by 24.98G'
  bad = report._replace(programs={**report.programs, 'rollout': examine.Examined(refused=said)})
  assert failures(bad) == ['the rollout fits']
  assert planning.lines(bad)[-1] == f'does not fit, because rollout: {said}'


def test_a_rollout_fits_by_itself_where_the_update_was_refused(report):
  update = examine.Examined(refused='too large')
  bad = report._replace(programs={**report.programs, 'update': update})
  assert failures(bad) == ['the update fits']
  assert 0 < bad.stays <= report.stays  # without the batch that is an argument of the update
  assert bad.memory('rollout') - bad.stays == report.programs['rollout'].added
  assert planning.lines(bad)[-1] == 'does not fit, because update: too large'


def test_a_state_that_does_not_fit_is_not_compiled(plan, slice_):
  small = slice_._replace(chip=slice_.chip._replace(hbm=100_000.0))
  bad = examine.examine(plan._replace(rollout=None, update=None), small)
  assert failures(bad) == ['the update fits', 'the rollout fits']
  assert 'state and reference alone are 0.0 GiB a device' in planning.lines(bad)[-1]


def test_meshes_are_read():
  assert examine.mesh_sizes('fsdp:16,tensor:4') == {'data': 1, 'fsdp': 16, 'tensor': 4}
  assert examine.mesh_sizes('data:-1')['data'] == -1
  for wrong in ('fsdp', 'model:4', 'fsdp:x'):
    with pytest.raises(ValueError, match='the axes are data, fsdp, tensor'):
      examine.mesh_sizes(wrong)


def test_a_plan_needs_the_length_of_prompts():
  with pytest.raises(ValueError, match='config.batch.max_prompt_tokens=0 leaves the length'):
    make_plan(tiny_config('vargrad', **MESH), jax.devices())


def test_without_libtpu_the_extra_is_named():
  code = (
    'import sys; sys.modules["libtpu"] = None\n'
    'import importlib.util; importlib.util.find_spec = lambda name: None\n'
    'from maxent_lm.build.plan import simulated_devices\n'
    'simulated_devices("v5e:2x2")'
  )
  ran = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert "which is not installed: pip install -e '.[plan]'" in ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='needs libtpu')
def test_a_plan_for_four_chips():
  """The script, from flags to the last line."""
  sizes = {'num_layers': 2, 'd_model': 256, 'd_ff': 512, 'vocab_size': 1024, 'head_dim': 64}
  batch = {'prompts': 4, 'max_new_tokens': 32, 'max_prompt_tokens': 128}
  keys = [f'--config.model.{key}={value}' for key, value in sizes.items()]
  keys += [f'--config.batch.{key}={value}' for key, value in batch.items()]
  flags = ['--config=configs/qwen3.py:0.6b', '--topology=v5e:2x2', '--mesh=fsdp:2,tensor:2']
  ran = subprocess.run(
    [sys.executable, 'experiments/plan.py', *flags, *keys, '--check'],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''},
    capture_output=True,
    text=True,
    check=False,
  )
  assert ran.returncode == 0, ran.stderr
  assert ran.stdout.startswith('qwen3_0.6b on v5e:2x2, 4 devices: data 1, fsdp 2, tensor 2')
  assert ran.stdout.splitlines()[-1].startswith('fits, because update: ')

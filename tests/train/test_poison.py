"""Numbers that are not finite, put into every part of a step: nothing remembers them.

One tiny update is compiled once. Its parts are doubles that add a poison where the last token of
the batch's first row, which nobody reads, says so: code = 3 site + value.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxent_lm import cli, data, temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.lm import partition
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import TRANSFORMS
from maxent_lm.train import finite, loop
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.collect import Collected
from maxent_lm.train.guards import Guards
from maxent_lm.train.metrics import read_metrics
from maxent_lm.train.skips import Poisoned, Skips
from maxent_lm.train.state import init_state
from maxent_lm.train.step import Parts, make_update, polyak
from maxent_lm.types import Critic

SIZES = {'d_model': 16, 'num_layers': 1, 'num_heads': 4, 'num_kv_heads': 2, 'head_dim': 4}
MODEL = LM(LMConfig(vocab_size=40, d_ff=16, max_length=32, tied=False, **SIZES))
ROWS, COLUMNS, STEPS = 8, 10, 5
VALUES = jnp.array([jnp.nan, jnp.inf, -jnp.inf])

SITES = (
  *('nothing', 'loss', 'gradient', 'policy', 'entropy', 'alpha', 'next_alpha', 'memory'),
  *('critic', 'behaviour', 'reward'),
)
WRONG = {  # what the dump names first
  **{'loss': 'loss', 'gradient': 'grad_norm', 'policy': 'loss', 'entropy': 'entropy'},
  **{'alpha': 'loss', 'next_alpha': 'next alpha', 'memory': 'next alpha', 'critic': 'grad_norm'},
  **{'behaviour': 'entropy_mc', 'reward': 'loss'},
}


def amount(tokens, site):
  """The poison for this site, or 0."""
  code = tokens[0, -1]
  return jnp.where(code // 3 == SITES.index(site), VALUES[code % 3], 0.0)


@jax.custom_vjp
def sting(leaf, poison):
  """The leaf; one number of its gradient has the poison added."""
  del poison
  return leaf


sting.defvjp(
  lambda leaf, poison: (leaf, poison),
  lambda poison, grad: (grad.at[(0,) * grad.ndim].add(poison), jnp.zeros_like(poison)),
)


def scorer(params, tokens, mask):
  stung = {**params, 'head': sting(params['head'], amount(tokens, 'gradient'))}
  scores = make_scorer(MODEL, chunk=24)(stung, tokens)
  first = jnp.argmax(mask[3])
  return scores._replace(
    logp=scores.logp.at[3, first].add(amount(tokens, 'policy')),
    entropy=scores.entropy.at[3, first].add(amount(tokens, 'entropy')),
  )


def loss(views, batch, temperature):
  plain = functools.partial(LOSSES['soft_q'], lam=0.9, gradient='semi', value='lse')
  values, metrics = plain(views, batch, temperature)
  poisons = {f'add_{site}': amount(batch.tokens, site) for site in ('next_alpha', 'memory')}
  return values.at[3].add(amount(batch.tokens, 'loss')), {**metrics, **poisons}


def transform(batch, views):
  shaped = TRANSFORMS['group_normalised'](batch, views, eps=1e-4, ddof=1)
  return shaped._replace(alpha=jnp.ones_like(batch.logp) + amount(batch.tokens, 'alpha'))


def stung_alpha():
  inner = temperature.moving_average(
    temperature.dual_entropy(0.05, target=1.0, learning_rate=0.1, low=0.01, high=1.0), decay=0.5
  )

  def update(state, metrics):
    after = inner.update(state, metrics)
    average, *rest = after.memory
    return after._replace(
      value=after.value + metrics['add_next_alpha'],
      memory=(average + metrics['add_memory'], *rest),
    )

  return inner._replace(update=update)


def critic(params, policy, tokens):
  del policy
  weights = sting(params['w'], amount(tokens, 'critic'))
  return Critic(value=weights[tokens])


def beside(views, batch, temperature):
  del temperature
  return (views.critic.value - 1) ** 2, {}


PARTS = Parts(
  scorer=scorer,
  loss=loss,
  transform=transform,
  reduction=REDUCTIONS['sequence_sum'],
  optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2)),
  alpha=stung_alpha(),
  beta=temperature.dual_kl(0.1, target=0.0, learning_rate=1.0, low=0.01, high=1.0),
  sampler=temperature.scheduled(lambda count: 1 + 0.01 * count),
  target_update=polyak(rate=0.5),
  reference_update=polyak(rate=0.1),
  critic=critic,
  critic_optimizer=optax.adam(1e-2),
  auxiliary=beside,
)
UPDATE = make_update(PARTS)


def make_batch(step, site='nothing', value=0, sharding=None):
  rng = np.random.default_rng(step)
  responses = [rng.integers(2, 40, size=rng.integers(1, 6)).tolist() for _ in range(ROWS)]
  sequences = data.Sequences(
    prompts=[rng.integers(2, 40, size=3).tolist() for _ in range(ROWS)],
    responses=responses,
    logp=[rng.normal(-2.0, 0.1, size=len(response)) for response in responses],
    reward=rng.uniform(size=ROWS),
    group=np.arange(ROWS) // 4,
    cluster=np.zeros(ROWS),
    bootstrap=np.zeros(ROWS, bool),
  )
  if site == 'reward':
    sequences.reward[3] = VALUES[value]
  if site == 'behaviour':
    sequences.logp[3][0] = VALUES[value]
  batch = data.make_batch(sequences, columns=COLUMNS)
  code = 3 * SITES.index(site) + value
  batch = batch._replace(tokens=batch.tokens.at[0, -1].set(code))
  return batch if sharding is None else jax.device_put(batch, sharding)


@functools.cache
def initial_params():
  return jax.tree.map(lambda leaf: 3 * leaf, MODEL.init(0))


def make_state():
  return init_state(
    jax.tree.map(jnp.copy, initial_params()),
    optimizer=PARTS.optimizer,
    alpha=PARTS.alpha,
    beta=PARTS.beta,
    sampler=PARTS.sampler,
    has_target=True,
    seed=0,
    critic={'w': jnp.zeros(40)},
    critic_optimizer=PARTS.critic_optimizer,
    moving_reference=True,
  )


def leaves(state):
  return jax.device_get(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))


def assert_same(left, right):
  for a, b in zip(leaves(left), leaves(right), strict=True):
    np.testing.assert_array_equal(a, b)


@functools.cache
def without(skipped):
  """A run that never sees the batches of these steps."""
  state = make_state()
  for step in range(STEPS):
    if step in skipped:
      state = state._replace(step=state.step + 1)
    else:
      state, _ = UPDATE(state, None, make_batch(step))
  return state


# --- One update ----------------------------------------------------------------------------------


def test_without_poison_every_part_of_the_state_moves():
  first, last = make_state(), without(())
  moved = jax.tree.map(
    lambda a, b: bool((a != b).any()), *(s._replace(key=None) for s in (first, last))
  )
  for name in ('params', 'target', 'reference', 'opt_state', 'critic'):
    assert any(jax.tree.leaves(getattr(moved, name))), name
  assert moved.alpha.value and moved.beta.value and moved.sampler.value


@pytest.mark.parametrize('value', range(3), ids=['nan', 'inf', '-inf'])
@pytest.mark.parametrize('site', SITES[1:])
def test_a_poisoned_batch_is_as_if_it_had_not_been(site, value):
  state, skipped = make_state(), []
  for step in range(STEPS):
    batch = make_batch(step, site, value) if step == 2 else make_batch(step)
    state, metrics = UPDATE(state, None, batch)
    skipped.append(float(metrics['skipped']))
    if step == 2:
      wrong = finite.names(loop._trained(state))
      named = [name for name, bad in zip(wrong, metrics[finite.CULPRITS], strict=True) if bad]
      assert WRONG[site] in named
  assert skipped == [0, 0, 1, 0, 0]
  assert_same(state, without((2,)))


def test_three_poisoned_batches():
  state = make_state()
  for step in range(STEPS):
    site = 'gradient' if 1 <= step <= 3 else 'nothing'
    state, _ = UPDATE(state, None, make_batch(step, site, step % 3))
  assert_same(state, without((1, 2, 3)))


def test_the_leaf_is_named():
  state, metrics = UPDATE(make_state(), None, make_batch(0, 'gradient', 1))
  names = finite.names(loop._trained(state))
  named = [name for name, bad in zip(names, metrics[finite.CULPRITS], strict=True) if bad]
  assert named == ['grad_norm', 'gradient of policy.head']


def test_a_batch_of_which_nothing_is_known_teaches_nothing():
  """Its entropy is 0, which no controller is to believe."""
  batch = make_batch(2)
  state, metrics = UPDATE(without(()), None, batch._replace(mask=jnp.zeros_like(batch.mask)))
  assert metrics['skipped'] == 1 and metrics['entropy'] == 0 and metrics['loss'] == 0
  without.cache_clear()  # its state is donated
  assert_same(state, without(())._replace(step=state.step))


def test_the_norm_is_that_of_optax():
  tree = {'a': jnp.arange(12.0).reshape(3, 4), 'b': [jnp.float32(2.5)]}
  norm = jnp.sqrt(sum(finite.squares(tree)))
  assert norm == optax.tree.norm(tree)


def test_one_bad_number_on_one_of_eight_devices_stops_all():
  mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
  state = make_state()
  state = jax.device_put(state, partition.param_shardings(state, mesh))
  before = leaves(state)
  with jax.set_mesh(mesh):
    for value in range(3):
      batch = make_batch(0, 'gradient', value, partition.batch_sharding(mesh))
      state, metrics = UPDATE(state, None, batch)
      assert metrics['skipped'] == 1
  assert len(state.params['head'].sharding.device_set) == 8
  for old, new in zip(before[1:], leaves(state)[1:], strict=True):
    np.testing.assert_array_equal(old, new)


# --- Runs ----------------------------------------------------------------------------------------


def run(folder, poisoned, *, steps=12, fails_at=None, site='gradient', **limits):
  """Steps of the loop, those in `poisoned` with NaN; the state at the end."""

  def collect(step, state):
    del state
    if step == fails_at:
      raise InterruptedError('power cut')
    batch = make_batch(step, site) if step in poisoned else make_batch(step)
    return Collected(batch, {'reward': 0.5}, [])

  checkpointer = Checkpointer(folder / 'checkpoints', every=2, keep=9)
  state = make_state()
  if checkpointer.latest() is not None:
    state = checkpointer.restore(state)
  try:
    return loop.train(
      state,
      steps=steps,
      collect=collect,
      update=UPDATE,
      reference=None,
      checkpointer=checkpointer,
      workdir=folder,
      name='poisoned',
      samples_every=100,
      guards=Guards(),
      skips=Skips(**{'in_a_row': 5, 'in_window': 6, 'window': 8, **limits}),
    )
  finally:
    checkpointer.close()


def test_a_run_goes_on_after_some(tmp_path, capsys):
  run(tmp_path, {1, 4, 5, 6})
  rows = read_metrics(tmp_path / 'metrics.jsonl')
  assert [row['skipped'] for row in rows] == [0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
  assert 'step 4: the update was skipped: grad_norm, gradient of policy.head' in (
    capsys.readouterr().err
  )
  assert not list(tmp_path.glob('dump-*'))


def test_a_run_that_is_poisoned_for_ever_stops_with_a_dump(tmp_path):
  (tmp_path / 'config.json').write_text('{"name": "x"}')
  with pytest.raises(SystemExit) as ended, cli.run_errors():
    run(tmp_path, set(range(3, 99)), site='behaviour')
  path = tmp_path / 'dump-7'
  assert ended.value.code == (
    'error: stopped at step 7: 5 updates in a row were skipped, the last one for entropy_mc, '
    f'off_policy; its batch and numbers are in {path}; nothing of it is in the parameters, and the '
    'same command goes on from the newest checkpoint'
  )
  assert [row['skipped'] for row in read_metrics(tmp_path / 'metrics.jsonl')] == [0] * 3 + [1] * 5
  report = json.loads((path / 'report.json').read_text(), parse_constant=pytest.fail)
  assert report['wrong'] == ['entropy_mc', 'off_policy'] and report['rows'] == {'logp': [3]}
  assert report['metrics']['entropy_mc'] == 'nan' and report['metrics']['skipped'] == 1
  assert json.loads((path / 'config.json').read_text()) == {'name': 'x'}
  with np.load(path / 'batch.npz', allow_pickle=False) as stored:
    expected = make_batch(7, 'behaviour')
    assert set(stored) == {name for name, each in expected._asdict().items() if each is not None}
    for name in stored:
      np.testing.assert_array_equal(stored[name], getattr(expected, name))
  checkpointer = Checkpointer(tmp_path / 'checkpoints', every=2, keep=9)
  newest = checkpointer.latest()
  state = checkpointer.restore(make_state())
  checkpointer.close()
  assert newest == 6
  assert all(np.isfinite(leaf).all() for leaf in leaves(state))
  expected = make_state()
  for step in range(3):
    expected, _ = UPDATE(expected, None, make_batch(step))
  assert_same(state, expected._replace(step=state.step))


@pytest.mark.parametrize(
  ('poisoned', 'last', 'cut'),
  [
    (set(range(4, 99)), 8, 7),
    ({1, 3, 5, 6, 8, 9, 10}, 8, 5),
    ({1, 3, 5, 6, 8, 9, 10}, 8, 8),
    ({0, 1, 3, 5}, None, 6),
  ],
)
def test_a_resumed_run_stops_where_the_uninterrupted_one_does(tmp_path, poisoned, last, cut):
  whole, part = tmp_path / 'whole', tmp_path / 'part'
  limits = {'in_window': 5, 'window': 8}

  def to_the_end(folder):
    if last is None:
      return run(folder, poisoned, **limits)
    with pytest.raises(Poisoned, match=f'stopped at step {last}: '):
      run(folder, poisoned, **limits)

  left = to_the_end(whole)
  with pytest.raises(InterruptedError):
    run(part, poisoned, fails_at=cut, **limits)
  right = to_the_end(part)
  assert read_metrics(whole / 'metrics.jsonl') == read_metrics(part / 'metrics.jsonl')
  if left is not None:
    assert_same(left, right)
  for name in ('report.json', 'batch.npz') if last is not None else ():
    assert (whole / f'dump-{last}' / name).read_bytes() == (
      part / f'dump-{last}' / name
    ).read_bytes()


def test_a_dump_that_cannot_be_written_does_not_hide_why(tmp_path):
  (tmp_path / 'dump-4').write_text('in the way')
  with pytest.raises(Poisoned, match='could not be written .* nothing of it is in the parameters'):
    run(tmp_path, set(range(99)))


def test_an_error_of_a_file_has_a_sentence_above_its_traceback(capsys):
  with pytest.raises(OSError), cli.run_errors():
    raise OSError(28, 'No space left on device', 'metrics.jsonl')
  told = capsys.readouterr().err
  assert told.startswith("error: [Errno 28] No space left on device: 'metrics.jsonl'; once that is")


@pytest.mark.parametrize(
  'wrong', [{'in_a_row': 0}, {'in_window': 0}, {'in_window': 21, 'window': 20}]
)
def test_wrong_limits_are_told(wrong):
  with pytest.raises(ValueError, match=r'config\.skips: needs in_a_row >= 1'):
    Skips(**{'in_a_row': 5, 'in_window': 20, 'window': 200, **wrong})

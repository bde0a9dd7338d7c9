"""What no objective may depend on, on random scores that no model made. Everything in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.tiny_lm import SIZES, roughened, tiny
from objectives import OBJECTIVES, knobs

from maxent_lm.algorithms import ROWWISE
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import before, score_hidden
from maxent_lm.soft import residual
from maxent_lm.types import Batch, Critic, Scores, Views


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


each_objective = pytest.mark.parametrize('loss', OBJECTIVES.values(), ids=OBJECTIVES)

B, T = 6, 8
MASK = np.zeros((B, T), bool)
for _row, _columns in enumerate([range(1, 5), range(0, 3), [2, 3, 6], [4], [], range(3, 7)]):
  MASK[_row, list(_columns)] = True
BOOTSTRAP = np.array([True, False, True, False, True, False])
GROUP = np.array([0, 0, 3, 3, 3, 5])


def problem(seed=0):
  """Views, batch and per-token temperature; every array is [B, T] or [B]."""
  rng = np.random.default_rng(seed)

  def scores():
    logp, value, entropy = rng.normal(size=(3, B, T)) - 1
    return Scores(*map(jnp.asarray, (logp, logp + value, value, np.abs(entropy))))

  def critic():
    value, expected = map(jnp.asarray, rng.normal(size=(2, B, T)))
    atoms = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(B, T, 4))))
    return Critic(value, (scores(), scores()), expected, atoms)

  views = Views(scores(), None, scores(), critic(), critic())
  logp, reward, advantage = rng.normal(size=(3, B, T))
  batch = Batch(
    tokens=jnp.zeros((B, T), jnp.int32),
    mask=jnp.asarray(MASK),
    logp=jnp.asarray(logp),
    reward=jnp.asarray(reward),
    weight=jnp.ones((B, T)),
    advantage=jnp.asarray(advantage),
    group=jnp.asarray(GROUP, jnp.int32),
    cluster=jnp.full(B, -1, jnp.int32),
    bootstrap=jnp.asarray(BOOTSTRAP),
  )
  return views, batch, knobs(*rng.uniform(0.1, 1, size=(2, B, T)))


def wide(tree, change):
  """`change` on the leaves that have columns."""
  return jax.tree.map(lambda x: change(x) if x.ndim > 1 else x, tree)


def outcome(loss, parts):
  """Loss values [B, T], metrics, and the gradient of their sum in the policy and the critic."""
  views, batch, temperature = parts

  def total(trained):
    seen = views._replace(policy=trained[0], critic=trained[1])
    values, metrics = loss(seen, batch, temperature)
    return jnp.sum(values), (values, metrics)

  trained = (views.policy, views.critic)
  gradient, (values, metrics) = jax.jit(jax.grad(total, has_aux=True))(trained)
  return values, metrics, gradient


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13), a, b)


@each_objective
def test_padding_and_place_in_the_row_do_not_matter(loss):
  values, metrics, gradient = outcome(loss, problem())
  for left, right in ((0, 3), (2, 0), (3, 1)):

    def moved(x, left=left, right=right):
      sides = ((0, 0), (left, right)) + ((0, 0),) * (x.ndim - 2)
      return jnp.pad(x, sides, constant_values=False if x.dtype == bool else 7)

    def back(x, left=left):
      return x[:, left : left + T]

    other = outcome(loss, wide(problem(), moved))
    close((values, gradient), wide((other[0], other[2]), back))
    close(metrics, other[1])


# Three sequences (prompt, response), of which the last is cut and wants the value at the cut.
SEQUENCES = ((2, 3), (1, 5), (3, 2))
CUT = np.array([False, False, True])
WITHOUT_CRITICS = ('soft_q semi', 'soft_q residual', 'TBRM', 'PCL', 'SubTB', 'vargrad', 'grpo')


def layout(kind):
  """[R, W] tokens and segments, and [3, 7] where each sequence's columns are, as flat indices."""
  rng = np.random.default_rng(2)
  words = [rng.integers(0, SIZES['vocab_size'], sum(pair)) for pair in SEQUENCES]
  rows, width = (1, 24) if kind == 'packed' else (3, 9)
  tokens, segments = np.zeros((2, rows, width), np.int32)
  place, at = np.zeros((3, 7), int), 1
  for number, word in enumerate(words):
    row = 0 if kind == 'packed' else number
    start = {'packed': at, 'left': width - 1 - len(word), 'right': 0}[kind]
    tokens[row, start : start + len(word)] = word
    segments[row, start : start + len(word)] = number + 1
    place[number] = np.minimum(row * width + start + np.arange(7), rows * width - 1)
    at = start + len(word)
  return jnp.asarray(tokens), jnp.asarray(segments), jnp.asarray(place)


def test_left_padding_right_padding_and_packing_are_the_same_to_a_loss():
  lm = LM(tiny())
  params = roughened(lm.init(0))
  prompts, ends = np.array([(p, p + r) for p, r in SEQUENCES]).T[:, :, None]
  mask = (np.arange(7) >= prompts) & (np.arange(7) < ends)
  _, batch, _ = jax.tree.map(lambda x: x[:3], problem())
  batch = wide(batch, lambda x: x[:, :7])._replace(
    mask=jnp.asarray(mask), bootstrap=jnp.asarray(CUT), group=jnp.zeros(3, jnp.int32)
  )

  def total(params, kind):
    tokens, segments, place = layout(kind)
    hidden = lm.hidden(params, tokens, None, segments)[:, :-1]
    scores = score_hidden(hidden, lm.head(params), tokens[:, 1:], chunk=16)
    rows = jax.tree.map(lambda x: before(x).ravel()[place], scores)
    reference = jax.tree.map(lambda x: 0.7 * jax.lax.stop_gradient(x), rows)
    views = Views(rows, None, reference)
    values = [OBJECTIVES[name](views, batch, knobs(0.2, 0.3))[0] for name in WITHOUT_CRITICS]
    return jnp.sum(jnp.stack(values)), values

  gradient = jax.jit(jax.grad(total, has_aux=True), static_argnums=1)
  found = [gradient(params, kind) for kind in ('right', 'left', 'packed')]
  for other in found[1:]:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), found[0], other
    )
  assert all(np.asarray(each)[mask].any() for each in found[0][1])


@each_objective
def test_order_of_the_rows_does_not_matter(loss):
  order = np.random.default_rng(0).permutation(B)
  values, metrics, gradient = outcome(loss, problem())
  other = outcome(loss, jax.tree.map(lambda x: x[order], problem()))
  close(jax.tree.map(lambda x: x[order], (values, gradient)), (other[0], other[2]))
  close(metrics, other[1])


@each_objective
def test_names_of_the_groups_do_not_matter(loss):
  views, batch, temperature = problem()
  renamed = batch._replace(group=jnp.asarray([4, 4, 0, 0, 0, 1], jnp.int32))
  close(outcome(loss, (views, batch, temperature)), outcome(loss, (views, renamed, temperature)))


@each_objective
@pytest.mark.parametrize('poison', [np.nan, np.inf])
def test_what_lies_outside_the_mask_is_never_read(loss, poison):
  parts = problem()
  read = np.asarray(residual.value_columns(jnp.asarray(MASK), jnp.asarray(BOOTSTRAP)))
  assert (read != MASK).sum() == 2

  def spoil(where):
    def change(x):
      here = where.reshape(where.shape + (1,) * (x.ndim - 2))
      return jnp.where(here, x, poison) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return change

  views, batch, temperature = wide(parts, spoil(read))
  batch = wide(batch, spoil(MASK))
  values, metrics, gradient = outcome(loss, (narrow(views, spoil(MASK)), batch, temperature))
  close((values, metrics, gradient), outcome(loss, parts))
  assert not np.where(MASK, 0, values).any()
  unread = ~read
  assert not any(np.asarray(leaf)[unread].any() for leaf in jax.tree.leaves(gradient))
  inside = narrow(Views(*gradient), lambda x: x[np.asarray(~MASK)])
  for scores in (inside.policy, *inside.critic.q):
    assert not np.asarray(scores.logp).any() and not np.asarray(scores.logit).any()


def narrow(views, change):
  """`change` on what is read inside the mask only: values and entropies are read at cuts too."""

  def of(scores):
    return scores._replace(logp=change(scores.logp), logit=change(scores.logit))

  def critic(it):
    return it and it._replace(q=tuple(map(of, it.q)), atoms=change(it.atoms))

  policy, target, reference, here, behind = views[:5]
  if reference is None:  # a gradient: (policy, critic)
    return Views(of(policy), None, None, critic(target))
  return Views(of(policy), target, of(reference), critic(here), critic(behind))


@each_objective
def test_gaps_are_as_if_cut_out(loss):
  """Row 2 has a gap: removing its columns changes nothing but the place of the numbers."""
  columns = {2: [2, 3, 6, 7]}
  views, batch, temperature = jax.tree.map(lambda x: x[2:3], problem())
  parts = (views, batch._replace(group=jnp.zeros(1, jnp.int32)), temperature)
  packed = wide(parts, lambda x: x[:, np.array(columns[2])])
  whole, short = outcome(loss, parts), outcome(loss, packed)
  close(wide((whole[0], whole[2]), lambda x: x[:, np.array(columns[2])]), (short[0], short[2]))


def test_scalar_temperature_is_a_constant_one():
  views, batch, _ = problem()
  for loss in OBJECTIVES.values():
    scalar = outcome(loss, (views, batch, knobs(0.2, 0.3)))
    spread = outcome(loss, (views, batch, knobs(jnp.full((B, T), 0.2), jnp.full((B, T), 0.3))))
    close(scalar, spread)


@each_objective
def test_temperature_gets_no_gradient(loss):
  views, batch, temperature = problem()
  gradient = jax.grad(lambda knob: jnp.sum(loss(views, batch, knob)[0]))(temperature)
  assert not any(np.asarray(leaf).any() for leaf in gradient)


@each_objective
def test_bfloat16_inputs_are_summed_in_float32(loss):
  """Inputs are rounded, sums are not: the same as float32 arithmetic on the rounded inputs."""

  def cast(dtype):
    return lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

  with jax.enable_x64(False):
    views, batch, temperature = jax.tree.map(cast(jnp.float32), problem())
    rounded = jax.tree.map(cast(jnp.bfloat16), views)
    values, metrics, _ = outcome(loss, (rounded, batch, temperature))
    whole = outcome(loss, (jax.tree.map(cast(jnp.float32), rounded), batch, temperature))
  assert all(x.dtype == jnp.float32 for x in (values, *metrics.values()))
  np.testing.assert_allclose(values, whole[0], rtol=1e-5, atol=1e-6)


@each_objective
def test_rows_are_judged_one_by_one_where_it_is_said(loss):
  """The values of a row, alone and among others: equal for `ROWWISE` losses, and for no others."""
  same = []
  for seed in range(5, 8):
    parts = problem(seed)
    alone = [loss(*jax.tree.map(lambda x, row=row: x[row : row + 1], parts))[0] for row in range(B)]
    same.append(np.allclose(np.concatenate(alone), loss(*parts)[0], rtol=1e-9, atol=1e-12))
  assert all(same) == (loss.__name__ in ROWWISE)

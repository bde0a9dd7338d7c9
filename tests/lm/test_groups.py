"""Prompts that go through the network once: the same scores and gradients as of whole rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import largest_gap, roughened, tiny

from maxent_lm import data
from maxent_lm.lm import partition
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.scores import make_scorer
from maxent_lm.soft import entropy

G, R, COLUMNS = 3, 5, 7 + 5 + 1
PROMPTS = (7, 1, 3, 5, 2, 7, 4, 6)  # lengths


def make_batch(prompts=PROMPTS, group_size=G, seed=0):
  """Groups of responses of 1 to R tokens; the first row of every third group is empty."""
  rng = np.random.default_rng(seed)
  owners = np.repeat(np.arange(len(prompts)), group_size)
  texts = [rng.integers(0, 37, length).tolist() for length in prompts]
  lengths = [0 if row % (3 * group_size) == 0 else rng.integers(1, R + 1) for row in owners]
  lengths[-1] = R
  responses = [rng.integers(0, 37, length).tolist() for length in lengths]
  sequences = data.Sequences.unweighted([texts[i] for i in owners], responses)
  return data.make_batch(sequences, columns=COLUMNS)


def seen(batch):
  """[B, T] the response tokens, and the column after them where there is a response."""
  mask = np.asarray(batch.mask)
  return mask | (np.pad(mask, ((0, 0), (1, 0)))[:, :-1] & ~mask)


def objective(scorer, batch):
  """All that a loss may read, with weights that no two tokens share."""
  weight = jnp.asarray(np.random.default_rng(1).standard_normal(batch.mask.shape), jnp.float32)
  there = jnp.asarray(seen(batch))

  def of(params):
    scores = scorer(params, batch.tokens, batch.mask)
    terms = jax.tree.map(lambda x: jnp.sum(jnp.where(there, x * weight, 0)), scores)
    return sum(jax.tree.leaves(terms)), scores

  return jax.jit(jax.value_and_grad(of, has_aux=True))


@functools.cache
def whole(lm, make):
  """(batch of `make`, parameters, scores, gradient) when all columns go through the network."""
  batch, params = make(), roughened(lm.init(0))
  (_, scores), gradient = objective(make_scorer(lm, chunk=64), batch)(params)
  return batch, params, scores, gradient


def compare(lm, make=make_batch, group_size=G, scorer=None, atol=2e-5):
  batch, params, theirs, expected = whole(lm, make)
  grouped = scorer or GroupScorer(lm, chunk=7, group_size=group_size, max_new_tokens=R)
  (_, ours), gradient = objective(grouped, batch)(params)
  for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(np.where(seen(batch), left - right, 0), 0, atol=atol)
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  assert largest_gap(gradient, expected) < atol * max(scale, 1)
  return ours


@pytest.mark.parametrize('family', ['llama', 'qwen2', 'qwen3'])
@pytest.mark.parametrize('how', [{}, {'scan_layers': True, 'remat': True}])
def test_scores_and_gradients_are_those_of_whole_rows(family, how):
  compare(LM(tiny(family=family, tied=family == 'llama', **how)))


def test_other_columns_are_zero():
  ours, batch = compare(LM(tiny())), make_batch()
  start = np.asarray(batch.mask).argmax(axis=1)
  for leaf in jax.tree.leaves(ours):
    rows = np.flatnonzero(np.asarray(batch.mask).any(axis=1))
    assert all(not np.asarray(leaf)[row, : start[row]].any() for row in rows)
    assert np.isfinite(np.asarray(leaf)).all()


def test_a_row_may_be_a_group_of_its_own():
  compare(LM(tiny()), functools.partial(make_batch, group_size=1), group_size=1)


def test_measures_come_along():
  lm = LM(tiny())
  batch, params = make_batch(), roughened(lm.init(0))
  options = {'chunk': 9, 'measure': entropy.self_certainty}
  grouped = GroupScorer(lm, group_size=G, max_new_tokens=R, **options)
  ours = jax.jit(grouped)(params, batch.tokens, batch.mask)
  theirs = jax.jit(make_scorer(lm, **options))(params, batch.tokens)
  there = np.asarray(batch.mask)
  np.testing.assert_allclose(ours.measure[there], theirs.measure[there], atol=2e-5)


@pytest.mark.parametrize('cells', [1, 2, 4])
@pytest.mark.parametrize('microbatch', [0, 1, 44, 10_000])
def test_cells_and_microbatches_change_nothing(cells, microbatch):
  lm = LM(tiny(num_layers=2))
  scorer = GroupScorer(
    lm, chunk=16, group_size=G, max_new_tokens=R, cells=cells, microbatch=microbatch
  )
  compare(lm, scorer=scorer)


LONG = 140  # response columns, which pieces of 35, 53, 70, 105 and 140 columns go through


def long_batch(seed=0):
  """As `make_batch`, with lengths of 0 to LONG tokens, most of them short."""
  rng = np.random.default_rng(seed)
  texts = [rng.integers(0, 37, length).tolist() for length in PROMPTS]
  owners = np.repeat(np.arange(len(PROMPTS)), G)
  lengths = [
    0,
    35,
    36,
    70,
    71,
    105,
    106,
    *np.minimum(rng.geometric(1 / 28, len(owners) - 8), LONG),
    LONG,
  ]
  responses = [rng.integers(0, 37, length).tolist() for length in lengths]
  sequences = data.Sequences.unweighted([texts[i] for i in owners], responses)
  return data.make_batch(sequences, columns=7 + LONG + 1)


def long_scorer(lm, **options):
  return GroupScorer(lm, chunk=50, group_size=G, max_new_tokens=LONG, **options)


@pytest.mark.parametrize('cells', [1, 4])
@pytest.mark.parametrize('widths', [1, 3, 9])
@pytest.mark.parametrize('how', [{}, {'scan_layers': True, 'remat': True}])
def test_short_rows_go_through_in_short_pieces(cells, widths, how):
  lm = LM(tiny(num_layers=2, **how))
  scorer = long_scorer(lm, cells=cells, microbatch=280, widths=widths)
  compare(lm, long_batch, scorer=scorer)


def test_pieces_are_no_wider_than_their_rows():
  """The columns that go through the network, counted by a scorer that does nothing else."""
  widths = []

  class Counting(GroupScorer):
    def _each(self, rows, step, state):
      def counted(width, row, state):
        real = jnp.sum(row < rows.start.shape[1])
        longest = jnp.max(jnp.where(row < 24, rows.length[0][jnp.minimum(row[0], 23)], 0))
        jax.debug.callback(lambda *seen: widths.append((width, *seen)), real, longest)
        return step(width, row, state)

      return super()._each(rows, counted, state)

  lm, batch = LM(tiny(num_layers=1)), long_batch()
  scorer = Counting(lm, chunk=50, group_size=G, max_new_tokens=LONG, microbatch=280, widths=3)
  jax.block_until_ready(scorer(lm.init(0), batch.tokens, batch.mask))
  jax.effects_barrier()
  lengths = np.asarray(batch.mask).sum(axis=1)
  assert sum(int(real) for _, real, _ in widths) == np.sum(lengths > 0)
  assert {width for width, _, _ in widths} == {70, 105, 140}
  least = {70: 0, 105: 70, 140: 105}
  assert all(least[width] < int(longest) <= width for width, _, longest in widths)


def test_a_pulled_gradient_is_that_of_the_sum():
  lm = LM(tiny(num_layers=2))
  batch, params = long_batch(), roughened(lm.init(0))
  weight = jnp.asarray(np.random.default_rng(1).standard_normal(batch.mask.shape), jnp.float32)
  weight = jnp.where(seen(batch), weight, 0)
  scorer = long_scorer(lm, cells=2, microbatch=200, widths=3)

  def of_rows(pick, scores):
    return jnp.sum(pick(weight) * (scores.logp**2 + scores.value * scores.entropy + scores.logit))

  @jax.jit
  def pull(params):
    return scorer.pull(params, batch.tokens, batch.mask, of_rows)

  def total(params):
    return of_rows(lambda x: x, make_scorer(lm, chunk=64)(params, batch.tokens))

  scores, gradient = pull(params)
  expected = jax.jit(jax.grad(total))(params)
  scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  assert largest_gap(gradient, expected) < 3e-5 * scale
  again = jax.jit(scorer)(params, batch.tokens, batch.mask)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), scores, again)


def test_gradients_of_narrow_parameters_are_summed_in_float32():
  """Many pieces, each with a small part: bfloat16 would forget all but the first ones."""
  lm = LM(tiny(num_layers=1))
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), lm.init(0))
  batch = long_batch()
  weight = jnp.asarray(batch.mask, jnp.float32)
  few, many = (
    jax.jit(
      lambda params, size=size: long_scorer(lm, microbatch=size).pull(
        params, batch.tokens, batch.mask, lambda pick, scores: jnp.sum(pick(weight) * scores.logp)
      )[1]
    )(params)
    for size in (10_000, 1)
  )
  for left, right in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
    assert left.dtype == right.dtype == jnp.bfloat16
    wide = np.asarray(left, np.float32), np.asarray(right, np.float32)
    np.testing.assert_allclose(*wide, rtol=2e-2, atol=2e-2 * np.abs(wide[0]).max())


def growth(lm, **options):
  """Temporaries of a gradient, in bytes: how much more 32 groups need than 8."""
  scorer = GroupScorer(lm, chunk=64, group_size=G, max_new_tokens=R, **options)
  sizes = []
  for count in (1, 4):
    batch = make_batch(PROMPTS * count)
    whole = objective(scorer, batch).lower(lm.abstract_params()).compile().memory_analysis()
    sizes.append(whole.temp_size_in_bytes)
  return sizes[1] - sizes[0]


def test_memory_grows_by_scores_and_keys_alone():
  lm = LM(tiny(num_layers=2))
  assert growth(lm, microbatch=1) < 0.2 * growth(lm)


def test_eight_devices_give_the_scores_of_one():
  mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
  lm = LM(tiny(d_model=24, num_layers=2))
  params, batch = roughened(lm.init(0)), make_batch()
  scorer = GroupScorer(lm, chunk=16, group_size=G, max_new_tokens=R, cells=4, microbatch=1)
  one = jax.jit(scorer)(params, batch.tokens, batch.mask)
  shardings = partition.param_shardings(params, mesh), *[partition.batch_sharding(mesh)] * 2
  with jax.set_mesh(mesh):
    arguments = jax.device_put((params, batch.tokens, batch.mask), shardings)
    eight = jax.jit(scorer)(*arguments)
  for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
    np.testing.assert_allclose(left, right, atol=2e-5)


def test_rows_that_are_no_groups_are_refused():
  lm = LM(tiny())
  batch = make_batch()
  for group_size, cells, response in [(5, 1, R), (G, 3, R), (G, 1, COLUMNS - 1)]:
    scorer = GroupScorer(lm, chunk=8, group_size=group_size, max_new_tokens=response, cells=cells)
    with pytest.raises(ValueError, match=f'24 rows and 13 columns is no {cells} cells of groups'):
      scorer(lm.init(0), batch.tokens, batch.mask)


def test_no_width_is_refused():
  with pytest.raises(ValueError, match=r'compute.widths=0 must be at least 1'):
    long_scorer(LM(tiny()), microbatch=10, widths=0)

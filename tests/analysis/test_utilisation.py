"""The model's work against literals, and what a sentence says bounds it."""

import re

import jax
import numpy as np
import pytest

from maxent_lm.analysis import utilisation
from maxent_lm.analysis.utilisation import Peaks, Work
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM

M = LMConfig(4096, 512, 8, 8, 4, 64, 1536)  # the benchmark's
FIXED = np.full(16 * 8, 64)
ASKED = {'prompts': 16, 'prompt': 32}


def rollout(config=M, lengths=FIXED, slots=128, **asked):
  return utilisation.rollout_work(config, lengths=lengths, slots=slots, **{**ASKED, **asked})


def test_products_are_two_a_weight_and_token_and_attention():
  layers = jax.tree.leaves(LM(M).abstract_params()['layers'])
  weights = sum(leaf.size for leaf in layers if leaf.ndim > 2)
  read = 16 * 32 + 128 * 63  # prompts, and all response tokens but the last
  dense = 2 * weights * read + 2 * 512 * 4096 * 128 * 64
  # A query of 512 numbers and the weighted values: 4 x 512 for each token that it sees.
  pairs = 128 * (32 * 63 + 64 * 63 / 2) + 16 * 32 * 32 / 2
  assert rollout().flops == pytest.approx(dense + 8 * 4 * 512 * pairs)


def test_decoding_reads_parameters_once_a_step_and_the_keys_of_all_tokens_before():
  """Two rows after a prompt of 10: 3 and 2 tokens; they read 1 + 2 and 1 keys, and 10 twice."""
  config = LMConfig(8, 4, 2, 2, 1, 4, 8)
  work = rollout(config, np.array([3, 2]), slots=2, prompts=1, prompt=10)
  parameters = sum(leaf.size for leaf in jax.tree.leaves(LM(config).abstract_params()))
  assert work.moved['parameters'] == 4 * parameters * 3  # the prompt and two steps
  assert work.moved['cache'] == 4 * (2 * 2 * 1 * 4) * (3 + 1 + 2 * 10)
  assert work.moved['logits'] == 2 * 4 * 5 * 8


def test_fewer_slots_need_more_steps_and_narrow_numbers_half_of_the_bytes():
  few, many = rollout(slots=32).moved, rollout().moved
  assert few['parameters'] == 4 * many['parameters'] and few['cache'] == many['cache']
  narrow = rollout(LMConfig(4096, 512, 8, 8, 4, 64, 1536, dtype='bfloat16')).moved
  assert 2 * narrow['parameters'] == many['parameters'] and 2 * narrow['cache'] == many['cache']
  wide = LMConfig(4096, 512, 8, 8, 4, 64, 1536, dtype='bfloat16', cache_dtype='float32')
  assert rollout(wide).moved['cache'] == many['cache']


def test_an_update_is_three_times_a_forward_pass_and_its_pieces_read_parameters_again():
  one, two = (
    utilisation.update_work(M, **ASKED, lengths=FIXED, pieces=pieces) for pieces in (1, 2)
  )
  assert one.flops == two.flops == 3 * rollout().flops
  assert 2 * one.moved['parameters'] == two.moved['parameters']
  assert one.moved['optimiser'] == two.moved['optimiser']


@pytest.mark.parametrize(
  ('seconds', 'flops', 'cache', 'told'),
  [
    (1.0, 9e9, 1e8, r'90.0% of the 10 measured.*what bounds it is its products \(90%\)'),
    (1.0, 1e9, 8e8, r'what bounds it is bytes, most of them cache \(80%\)'),
    (1.0, 1e9, 1e8, r'what bounds it is neither: .* \(80%\)'),
    (1.0, 4e9, 3e8, r'the largest part is its products \(40%\)'),
  ],
)
def test_what_takes_most_of_the_time_bounds_it(seconds, flops, cache, told):
  work = Work(flops, {'parameters': 0.0, 'cache': cache})
  sentence = utilisation.sentence('rollout', seconds, work, Peaks(1e10, 1e9))
  assert re.search(told, sentence), sentence
  assert sentence.count('\n') == 0


def test_peaks_are_measured():
  peaks = utilisation.measure_peaks('float32')
  assert peaks.flops > 1e8 and peaks.bandwidth > 1e7

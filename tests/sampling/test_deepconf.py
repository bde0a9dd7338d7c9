"""DeepConf: windows by hand, laws, and the published code's numbers (tests/reference)."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.sampling import deepconf
from maxent_lm.sampling.vote import majority_vote, weighted_vote

REFERENCE = pathlib.Path(__file__).parents[1] / 'reference' / 'deepconf.json'
CASES = {case['case']: case for case in json.loads(REFERENCE.read_text())['cases']}
TRACE = np.array([4.0, 2.0, 6.0, 1.0, 1.0])


def test_confidence_of_a_uniform_distribution_is_log_v():
  uniform = jax.nn.log_softmax(jnp.zeros((2, 3, 8)))
  for k in (1, 3, 8, 20):
    np.testing.assert_allclose(deepconf.token_confidence(uniform, k=k), np.log(8), rtol=1e-6)


def test_all_tokens_give_self_certainty():
  """KL(uniform || pi) = mean of log (1/V) / pi."""
  logp = jax.nn.log_softmax(jnp.array(np.random.default_rng(0).normal(size=(4, 7))))
  certainty = np.mean(np.log(1 / 7) - np.asarray(logp), axis=1)
  np.testing.assert_allclose(deepconf.token_confidence(logp, k=7), certainty + np.log(7), rtol=1e-5)
  np.testing.assert_array_equal(
    deepconf.token_confidence(logp, k=99), deepconf.token_confidence(logp, k=7)
  )


def test_tokens_that_are_ruled_out_do_not_count():
  logp = jax.nn.log_softmax(jnp.array([[3.0, 1.0, -jnp.inf, -jnp.inf]]))
  expected = deepconf.token_confidence(logp, k=2)
  assert np.isfinite(expected)
  np.testing.assert_array_equal(deepconf.token_confidence(logp, k=3), expected)


def test_the_most_likely_token_alone():
  logp = jax.nn.log_softmax(jnp.array([[3.0, 1.0, 0.0]]))
  np.testing.assert_array_equal(deepconf.token_confidence(logp, k=1), -logp[:, 0])
  with pytest.raises(ValueError, match='at least 1'):
    deepconf.token_confidence(logp, k=0)


def test_windows_by_hand():
  np.testing.assert_allclose(deepconf.group_confidence(TRACE, width=2), [4, 3, 4, 3.5, 1])
  assert deepconf.lowest_window(TRACE, width=2) == 1
  assert deepconf.bottom_windows(TRACE, width=2, share=0.1) == 1  # rounds down to none: one
  assert deepconf.bottom_windows(TRACE, width=2, share=0.5) == (1 + 3) / 2
  assert deepconf.tail_confidence(TRACE, width=3) == pytest.approx(8 / 3)


def test_a_response_shorter_than_a_window_is_one_window():
  for width in (5, 50):
    assert deepconf.lowest_window(TRACE, width=width) == pytest.approx(TRACE.mean())
    assert deepconf.tail_confidence(TRACE, width=width) == pytest.approx(TRACE.mean())
    assert deepconf.bottom_windows(TRACE, width=width, share=1) == pytest.approx(TRACE.mean())


def test_windows_are_the_means_of_slices():
  trace = np.random.default_rng(0).normal(size=40)
  slices = [trace[i : i + 7].mean() for i in range(34)]
  np.testing.assert_allclose(deepconf.group_confidence(trace, width=7)[6:], slices, atol=1e-12)
  assert deepconf.lowest_window(trace, width=7) == pytest.approx(min(slices))


@pytest.mark.parametrize(('trace', 'width'), [([], 3), ([1.0], 0)])
def test_windows_need_tokens(trace, width):
  with pytest.raises(ValueError, match='at least 1'):
    deepconf.lowest_window(trace, width=width)


def test_the_most_confident_share():
  confidence = np.arange(10.0)
  np.testing.assert_array_equal(deepconf.most_confident(confidence, share=0.1), confidence == 9)
  np.testing.assert_array_equal(deepconf.most_confident(confidence, share=0.9), confidence > 0)
  assert deepconf.most_confident(confidence, share=1).all()
  assert deepconf.most_confident(np.ones(4), share=0.1).all()
  with pytest.raises(ValueError, match='share'):
    deepconf.most_confident(confidence, share=0)


def test_online_stops_where_the_window_falls_and_leaves_the_warm_up_whole():
  low, high = np.full(6, 1.0), np.full(6, 3.0)
  falling = np.array([5.0, 5, 1, 1, 9, 9])
  result = deepconf.online([high, low, falling, high], warmup=2, share=0.5, width=2)
  assert result.threshold == 2
  np.testing.assert_array_equal(result.length, [6, 6, 4, 6])
  np.testing.assert_array_equal(result.kept, [True, False, False, True])


def test_online_with_everything_in_the_warm_up_saves_nothing():
  traces = list(np.random.default_rng(0).normal(size=(8, 20)) + 5)
  result = deepconf.online(traces, warmup=8, share=0.5, width=4)
  np.testing.assert_array_equal(result.length, 20)
  assert result.kept.sum() == 4
  with pytest.raises(ValueError, match='warm-up'):
    deepconf.online(traces, warmup=9, share=0.5, width=4)


# --- the published code --------------------------------------------------------------------------


def traces(case):
  return [np.array(trace['confs']) for trace in case['inputs']['traces']]


def test_returned_log_probs():
  """An engine returns a few log-probabilities a token, rounded to 3 decimals there."""
  case = CASES['compute_confidence']
  lists = [row for row in case['inputs']['top_logprobs'] if row]
  ours = [deepconf.token_confidence(jnp.array(row), k=len(row)) for row in lists]
  np.testing.assert_allclose(ours, case['outputs']['confs'], atol=5.1e-4)


def test_confidences_of_traces():
  case = CASES['per_trace_confidences']
  width = case['kwargs']['window_size']
  ours = {
    'mean': [trace.mean() for trace in traces(case)],
    'tail4': [deepconf.tail_confidence(trace, width=4) for trace in traces(case)],
    'min_w4': [deepconf.lowest_window(trace, width=width) for trace in traces(case)],
  }
  for name, share in (('bottom_w4_10', 0.1), ('bottom_w4_50', 0.5)):
    ours[name] = [deepconf.bottom_windows(t, width=width, share=share) for t in traces(case)]
  assert ours.keys() == case['outputs'].keys()
  for name, values in ours.items():
    np.testing.assert_allclose(values, case['outputs'][name], rtol=1e-12, err_msg=name)


def test_votes():
  """Windows of 2048 tokens are longer than these traces: all confidences are their means."""
  case = CASES['all_votes']
  answers = [trace['extracted_answer'] for trace in case['inputs']['traces']]
  lowest = np.array([deepconf.lowest_window(trace, width=2048) for trace in traces(case)])
  expected = case['outputs']
  assert majority_vote(answers).answer == expected['majority']['answer']
  assert weighted_vote(answers, lowest).answer == expected['min_window_weighted']['answer']
  kept = deepconf.most_confident(lowest, share=0.1)
  vote = weighted_vote([a if keep else None for a, keep in zip(answers, kept, strict=True)], lowest)
  filtered = expected['top10_bottom_window_filtered']
  assert (vote.answer, vote.voters) == (filtered['answer'], filtered['num_votes'])
  np.testing.assert_allclose(lowest[kept].mean(), filtered['confidence'], rtol=1e-12)


def test_early_stop():
  case = CASES['online_early_stop']
  knobs = case['kwargs']
  with jax.enable_x64(True):
    logp = jax.nn.log_softmax(jnp.array(case['inputs']['logits']))
    confidence = deepconf.token_confidence(logp, k=knobs['conf_topk'])
  width = knobs['conf_group_size']
  group = deepconf.group_confidence(confidence, width=width)
  # The published code computes in float32.
  np.testing.assert_allclose(group, case['outputs']['group_conf'], atol=1e-6)
  stops = deepconf.stops(confidence, width=width, threshold=knobs['threshold'])
  np.testing.assert_array_equal(stops, case['outputs']['forced_eos'])

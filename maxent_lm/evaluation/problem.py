"""What is known of one problem after K samples, as a row of plain values."""

import functools
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from maxent_lm.evaluation import at_k, diversity
from maxent_lm.sampling import adaptive_consistency, deepconf
from maxent_lm.sampling.vote import Vote, majority_vote, weighted_vote
from maxent_lm.tasks.base import Problem

Row = dict[str, Any]  # of one problem, plain values that JSON can hold
ENOUGH = 0.95  # chance that the answer in front stays there, for adaptive consistency to stop
CONFIDENT = 0.1  # share of the responses that vote in DeepConf


class Samples(NamedTuple):
  """The K samples of one problem; [K] each.

  Attributes:
    reward: of the task; NaN where it is unknown, for no fault of the response.
    finished: whether the response ended itself.
    classes: semantic class, None for none.
    tokens: the responses without their end, as tokens or words.
    length: in tokens, the end among them, or in words.
    logp: of the whole response, under the distribution sampled from; None if unknown, as below.
    entropy: mean over the tokens of a response.
    log_ratio: log pi(y) - log start(y).
    confidence: mean over the tokens.
    score: anything that is higher for a better response, as a reward model has it.
  """

  reward: np.ndarray
  finished: np.ndarray
  classes: list[str | None]
  tokens: Sequence[Sequence[Hashable]]
  length: np.ndarray
  logp: np.ndarray | None = None
  entropy: np.ndarray | None = None
  log_ratio: np.ndarray | None = None
  confidence: np.ndarray | None = None
  score: np.ndarray | None = None

  def known(self) -> 'Samples':
    """Those whose reward is known."""
    rows = np.flatnonzero(~np.isnan(self.reward)).tolist()
    return self._make(None if each is None else _take(each, rows) for each in self)


def _take(values: Any, rows: Sequence[int]) -> Any:
  return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def problem_row(problem: Problem, samples: Samples, modes: int | None) -> Row:
  """One problem; entropies and log-probabilities in nats.

  Samples of unknown reward count as not sampled, but in `faults`: K is `samples`, and if that is 0
  nothing else is known. What follows needs what `Samples` may lack only where it says so.

  A response that was cut has not answered: it has no class in `classes`, in the semantic entropies
  and in votes. The majority is the most frequent class (of several the one sampled first), its
  share is out of all K, and it is right if the first response of that class is. `adaptive` is the
  vote of adaptive consistency over the same responses in turn, with the number that it takes.

  The lists that end in `_at` have an entry for each of `ks`, 1, 2, 4, ... up to the samples asked
  for: means over all choices of k of the K samples (at_k.py), at K the vote itself. Those that
  begin with `sample_`, and `right`, have an entry a response.

  With `logp`: `logp` is its mean; `vote_logp_right` weighs votes by exp(log-probability per token)
  [Wang et al. 2023], `best_logp_at` takes the likeliest response, as `best_score_at` that with the
  highest score. `entropy` weighs tokens alike. `kl` is the mean of the log-ratio, unbiased for the
  KL to the start. With `confidence`: `confident_right` is the vote of the most confident ones by
  their confidence, `vote_confidence_right` that of all.
  """
  asked, samples = len(samples.reward), samples.known()
  size = len(samples.reward)
  head = {'id': problem.id, 'prompt': problem.prompt, 'samples': size, 'faults': asked - size}
  if not size:
    return {**head, 'modes': modes}
  ended = zip(samples.classes, samples.finished, strict=True)
  answers = [name if finished else None for name, finished in ended]
  right = samples.reward == 1
  return {
    **head,
    'correct': int(right.sum()),
    'modes': modes,
    **_votes(answers, right, samples),
    **_curves(answers, right, samples, asked),
    **semantic_entropies(answers, _per_token(samples)),
    **_means(samples),
    **_texts(samples),
    'right': right.tolist(),
    **_each(samples),
  }


def _votes(answers: list[str | None], right: np.ndarray, samples: Samples) -> Row:
  """What is answered, and whether the votes are right."""

  def is_right(vote: Vote) -> bool:
    return vote.answer is not None and bool(right[answers.index(vote.answer)])

  vote, adaptive = majority_vote(answers), _adaptive(answers)
  row = {
    'classes': dict(Counter(name for name in answers if name is not None).most_common()),
    'majority': vote.answer,
    'majority_share': vote.share,
    'majority_right': is_right(vote),
    'adaptive_right': is_right(adaptive.vote),
    'adaptive_samples': adaptive.samples,
  }
  per_token = _per_token(samples)
  if per_token is not None:
    row['vote_logp_right'] = is_right(weighted_vote(answers, np.exp(per_token)))
  if samples.confidence is not None:
    voters = deepconf.most_confident(samples.confidence, share=CONFIDENT)
    row['confident_right'] = is_right(weighted_vote(answers, voters * samples.confidence))
    row['vote_confidence_right'] = is_right(weighted_vote(answers, samples.confidence))
  return row


def _adaptive(answers: Sequence[str | None]) -> adaptive_consistency.Adaptive:
  """The vote over the answers in turn, until the one in front is ahead for good."""
  rule = functools.partial(adaptive_consistency.stops_beta, threshold=ENOUGH)
  return adaptive_consistency.adaptive_vote(iter(answers).__next__, rule, limit=len(answers))


def _curves(answers: list[str | None], right: np.ndarray, samples: Samples, asked: int) -> Row:
  """Numbers over k; `asked` samples were asked for."""
  size = len(right)
  ks = [k for k in at_k.sizes(asked) if k <= size]
  classes = zip(samples.classes, right, strict=True)
  modes = Counter(name for name, ok in classes if ok and name is not None)  # no class, no mode
  found = list(modes.values())
  row = {
    'distinct': len(found),
    'ks': ks,
    'distinct_at': [at_k.distinct_at_k(found, samples=size, k=k) for k in ks],
    'majority_at': _majority(answers, right, ks),
  }
  for name, scores in (('logp', samples.logp), ('score', samples.score)):
    if scores is not None:
      row[f'best_{name}_at'] = at_k.best_at_k(scores, right, ks=ks).tolist()
  return row


def _majority(
  answers: list[str | None], right: np.ndarray, ks: Sequence[int]
) -> list[float | None]:
  """maj@k, at k = K of the vote itself; None where there are too many samples for its mean."""
  size = len(answers)
  counts = Counter(name for name in answers if name is not None)
  good = Counter(name for name, ok in zip(answers, right, strict=True) if ok)
  below: list[float | None] = [None] * len(ks)
  if size <= at_k.MOST:
    share = [good[name] / count for name, count in counts.items()]
    below = at_k.majority_at_k(list(counts.values()), share, samples=size, ks=ks).tolist()
  winner = majority_vote(answers).answer
  taken = float(winner is not None and right[answers.index(winner)])
  return [taken if k == size else mean for k, mean in zip(ks, below, strict=True)]


def _means(samples: Samples) -> Row:
  """Means over the responses."""
  row = {
    'reward': float(samples.reward.mean()),
    'tokens': int(samples.length.sum()),
    'finished': float(samples.finished.mean()),
  }
  if samples.entropy is not None:
    row['entropy'] = float(np.average(samples.entropy, weights=samples.length))
  optional = {
    'logp': samples.logp,
    'kl': samples.log_ratio,
    'confidence': samples.confidence,
    'score': samples.score,
  }
  return row | {name: float(x.mean()) for name, x in optional.items() if x is not None}


def _texts(samples: Samples) -> Row:
  """How the responses differ as texts, and which of them an earlier one was equal to."""
  seen: dict[tuple[Hashable, ...], int] = {}
  first = [seen.setdefault(tuple(row), place) for place, row in enumerate(samples.tokens)]
  return {
    'distinct_1': diversity.distinct_n(samples.tokens, n=1),
    'distinct_2': diversity.distinct_n(samples.tokens, n=2),
    'self_bleu': diversity.self_bleu(samples.tokens),
    'sample_repeat': [place != own for own, place in enumerate(first)],
  }


def _each(samples: Samples) -> Row:
  """What is known of each response."""
  optional = {
    'entropy': samples.entropy,
    'logp': samples.logp,
    'log_ratio': samples.log_ratio,
    'confidence': samples.confidence,
    'score': samples.score,
  }
  row = {'sample_reward': samples.reward.tolist(), 'sample_length': samples.length.tolist()}
  return row | {f'sample_{name}': x.tolist() for name, x in optional.items() if x is not None}


def _per_token(samples: Samples) -> np.ndarray | None:
  return None if samples.logp is None else samples.logp / np.maximum(samples.length, 1)


def semantic_entropies(classes: Sequence[str | None], logp: np.ndarray | None) -> dict[str, float]:
  """Estimates of the entropy over the classes of K responses, nats [Farquhar et al. 2024].

  A response without a class agrees with no other: it is a class of its own.

      semantic_entropy               - sum_c p_c log p_c, p_c = responses of the class / K
      semantic_entropy_miller_madow  that + (classes seen - 1) / (2 K), for the bias downwards
      semantic_entropy_rao           - sum_c p_c log p_c, p_c prop. to the sum over the responses of
                                     the class of exp(logp), logp [K] per token; if that is known
  """
  keys = [(name, row if name is None else 0) for row, name in enumerate(classes)]
  numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
  number = [numbers[key] for key in keys]

  def entropy(weights: np.ndarray) -> float:
    share = np.bincount(number, weights=weights) / weights.sum()
    return float(special.entr(np.sort(share)).sum())  # sorted: equal counts, equal to the last bit

  plain = entropy(np.ones(len(keys)))
  found = {
    'semantic_entropy': plain,
    'semantic_entropy_miller_madow': plain + (len(numbers) - 1) / (2 * len(keys)),
  }
  if logp is not None:
    found['semantic_entropy_rao'] = entropy(np.exp(logp - np.max(logp)))
  return found

"""Does semantic entropy find wrong answers better than token entropy? On Countdown, with intervals.

python experiments/tables/detection.py --preset=cpu --workdir=runs/tables/detection

Policies: a warm start, and GRPO and VarGrad trained from it, as in the quickstart. Each answers
test problems K times; a detector gives a number that should be higher where the answer is wrong,
and its AUROC is the chance that it is. Two answers are judged: the majority's, and a single sample.
A Countdown problem has several right answers here, of different classes, so that samples may
disagree and all be right: this is harder on semantic entropy than questions with one answer, for
which Farquhar et al. 2024 report that it is better.
"""

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from maxent_lm import build
from maxent_lm.analysis import tables
from maxent_lm.evaluation import BINS, Row, detection
from maxent_lm.evaluation.intervals import Estimate

POLICIES = {'warm start': 'pretrain', 'GRPO': 'grpo', 'VarGrad': 'vargrad'}
BASELINE = 'token entropy'
OF_PROBLEM: dict[str, Callable[[Row], float]] = {
  BASELINE: lambda row: row['entropy'],
  'semantic entropy': lambda row: row['semantic_entropy'],
  'semantic entropy, Miller-Madow': lambda row: row['semantic_entropy_miller_madow'],
  'semantic entropy, Rao': lambda row: row['semantic_entropy_rao'],
  '- log-probability': lambda row: -row['logp'],
  '- confidence (DeepConf)': lambda row: -row['confidence'],
  '- share of the majority': lambda row: -row['majority_share'],
}
OF_ANSWER: dict[str, Callable[[Row], np.ndarray]] = {  # what is known of the sample itself
  'token entropy of the answer': lambda row: np.array(row['sample_entropy']),
  '- log-probability of the answer': lambda row: -np.array(row['sample_logp']),
  '- confidence of the answer': lambda row: -np.array(row['sample_confidence']),
}
COLUMNS = (
  *('policy', 'answer', 'answers', 'wrong', 'detector', 'AUROC', '- that of token entropy'),
  *('verdict', 'AURC', 'ECE', 'Brier'),
)
NOTE = (
  'In brackets 95% intervals, not corrected for how many there are; the answers to one problem, of '
  'all seeds, are one cluster [DeLong et al. 1988; Obuchowski 1997]. Verdict: the interval of the '
  'difference lies above 0 (better), below (worse), or holds it. AURC: mean share of wrong answers '
  'among the k least suspicious, over k. ECE (10 bins of equal mass) and Brier score: of the share '
  'of the majority as the probability of being right. A detector that is not "of the answer" is of '
  'the problem, the same for all its samples. Confidence: in the 20 most likely tokens, nearly all '
  'of this vocabulary, so nearly self-certainty.'
)


class Answers(NamedTuple):
  """N answers of some kind with what detectors say of each: all [N]."""

  kind: str
  wrong: np.ndarray
  problem: np.ndarray
  scores: Mapping[str, np.ndarray]
  share: np.ndarray | None


def build_table(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains and measures what is missing, then compares."""
  seeds = {'smoke': 1, 'cpu': 2, 'full': 5}[preset]
  rows = []
  for policy in POLICIES:
    problems = [row for seed in range(seeds) for row in measured(policy, seed, preset, workdir)]
    for answers in (of_majority(problems), of_samples(problems)):
      rows += [{'policy': policy, **line} for line in compared(answers)]
  return tables.Table(COLUMNS, [shown(row) for row in rows], NOTE, gates(rows, preset))


def gates(rows: list[dict[str, Any]], preset: str) -> list[tables.Gate]:
  """What holds before anything can be compared: both know something of the warm start's errors."""
  if preset == 'smoke':
    return []
  return [
    tables.Gate(
      f'{row["detector"]} is better than chance for the warm start ({row["answer"]})',
      row['AUROC'] is not None and row['AUROC'].low > 0.5,
    )
    for row in rows
    if row['policy'] == 'warm start' and row['detector'] in (BASELINE, 'semantic entropy')
  ]


# --- answers and detectors -------------------------------------------------------------------


def of_majority(problems: list[Row]) -> Answers:
  """One answer a problem."""
  share = np.array([row['majority_share'] for row in problems])
  return Answers(
    kind='majority',
    wrong=~np.array([row['majority_right'] for row in problems]),
    problem=np.array([row['id'] for row in problems]),
    scores={name: np.array([f(row) for row in problems]) for name, f in OF_PROBLEM.items()},
    share=share,
  )


def of_samples(problems: list[Row]) -> Answers:
  """Every sample is an answer: the mean over which of them would be given."""
  sizes = [row['samples'] for row in problems]
  return Answers(
    kind='one sample',
    wrong=~np.concatenate([row['right'] for row in problems]),
    problem=np.repeat([row['id'] for row in problems], sizes),
    scores={
      **{name: np.repeat([f(r) for r in problems], sizes) for name, f in OF_PROBLEM.items()},
      **{name: np.concatenate([f(r) for r in problems]) for name, f in OF_ANSWER.items()},
    },
    share=None,
  )


def compared(answers: Answers) -> Iterator[dict[str, Any]]:
  """A line a detector; AUROC and the difference are None where all answers are right or wrong."""
  wrong, share = answers.wrong, answers.share
  both = bool(wrong.any() and not wrong.all())
  for name, score in answers.scores.items():
    area = difference = None
    if both:
      area = detection.auroc(score, wrong, problem=answers.problem)
      difference = detection.auroc_difference(
        score, answers.scores[BASELINE], wrong, problem=answers.problem
      )
    yield {
      'answer': answers.kind,
      'answers': len(wrong),
      'wrong': float(wrong.mean()),
      'detector': name,
      'AUROC': area,
      'difference': None if name == BASELINE else difference,
      'AURC': detection.aurc(score, wrong),
      **(calibration(share, ~wrong) if name == '- share of the majority' else {}),
    }


def calibration(share: np.ndarray | None, right: np.ndarray) -> dict[str, float]:
  """Of the share of the majority; nothing for single samples, about which it claims nothing."""
  if share is None:
    return {}
  return {
    'ECE': detection.ece(share, right, bins=BINS),
    'Brier': detection.brier(share, right),
  }


def shown(row: dict[str, Any]) -> dict[str, Any]:
  """Estimates as text, with the verdict."""
  difference = row['difference']
  return row | {
    'AUROC': interval(row['AUROC']),
    '- that of token entropy': interval(difference),
    'verdict': None if difference is None else verdict(difference),
  }


def interval(estimate: Estimate | None) -> str | None:
  """'0.812 [0.771, 0.848]'."""
  if estimate is None:
    return None
  return f'{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]'


def verdict(difference: Estimate) -> str:
  """What the interval of a difference allows to say."""
  if difference.low > 0:
    return 'better'
  return 'worse' if difference.high < 0 else 'undecided'


# --- policies --------------------------------------------------------------------------------


def measured(policy: str, seed: int, preset: str, workdir: pathlib.Path) -> list[Row]:
  """The rows of all problems, from a run that is trained if it is not there."""
  variant = POLICIES[policy]
  warm = workdir / f'{POLICIES["warm start"]}_{seed}'
  folder = workdir / f'{variant}_{seed}'
  init = '' if policy == 'warm start' else str(warm / 'model')
  config = make_config(variant, seed, preset, init)
  compute = functools.partial(train_and_measure, config, folder)
  return tables.stored(folder / 'problems.json', config.to_dict(), compute)['problems']


def train_and_measure(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains the run to its end, and samples the test problems."""
  start = build.rollout_run if config.init else build.demonstration_run
  run = start(config, workdir)
  state = run.train()
  return {'problems': build.make_evaluation(config, run.policy).measure(state.params, None)}


def make_config(variant: str, seed: int, preset: str, init: str) -> ml_collections.ConfigDict:
  """The quickstart's run, with more test problems."""
  from configs import countdown

  config = countdown.get_config(variant)
  config.update(name=f'detection_{variant}', seed=seed, init=init)
  config.eval.update(problems=1024, confidence_k=20)
  if preset == 'smoke':
    config.steps = 60 if variant == 'pretrain' else 2  # some answers have to be right
    config.eval.update(problems=64, prompts=64)
  return config


if __name__ == '__main__':
  tables.script('detection', build_table)

"""Evaluation: a row a problem, a table over all of them, and what the numbers are worth.

policy.py      samples a policy and measures every problem
stored.py      the same from responses in a file
problem.py     one problem's row: votes, entropies, log-probabilities, diversity
table.py       the table with its intervals, of one run or of several
at_k.py        pass@k, distinct@k, maj@k, best of k, from n >= k samples
diversity.py   distinct-n, self-BLEU
detection.py   AUROC, risk and coverage, calibration of a confidence
boltzmann.py   log-probabilities against rewards: slope 1 at the soft optimum
intervals.py   the bootstrap
"""

from maxent_lm.evaluation.at_k import coverage, pass_at_k
from maxent_lm.evaluation.policy import Evaluation
from maxent_lm.evaluation.problem import Row, Samples, problem_row, semantic_entropies
from maxent_lm.evaluation.table import BINS, pooled, shares, summary

__all__ = [
  'BINS',
  'Evaluation',
  'Row',
  'Samples',
  'coverage',
  'pass_at_k',
  'pooled',
  'problem_row',
  'semantic_entropies',
  'shares',
  'summary',
]

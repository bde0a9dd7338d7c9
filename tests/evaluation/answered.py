"""Answers that nobody had to sample."""

import numpy as np

from maxent_lm.evaluation import Samples, problem_row
from maxent_lm.tasks.base import Problem


def samples(classes, right, *, finished=True, entropy=0.5, logp=-2.0, **more):
  """Four tokens a response, all different; `more` are other fields of `Samples`."""
  size = len(classes)
  fields = {
    'reward': np.array(right, np.float32),
    'finished': np.broadcast_to(finished, size),
    'classes': classes,
    'tokens': [(f'token {row}',) * 4 for row in range(size)],
    'length': np.full(size, 4),
    'entropy': np.broadcast_to(np.float64(entropy), size),
    'logp': np.broadcast_to(np.float64(logp), size),
  }
  return Samples(**{**fields, **more})


def row(classes, right, *, modes=3, name='id', **more):
  """The row of a problem that was answered so."""
  return problem_row(Problem(name, 'prompt', '', None), samples(classes, right, **more), modes)


def offline(classes, right, *, modes=3, name='id', **more):
  """Likewise, of responses that no model is known for."""
  of = samples(classes, right, **more)._replace(entropy=None, logp=None)
  return problem_row(Problem(name, 'prompt', '', None), of, modes)


def hard_and_easy():
  """Answers to easy problems agree and are right, to hard ones they differ and are mostly wrong."""
  easy = [row(['a'] * 4, [1, 1, 1, 1], entropy=0.3 + 0.01 * i) for i in range(6)]
  middle = [row(['a', 'b', 'a', 'a'], [1, 0, 1, 1], entropy=0.4 - 0.01 * i) for i in range(3)]
  hard = [row(['a', 'b', 'c', 'd'], [0, 0, 1, 0], entropy=0.2, logp=-9.0) for i in range(4)]
  return easy + middle + hard

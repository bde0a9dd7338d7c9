"""What a peer is asked, how its steps are timed, and the line that it prints."""

import contextlib
import importlib.metadata
import json
import statistics
import time
from collections.abc import Generator
from typing import Any, NamedTuple

from absl import flags

from experiments.peers import work
from maxent_lm import process  # without JAX

PRESET = flags.DEFINE_enum('preset', 'S', list(work.SHAPES), 'Model and work.')
LENGTHS = flags.DEFINE_enum('lengths', 'fixed', list(work.RESPONSE), 'How responses end.')
ROUNDS = flags.DEFINE_integer('rounds', 3, 'Steps that are timed.', lower_bound=1)


class Timed(NamedTuple):
  """Seconds, and CPU seconds of all threads."""

  wall: float
  cpu: float

  def __sub__(self, other: 'Timed') -> 'Timed':
    return Timed(self.wall - other.wall, self.cpu - other.cpu)


class Step(NamedTuple):
  """One step; `rollout` is a part of `whole`, `tokens` are of all responses."""

  whole: Timed
  rollout: Timed
  tokens: int


def now() -> Timed:
  """Where the clocks stand."""
  return Timed(time.perf_counter(), time.process_time())


class Clock:
  """Takes the time of steps that follow each other, from when it is made."""

  def __init__(self) -> None:
    self.steps: list[Step] = []
    self.start = process.since_start()
    self.first_peak_mb = 0
    self._began, self._rollout, self._tokens = now(), Timed(0, 0), 0

  @contextlib.contextmanager
  def rollout(self) -> Generator[None]:
    """What runs inside is this step's rollout."""
    began = now()
    yield
    self._rollout = now() - began

  def count(self, tokens: int) -> None:
    """So many tokens were sampled in this step."""
    self._tokens += tokens

  def end(self) -> None:
    """Ends a step and begins the next one."""
    ended = now()
    self.steps.append(Step(ended - self._began, self._rollout, self._tokens))
    if len(self.steps) == 1:
      self.first_peak_mb = process.peak_mb()
      process.forget_peak()
    self._began, self._rollout, self._tokens = ended, Timed(0, 0), 0


def tell(peer: str, package: str, clock: Clock, **settings: Any) -> None:
  """Prints one line of JSON with the keys of experiments/benchmark.py; no shares of a peak."""
  first, *rest = clock.steps
  update = [step.whole - step.rollout for step in rest]
  tokens = statistics.median(step.tokens for step in rest)
  rollout_s = statistics.median(step.rollout.wall for step in rest)
  row = {
    'peer': peer,
    'version': importlib.metadata.version(package),
    'preset': PRESET.value,
    'lengths': LENGTHS.value,
    **settings,
    'rollout_s': round(rollout_s, 3),
    'rollout_cpu_s': round(statistics.median(step.rollout.cpu for step in rest), 3),
    'update_s': round(statistics.median(each.wall for each in update), 3),
    'update_cpu_s': round(statistics.median(each.cpu for each in update), 3),
    'step_s': round(statistics.median(step.whole.wall for step in rest), 3),
    'first_step_s': round(first.whole.wall, 1),
    'start_s': round(clock.start, 1),
    'tokens': int(tokens),
    'tokens_per_s': round(tokens / rollout_s),
    'peak_mb': process.peak_mb(),
    'first_peak_mb': clock.first_peak_mb,
  }
  print(json.dumps(row))

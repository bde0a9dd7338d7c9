"""Guards: alarms on the numbers of each step, on the host, and what is done when one rings.

What a guard remembers is a function of the rows of `metrics.jsonl`, so a resumed run reads it from
there. The numbers of step t are known on the host after step t + 1 has been dispatched; what they
ask for is in force from step t + 2 on, wherever checkpoints fall.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from maxent_lm.temperature import lift
from maxent_lm.train.state import TrainState

RESPONSES = ('log', 'raise_alpha', 'stop')


@dataclasses.dataclass(frozen=True)
class Alarm:
  """Rings while a number has been outside its limits for `steps` steps in a row.

  A step without the number, or where it is not finite, does not count either way.

  Attributes:
    name: `alarm_<name>` in the metrics.
    observe: the number's name in the metrics.
    low, high: limits; None is none.
    factor: a further upper limit, `factor` times the first value; None is none.
    steps: in a row, at least 1.
    response: log (a line on the console, as every alarm has it), raise_alpha, or stop.

  Raises:
    ValueError: an unknown response, no limit, or steps < 1.
  """

  name: str
  observe: str
  low: float | None
  high: float | None
  factor: float | None
  steps: int
  response: str

  def __post_init__(self) -> None:
    if self.response not in RESPONSES:
      raise ValueError(
        f'config.guards.{self.name}.response={self.response!r} is unknown; choose one of '
        f'{", ".join(RESPONSES)}'
      )
    if self.steps < 1 or (self.low, self.high, self.factor) == (None, None, None):
      raise ValueError(f'config.guards.{self.name}: needs steps >= 1 and a low, high or factor')

  def broken(self, value: float, first: float) -> str:
    """Which limit the value breaks, in words; '' if none."""
    if self.low is not None and value < self.low:
      return f'below {self.low:g}'
    if self.high is not None and value > self.high:
      return f'above {self.high:g}'
    if self.factor is not None and value > self.factor * first:
      return f'above {self.factor:g} times its first value, {first:.3g}'
    return ''


@dataclasses.dataclass(frozen=True)
class Lift:
  """To `raise_alpha`: times `factor`, up to `high`, at most once in `every` steps."""

  factor: float
  high: float
  every: int

  def __post_init__(self) -> None:
    if self.factor <= 1 or self.high <= 0 or self.every < 1:
      raise ValueError(
        'config.guards.raise_alpha: needs factor > 1, high > 0 and every >= 1, '
        f'got factor={self.factor}, high={self.high}, every={self.every}'
      )


@dataclasses.dataclass(frozen=True)
class Guards:
  """The alarms of a run; `lift` where one of them raises alpha, which then must be `liftable`."""

  alarms: tuple[Alarm, ...] = ()
  lift: Lift | None = None

  def watch(self, rows: Iterable[Mapping[str, Any]]) -> 'Watch':
    """A watch that has seen `rows`, those of a run that is resumed."""
    watch = Watch(self)
    for row in rows:
      watch.see(row['step'], row)
    watch.news.clear()
    return watch


class Watch:
  """Guards at work: `see` every row once, in order; between two rows `respond` once.

  Attributes:
    news: lines for the console, for whoever prints them to clear.
    reason: why the run is to stop, one sentence; '' while it is not.
  """

  def __init__(self, guards: Guards) -> None:
    self.news: list[str] = []
    self.reason = ''
    self._guards = guards
    self._first: dict[str, float] = {}
    self._streak = {alarm.name: 0 for alarm in guards.alarms}
    self._lifts = False  # asked for by the newest row
    self._lifted_at = -math.inf
    self._stopped_at = math.inf
    self._begun = False

  def see(self, step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """What the row of this step gets: alarm_<name>, 0 or 1, and alpha_raised where it can be.

    Raises:
      ValueError: the first row lacks what an alarm observes.
    """
    if not self._begun:
      self._check(metrics)
      self._begun = True
    rings = {alarm.name: self._rings(alarm, step, metrics) for alarm in self._guards.alarms}
    responses = {alarm.response for alarm in self._guards.alarms if rings[alarm.name]}
    row = {f'alarm_{name}': float(ring) for name, ring in rings.items()}
    if self._guards.lift is not None:
      due = step - self._lifted_at >= self._guards.lift.every
      self._lifts = due and 'raise_alpha' in responses
      self._lifted_at = step if self._lifts else self._lifted_at
      row['alpha_raised'] = float(self._lifts)
    if 'stop' in responses and not self.reason:
      self._stopped_at = step
      names = [a.name for a in self._guards.alarms if rings[a.name] and a.response == 'stop']
      self.reason = (
        f'stopped by {", ".join(names)} at step {step}; change config.guards to go on from the '
        'last checkpoint'
      )
    return row

  def respond(self, state: TrainState) -> TrainState:
    """The state with alpha raised, if the newest row asks for it."""
    settings = self._guards.lift
    if settings is None or not self._lifts:
      return state
    self._lifts = False
    return state._replace(alpha=lift(state.alpha, factor=settings.factor, high=settings.high))

  def over(self, step: int) -> bool:
    """Whether `step` is not to be taken: one step follows the row that stops a run."""
    return step > self._stopped_at + 1

  def _rings(self, alarm: Alarm, step: int, metrics: Mapping[str, Any]) -> bool:
    value = _number(metrics.get(alarm.observe))
    if math.isfinite(value):
      first = self._first.setdefault(alarm.name, value)
      broken = alarm.broken(value, first)
      self._streak[alarm.name] = self._streak[alarm.name] + 1 if broken else 0
      if self._streak[alarm.name] == alarm.steps:
        self.news.append(
          f'step {step}: alarm {alarm.name}: {alarm.observe} is {value:.3g}, {broken}, '
          f'for {alarm.steps} steps'
        )
    return self._streak[alarm.name] >= alarm.steps

  def _check(self, metrics: Mapping[str, Any]) -> None:
    for alarm in self._guards.alarms:
      if alarm.observe not in metrics:
        raise ValueError(
          f'config.guards.{alarm.name}.observe={alarm.observe!r} is not measured in this run; '
          f'choose one of {", ".join(sorted(metrics))}'
        )


def _number(value: Any) -> float:
  """As a float; nan for what is missing, or null in `metrics.jsonl`. Waits for the device."""
  return math.nan if value is None else float(np.asarray(value))

"""The loop: collect a batch, dispatch an update, look at the numbers of the step before."""

import contextlib
import functools
import json
import pathlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple

import jax

from maxent_lm import hosts, process
from maxent_lm.train import finite, signals
from maxent_lm.train import look as looking
from maxent_lm.train import skips as skipping
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.collect import Collected
from maxent_lm.train.guards import Guards, Watch
from maxent_lm.train.look import Fresh, Look
from maxent_lm.train.metrics import MetricsWriter, Progress, keep_before, read_metrics
from maxent_lm.train.skips import Count, Skips
from maxent_lm.train.state import TrainState
from maxent_lm.train.step import Trained, Update
from maxent_lm.types import Array, Batch, Params

Collect = Callable[[int, TrainState], Collected]
Recorder = Callable[[int, dict[str, Any], Callable[[], None]], Any]


class Pending(NamedTuple):
  """A step whose row is not written yet; `culprits`: see `finite.culprits`."""

  step: int
  metrics: dict[str, Any]
  keep: Callable[[], None]
  batch: Batch
  culprits: Array


def train(
  state: TrainState,
  *,
  steps: int,
  collect: Collect,
  update: Update,
  reference: Params | None,
  checkpointer: Checkpointer,
  workdir: pathlib.Path,
  name: str,
  samples_every: int,
  guards: Guards,
  skips: Skips,
  memory: Callable[[], Mapping[str, Any]] = dict,
  look: Look | None = None,
  beat: Callable[[], None] = lambda: None,
) -> TrainState:
  """Runs from `state.step` to `steps`; whatever ends it, what is committed can be resumed.

  Metrics of a step are fetched only after the next step has been dispatched, so that the device
  need not wait for the host's bookkeeping; but before a checkpoint, so that a run that is resumed
  from it misses none. `memory()` is what the collectors remember, by name. A guard may end the run
  before `steps`, after a checkpoint; started again, it ends at once.

  Every `samples_every` steps, and in the last one, samples are written, and what `look` keeps.

  Several processes take the same steps; the first one writes. `beat()` is called after every step.

  Raises:
    skips.Poisoned: too many updates were skipped; the last one is in a dump.
    hosts.Stopped: a signal has asked for it; the step is in a checkpoint.
    checkpoint.NotSavedError: too many checkpoints in a row could not be saved.
  """
  start = int(state.step)
  rows = read_metrics(workdir / 'metrics.jsonl')
  before = [row for row in rows if row['step'] < start]
  watch = guards.watch(before)
  count = skips.count(before, finite.names(_trained(state)))
  with _recorder(workdir, name, watch, start=start, steps=steps) as record:
    settle = _settler(record, watch, count, checkpointer, workdir)
    pending = None
    if start < steps and signals.stopping(start):
      raise hosts.Stopped(f'stopped before step {start}; the same command goes on from there')
    for step in range(start, steps):
      checkpointer.check()
      if watch.over(step):
        break
      collected = collect(step, state)
      if step == start:
        process.release_memory()  # what compiling the rollout took
      state, seen = update(state, reference, collected.batch)
      shown, metrics = looking.split(seen)
      culprits = metrics.pop(finite.CULPRITS)
      if step == start:
        process.release_memory()
      if pending is not None:
        settle(pending)
      state = watch.respond(state)  # to the rows before this step's
      # The row tells of all that was sampled, where controllers saw what was trained on.
      due = step % samples_every == 0 or step == steps - 1
      keep = _samples(workdir, step, collected, look, shown) if due else _nothing
      row = {**metrics, **collected.metrics}
      pending = Pending(step, row, keep, collected.batch, culprits)
      stopping = signals.stopping(step + 1)
      if checkpointer.due(step + 1) or step == steps - 1 or watch.over(step + 1) or stopping:
        settle(pending)
        pending = None
        checkpointer.save(state, step + 1, memory())
      if stopping and step < steps - 1:
        checkpointer.finish(state, step + 1, memory())
        raise hosts.Stopped(f'stopped after step {step}; the same command goes on from there')
      beat()
  checkpointer.finish(state, int(state.step), memory())
  return state


def _trained(state: TrainState) -> Trained:
  return Trained(state.params, None if state.critic is None else state.critic.params)


def _settler(
  record: Recorder,
  watch: Watch,
  count: Count,
  checkpointer: Checkpointer,
  workdir: pathlib.Path,
) -> Callable[[Pending], None]:
  """Records a step, and ends the run if it was the last of too many that were skipped."""

  def settle(of: Pending) -> None:
    wrong = count.see(of.metrics, of.culprits)
    if wrong:
      watch.news.append(f'step {of.step}: the update was skipped: {skipping.brief(wrong)}')
    record(of.step, of.metrics, of.keep)
    if reason := count.too_many():
      checkpointer.wait()
      last = skipping.Skipped(of.step, wrong, of.metrics, of.batch)
      skipping.stop(workdir, last, reason=reason)

  return settle


@contextlib.contextmanager
def _recorder(
  workdir: pathlib.Path, name: str, watch: Watch, *, start: int, steps: int
) -> Generator[Recorder, None, None]:
  hosts.meet()  # all have read what is written on from here
  if not hosts.is_first():
    yield lambda step, metrics, keep: (watch.see(step, jax.block_until_ready(metrics)), keep())
    return
  for file in ('samples.jsonl', 'rollouts.jsonl'):
    keep_before(workdir / file, start)
  writer = MetricsWriter(workdir, start=start)
  progress = Progress(name, start=start, steps=steps)
  try:

    def record(step: int, metrics: dict[str, Any], keep: Callable[[], None]) -> None:
      progress.update(writer.write(step, {**metrics, **watch.see(step, metrics)}))
      while watch.news:
        progress.say(watch.news.pop(0))
      keep()

    yield record
    if watch.over(steps - 1):
      progress.say(watch.reason)
  finally:
    progress.close()
    writer.close()


def append(path: pathlib.Path, step: int, rows: Iterable[dict[str, Any]]) -> None:
  """Appends what a step leaves for people to read, a line a row."""
  with path.open('a', encoding='utf-8') as file:
    for row in rows:
      file.write(json.dumps({'step': step, **row}, ensure_ascii=False) + '\n')


def _samples(
  workdir: pathlib.Path,
  step: int,
  collected: Collected,
  look: Look | None,
  shown: Mapping[str, Array],
) -> Callable[[], None]:
  """Writes the samples; what it gives writes the rollouts, once the update has been made."""
  if hosts.is_first():
    append(workdir / 'samples.jsonl', step, collected.samples)
  if look is None or collected.fresh is None:
    return _nothing
  return functools.partial(_keep, workdir, step, look, collected.fresh, shown)


def _keep(
  workdir: pathlib.Path, step: int, look: Look, fresh: Fresh, shown: Mapping[str, Array]
) -> None:
  """Every process helps to fetch; the first one writes."""
  numbers = hosts.fetch(shown)
  if hosts.is_first():
    append(workdir / 'rollouts.jsonl', step, look.lines(fresh, numbers))


def _nothing() -> None:
  """Of a step that nobody looks at."""

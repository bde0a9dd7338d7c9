"""Saving a `TrainState` in the background: nothing that is not whole and finite counts as saved.

A step is durable when all of it, with its manifest, is on the disk; only then are older ones
deleted. A save that cannot be made, or fails while it is written, is told and tried again at the
next step; some in a row end the run.
"""

import contextlib
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import options as ocp_options

from maxent_lm import hosts
from maxent_lm.train import manifest, steps
from maxent_lm.train.state import TrainState
from maxent_lm.train.stored import Checkpoints, items, tell
from maxent_lm.types import Array

ROOM = 2.2  # free space that a save wants, in checkpoints
TIMEOUT = 3600  # seconds, for a checkpoint to be written


class NotSavedError(RuntimeError):
  """So many checkpoints in a row could not be saved that the run must not go on without."""


class Checkpointer(Checkpoints):
  """Saves in the background and keeps the newest `keep` steps.

  Unlike `Checkpoints` it owns the folder: damaged steps are renamed (`steps`), and what a killed
  run left half-written is removed. Where several processes save, each writes its part, the first
  one does everything else, and an error while writing ends all of them.

  Attributes:
    durable: the newest step that is saved, or restored, and known to be on the disk; or None.
  """

  def __init__(
    self,
    folder: pathlib.Path | str,
    *,
    every: int,
    keep: int,
    verify: str = 'full',
    misses: int = 3,
  ) -> None:
    """`misses`: saves that may fail in a row; the last of them raises."""
    super().__init__(folder, verify=verify)
    self._every, self._keep, self._misses = every, keep, misses
    self._missed = 0  # in a row
    self._owes = False  # a save has failed and none has begun since; the same in all processes
    self._writing: int | None = None
    self.durable: int | None = None
    self._writer = self._make_writer()

  def due(self, step: int) -> bool:
    """Whether the state after `step` updates is one to keep, or makes up for one that is not."""
    return step % self._every == 0 or self._owes

  def restore(self, like: TrainState, step: int | None = None) -> TrainState:
    """As `Checkpoints` does; what is saved next goes on from there, later steps are set aside."""
    step = self._step(step)
    state = super().restore(like, step)
    self.durable = step
    return state

  def resume(self, like: TrainState) -> tuple[TrainState, int] | None:
    """The newest state that is intact and finite, and its step; None where there is none yet.

    None with NaN is ever saved, but files can change, and so can their manifest.

    Raises:
      ValueError: see `latest` and `restore`.
    """
    while (step := self.latest()) is not None:
      state = self.restore(like, step)
      bad = _not_finite(state)
      if not bad:
        return state, step
      self._intact.discard(step)
      if hosts.is_first():
        tell(f'{self._folder}/{step} {self._pass_over(step)}: {bad} holds NaN or infinity')
    return None

  def save(
    self, state: TrainState, step: int, memory: Mapping[str, Any] = MappingProxyType({})
  ) -> None:
    """Saves the state after `step` updates, unless it is there; returns while it is written.

    `memory` is what the collectors remember beside it, by name: one more item each.

    Raises:
      FileExistsError: the step is there, of a run that this one does not go on from.
      NotSavedError: as many saves in a row have been missed as may be.
    """
    self.wait()
    if step == self.durable:
      return
    if hosts.is_first():
      self._make_way(step)
    reason = self._refusal(state, memory)
    if not reason:
      args = {name: ocp.args.StandardSave(x) for name, x in items(state, memory).items()}
      self._writing, self._owes = step, False
      self._intact.clear()
      try:
        self._writer.save(self._folder / str(step), args=ocp.args.Composite(**args))
      except Exception as error:  # Orbax and tensorstore raise of every kind
        self._fail(error)
    else:
      self._miss(step, reason)

  def check(self) -> None:
    """Takes note of a save that has been written, or has failed, since; never waits for one.

    Raises:
      NotSavedError: it was one failure too many.
    """
    if self._writing is None:
      return
    try:
      self._writer.check_for_errors()
    except Exception as error:  # see save
      self._fail(error)
    else:
      if (self._folder / str(self._writing)).exists():
        self.wait()

  def wait(self) -> None:
    """Blocks until what is being written is on the disk or has failed.

    Raises:
      NotSavedError: it was one failure too many.
    """
    if self._writing is None:
      return
    try:
      self._writer.wait_until_finished()
      self._look_again(self._writing)
    except Exception as error:  # see save
      self._fail(error)
    else:
      self._confirm(self._writing)

  def finish(
    self, state: TrainState, step: int, memory: Mapping[str, Any] = MappingProxyType({})
  ) -> None:
    """Saves until the step is durable.

    Raises:
      NotSavedError: it cannot be made so.
    """
    self.wait()
    while self.durable != step:
      self.save(state, step, memory)
      self.wait()

  def close(self) -> None:
    """Waits, then releases the threads."""
    self.wait()
    self._writer.close()
    super().close()

  def _make_way(self, step: int) -> None:
    """What is left of saves that were cut off, and steps of a run that was gone back on."""
    self._folder.mkdir(parents=True, exist_ok=True)
    steps.remove_leftovers(self._folder)
    for later in steps.saved(self._folder):
      if self.durable is not None and later > self.durable:
        name = steps.set_aside(self._folder, later, 'undone')
        tell(f'{self._folder}/{later} is renamed to {name}: the run went back to {self.durable}')
    if (self._folder / str(step)).exists():
      raise FileExistsError(
        f'{self._folder}/{step} is there already; restore it, or choose another folder'
      )

  def _refusal(self, state: TrainState, memory: Mapping[str, Any]) -> str:
    """Why the state must not or cannot be saved now, the same in every process; '' if it can."""
    bad = _not_finite(state)
    if bad:
      return f'{bad} holds NaN or infinity'
    short = self._shortage(state, memory) if hosts.is_first() else ''
    return short or 'the disk is full' if hosts.first_says(bool(short)) else ''

  def _shortage(self, state: TrainState, memory: Mapping[str, Any]) -> str:
    """What is short of space, in words; '' if nothing is."""
    if self.durable is None:
      size = sum(leaf.nbytes for leaf in jax.tree.leaves(items(state, memory)))
    else:
      size = manifest.size(self._folder / str(self.durable))
    free, wanted = steps.free_space(self._folder), int(ROOM * size)
    if free >= wanted:
      return ''
    return f'{self._folder} has {free / 1e6:.1f} MB left and {wanted / 1e6:.1f} MB are wanted'

  def _make_writer(self) -> ocp.AsyncCheckpointer:
    return ocp.AsyncCheckpointer(
      ocp.CompositeCheckpointHandler(),
      async_options=ocp_options.AsyncOptions(
        timeout_secs=TIMEOUT, post_finalization_callback=self._sign
      ),
    )

  def _sign(self) -> None:
    """In the background, in the first process, when all have written their parts."""
    manifest.write(self._folder / f'{self._writing}{steps.CUT_OFF}')

  def _look_again(self, step: int) -> None:
    """Raises OSError if it is not what was signed: threads of a save that failed may outlive it."""
    if hosts.is_first():
      manifest.sync(self._folder)
      problems = manifest.verify(self._folder / str(step), 'sizes')
      if problems:
        raise OSError(steps.summary(problems))

  def _confirm(self, step: int) -> None:
    self._writing, self._missed, self.durable = None, 0, step
    if hosts.is_first():
      for old in steps.saved(self._folder)[: -self._keep]:
        steps.remove(self._folder, old)

  def _fail(self, error: Exception) -> None:
    """A save that was begun has failed; alone, a run can go on."""
    step, self._writing = self._writing, None
    if jax.process_count() > 1 or step is None:
      raise error
    with contextlib.suppress(Exception):  # it would tell of this error again and again
      self._writer.close()
    self._writer = self._make_writer()
    steps.remove_leftovers(self._folder)
    if step in steps.saved(self._folder):
      steps.remove(self._folder, step)
    text = ' '.join(str(error).split())
    text = text if len(text) < 200 else f'{text[:60]} ... {text[-120:]}'
    self._miss(step, f'{type(error).__name__}: {text}')

  def _miss(self, step: int, reason: str) -> None:
    self._missed, self._owes = self._missed + 1, True
    last = 'none is' if self.durable is None else f'the newest one is of step {self.durable}'
    line = f'step {step} is not saved ({reason}); {last}'
    if self._missed >= self._misses:
      raise NotSavedError(
        f'{line}, and config.checkpoint.misses={self._misses} saves in a row have failed'
      )
    tell(f'{line}; the next step tries again')

  def _pass_over(self, step: int) -> str:
    name = steps.set_aside(self._folder, step, 'corrupt')
    return f'is damaged and renamed to {name}'


def _not_finite(state: TrainState) -> str:
  """The first leaf with a NaN or an infinity, by its path; '' if there is none.

  What a controller remembers may be infinite, the coefficient that it gives may not.
  """
  looked_at = {
    **{
      name: item for name, item in items(state).items() if name not in ('temperature', 'progress')
    },
    'temperature': {
      'alpha': state.alpha.value,
      'beta': state.beta.value,
      'sampler': state.sampler.value,
    },
  }
  paths = [path for path, _ in jax.tree.leaves_with_path(looked_at)]
  for path, fine in zip(paths, jax.device_get(_finite(looked_at)), strict=True):
    if not fine:
      return jax.tree_util.keystr(path, simple=True, separator='/')
  return ''


@jax.jit
def _finite(tree: Any) -> Array:
  """Whether the leaves are finite, one number each."""
  return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])

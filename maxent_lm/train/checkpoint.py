"""Orbax checkpoints of a `TrainState`, one item per concern, and restoring them bit for bit."""

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers
from orbax.checkpoint import options as ocp_options

from maxent_lm.lm import partition
from maxent_lm.train.state import TrainState
from maxent_lm.types import Params


def _items(state: TrainState, memory: Mapping[str, Any]) -> dict[str, Any]:
  """Composite items; the temperature and the key are readable without touching the weights."""
  items = {
    'params': state.params,
    'optimizer': state.opt_state,
    'temperature': {'alpha': state.alpha, 'beta': state.beta, 'sampler': state.sampler},
    'progress': {'step': state.step, 'key': state.key},
  }
  optional = {'target': state.target, 'critic': state.critic, 'reference': state.reference}
  return {**items, **{name: x for name, x in optional.items() if x is not None}, **memory}


class Checkpointer:
  """Saves in the background, keeps the newest `keep` steps; only committed steps are ever seen."""

  def __init__(self, folder: pathlib.Path | str, *, every: int, keep: int) -> None:
    options = ocp.CheckpointManagerOptions(
      save_decision_policy=checkpoint_managers.FixedIntervalPolicy(every),
      preservation_policy=checkpoint_managers.LatestN(keep),
      enable_async_checkpointing=True,
      async_options=ocp_options.AsyncOptions(timeout_secs=3600),
      atomicity_options=ocp_options.AtomicityOptions(mode=ocp_options.AtomicityMode.COMMIT_FILE),
    )
    self._manager = ocp.CheckpointManager(pathlib.Path(folder).resolve(), options=options)

  def latest(self) -> int | None:
    """The newest committed step, or None."""
    return self._manager.latest_step()

  def due(self, step: int) -> bool:
    """Whether the state after `step` updates is one to keep."""
    return self._manager.should_save(step)

  def save(
    self, state: TrainState, step: int, memory: Mapping[str, Any] = MappingProxyType({})
  ) -> None:
    """Saves the state after `step` updates, unless it is there; returns while it is written.

    `memory` is what the collectors remember beside it, by name: one more item each.
    """
    if step != self._manager.latest_step():
      items = {name: ocp.args.StandardSave(item) for name, item in _items(state, memory).items()}
      self._manager.save(step, args=ocp.args.Composite(**items), force=True)

  def restore(self, like: TrainState, step: int | None = None) -> TrainState:
    """The state of `step` (default: the newest), with the structure and sharding of `like`.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: the stored tree differs from `like` (another model, optimiser or target rule).
    """
    step = self._step(step)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _items(like, {}))
    items = {name: ocp.args.StandardRestore(item) for name, item in abstract.items()}
    try:
      stored = self._manager.restore(step, args=ocp.args.Composite(**items))
    except KeyError as error:
      raise ValueError(f'{self._manager.directory}/{step} lacks an item: {error}') from error
    return TrainState(
      step=stored['progress']['step'],
      params=stored['params'],
      target=stored['target'] if like.target is not None else None,
      opt_state=stored['optimizer'],
      critic=stored['critic'] if like.critic is not None else None,
      reference=stored['reference'] if like.reference is not None else None,
      alpha=stored['temperature']['alpha'],
      beta=stored['temperature']['beta'],
      sampler=stored['temperature']['sampler'],
      key=stored['progress']['key'],
    )

  def restore_memory(self, name: str, like: Any, step: int | None = None) -> Any:
    """What was saved with the state as memory `name`, as host arrays."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.Composite(**{name: ocp.args.StandardRestore(abstract)})
    return jax.tree.map(np.array, self._manager.restore(self._step(step), args=args)[name])

  def restore_params(self, like: Params, step: int | None = None) -> Params:
    """The policy's parameters alone."""
    args = ocp.args.Composite(params=ocp.args.StandardRestore(like))
    return self._manager.restore(self._step(step), args=args)['params']

  def restore_knobs(self, step: int | None = None) -> tuple[float, float]:
    """alpha and beta as they were after `step` updates, whoever steers them."""
    step = self._step(step)
    path = self._manager.directory / str(step) / 'temperature'
    found = ocp.StandardCheckpointHandler().metadata(path)
    here = partition.replicated(jax.make_mesh((jax.device_count(),), ('devices',)))
    like = jax.tree.map(  # on these devices, whichever it was saved from
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), found.tree
    )
    args = ocp.args.Composite(temperature=ocp.args.StandardRestore(like))
    stored = self._manager.restore(step, args=args)['temperature']
    return float(stored['alpha']['value']), float(stored['beta']['value'])

  def wait(self) -> None:
    """Blocks until everything saved so far is on disk; raises what went wrong in the background."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, then releases the threads."""
    self._manager.wait_until_finished()
    self._manager.close()

  def _step(self, step: int | None) -> int:
    step = self.latest() if step is None else step
    if step is None:
      raise FileNotFoundError(f'{self._manager.directory} holds no committed checkpoint')
    return step

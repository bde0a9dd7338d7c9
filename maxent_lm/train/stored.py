"""Reading checkpoints: the newest step that is intact, compared leaf by leaf with what is wanted.

One Orbax item per concern; what is read comes back bit for bit or not at all.
"""

import contextlib
import pathlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tqdm

from maxent_lm import hosts
from maxent_lm.lm import partition
from maxent_lm.train import leaks, manifest, steps
from maxent_lm.train.state import TrainState
from maxent_lm.types import Params

NONE = -1  # no step, where processes tell each other numbers
OPTIONAL = ('target', 'critic', 'reference')


def items(state: TrainState, memory: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
  """Composite items; the temperature and the key are readable without touching the weights."""
  always = {
    'params': state.params,
    'optimizer': state.opt_state,
    'temperature': {'alpha': state.alpha, 'beta': state.beta, 'sampler': state.sampler},
    'progress': {'step': state.step, 'key': state.key},
  }
  optional = {'target': state.target, 'critic': state.critic, 'reference': state.reference}
  return {**always, **{name: x for name, x in optional.items() if x is not None}, **memory}


def tell(line: str) -> None:
  """On stderr, above a progress bar if there is one, by the first process."""
  if hosts.is_first():
    with contextlib.suppress(OSError):  # a log on a full disk is no reason to stop
      tqdm.tqdm.write(line, file=sys.stderr)


class Checkpoints:
  """Reads a folder of checkpoints and leaves it as it is; `verify`: see `manifest.verify`.

  Steps that are damaged are passed over, which is told on stderr. Where several processes read,
  the first one finds the step.
  """

  def __init__(self, folder: pathlib.Path | str, *, verify: str = 'full') -> None:
    self._folder = pathlib.Path(folder).resolve()
    self._verify = verify
    self._intact: set[int] = set()  # seen to be, by this object
    self._told: set[int] = set()
    leaks.mend()
    self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

  def latest(self) -> int | None:
    """The newest intact step, or None where nothing has ever been saved.

    Raises:
      ValueError: there are checkpoints, and none is intact.
    """
    found = hosts.first_counts(self._search() if hosts.is_first() else NONE)
    if found == NONE:
      return None
    self._intact.add(found)
    return found

  def restore(self, like: TrainState, step: int | None = None) -> TrainState:
    """The state of `step` (default: the newest), with the structure and sharding of `like`.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: this one is missing or damaged, or a stored leaf differs from that of `like` in
        name, shape or dtype (another model, optimiser or target rule).
    """
    step = self._step(step)
    wanted = items(like)
    there = {name for name in OPTIONAL if (self._folder / str(step) / name).is_dir()}
    for name in sorted(there - wanted.keys()):
      raise ValueError(f'{self._folder}/{step} holds {name}, which this run does not have')
    stored = self._read(step, wanted)
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
    return jax.tree.map(np.array, self._read(self._step(step), {name: like})[name])

  def restore_params(self, like: Params, step: int | None = None) -> Params:
    """The policy's parameters alone."""
    return self._read(self._step(step), {'params': like})['params']

  def restore_knobs(self, step: int | None = None) -> tuple[float, float]:
    """alpha and beta as they were after `step` updates, whoever steers them."""
    step = self._step(step)
    here = partition.replicated(jax.make_mesh((jax.device_count(),), ('devices',)))
    like = jax.tree.map(  # on these devices, whichever it was saved from
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
      self._metadata(step, 'temperature'),
    )
    stored = self._read(step, {'temperature': like})['temperature']
    return float(stored['alpha']['value']), float(stored['beta']['value'])

  def close(self) -> None:
    """Releases the threads."""
    self._reader.close()

  def _search(self) -> int:
    there = steps.saved(self._folder)
    if there and there[-1] in self._intact:
      return there[-1]
    found, wrong = steps.newest_intact(self._folder, self._verify)
    if found is None:
      return NONE
    for step, problems in wrong.items():
      if step not in self._told:
        self._told.add(step)
        done = self._pass_over(step)
        tell(f'{self._folder}/{step} {done}: {steps.summary(problems)}; step {found} is used')
    return found

  def _pass_over(self, step: int) -> str:
    """What is done with a damaged step, in words."""
    del step
    return 'is passed over'

  def _step(self, step: int | None) -> int:
    """The newest intact step, or this one if it is."""
    if step is None:
      step = self.latest()
      if step is None:
        raise FileNotFoundError(f'{self._folder} holds no checkpoint')
      return step
    if step not in self._intact:
      problem = self._problem(step) if hosts.is_first() else ''
      if hosts.first_says(bool(problem)):
        raise ValueError(f'{self._folder}/{step} cannot be restored: {problem}')
      self._intact.add(step)
    return step

  def _problem(self, step: int) -> str:
    if step not in steps.saved(self._folder):
      return (
        f'it is not there, only {", ".join(map(str, steps.saved(self._folder))) or "nothing"} is'
      )
    problems = manifest.verify(self._folder / str(step), self._verify)
    return steps.summary(problems) if problems else ''

  def _metadata(self, step: int, item: str) -> Any:
    """Names, shapes and dtypes of what an item holds."""
    path = self._folder / str(step) / item
    if not path.is_dir():
      raise ValueError(f'{self._folder}/{step} lacks {item}, which this run has')
    with ocp.StandardCheckpointer() as reader:
      return reader.metadata(path).item_metadata.tree

  def _read(self, step: int, wanted: dict[str, Any]) -> Any:
    """Items as they are wanted, after a look at what is there: Orbax would cast in silence."""
    for name, like in wanted.items():
      _compare(f'{self._folder}/{step}: {name}', self._metadata(step, name), like)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
    args = {name: ocp.args.StandardRestore(item) for name, item in abstract.items()}
    return self._reader.restore(self._folder / str(step), args=ocp.args.Composite(**args))


def _compare(where: str, stored: Any, like: Any) -> None:
  """Raises ValueError, naming the leaf, if the trees differ in names, shapes or dtypes."""
  theirs, ours = _leaves(stored), _leaves(jax.eval_shape(_plain, like))
  for name in sorted(ours.keys() - theirs.keys()):
    raise ValueError(f'{where}/{name} is not in the checkpoint but in this run')
  for name in sorted(theirs.keys() - ours.keys()):
    raise ValueError(f'{where}/{name} is in the checkpoint but not in this run')
  for name, (shape, dtype) in ours.items():
    if theirs[name] != (shape, dtype):
      there = '{1}{0}'.format(*theirs[name])
      raise ValueError(
        f'{where}/{name} is {there} in the checkpoint and {dtype}{shape} in this run'
      )


def _plain(tree: Any) -> Any:
  """Typed keys as the numbers that are stored."""
  return jax.tree.map(
    lambda leaf: (
      jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    ),
    tree,
  )


def _leaves(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
  """Shape and dtype by path; a tuple, or one with names, is stored as what it contains."""
  flat = jax.tree.leaves_with_path(tree)
  named = {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in flat}
  return {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in named.items()}

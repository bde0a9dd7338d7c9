"""Rules that steer a coefficient by what is observed: steps, bands, PI, switches, plateaus.

c is the value, o = metrics[observe] what the last step showed. Every rule has a box that c does not
leave. Nobody knows the batch of a step before it is taken: what is seen at one step is in force
from the next one on, also where an original looks at a batch twice.
"""

import math

import jax.numpy as jnp

from maxent_lm.temperature import frame
from maxent_lm.temperature.wrappers import gated
from maxent_lm.types import Array, Controller, ControllerState, Metrics

Moved = tuple[Array, tuple[Array, ...]]

GATES = ('none', 'below', 'at_or_below')


def step(
  initial: float,
  *,
  observe: str,
  target: float,
  delta: float,
  dead_band: float,
  gate: str,
  direction: str,
  low: float,
  high: float,
) -> Controller:
  """c += delta where o lies below the target, else c -= delta; c in [low, high].

  Nearer than `dead_band` to the target c stays. With direction 'hold_down' below means above. A
  gate takes c out of force, not out of memory, at every o that is not below: the value is then 0
  and the remembered c moves on. `gate`, with what counts as below:

    'none'         o < target; always in force
    'below'        o < target  [He et al. 2025, Skywork-OR1; o = entropy_mc, 0.2, delta 1e-4]
    'at_or_below'  o <= target [TRL's adaptive entropy; o = entropy, 0.2, delta .005]

  Raises:
    ValueError: an unknown gate or direction, a box that does not hold, or dead_band < 0.
  """
  if dead_band < 0:
    raise ValueError(f'step: dead_band must not be negative, got {dead_band}')
  if gate not in GATES:
    raise ValueError(f'step: gate={gate!r} is unknown; choose one of {", ".join(GATES)}')
  frame.check_box('step', low, initial, high)
  up = frame.sign('step', direction)

  def is_below(seen: Array) -> Array:
    gap = up * (target - seen)
    return gap >= 0 if gate == 'at_or_below' else gap > 0

  def move(state: ControllerState, seen: Array) -> Moved:
    moved = jnp.where(is_below(seen), delta, -delta)
    return state.value + jnp.where(jnp.abs(target - seen) < dead_band, 0, moved), ()

  def in_force(metrics: Metrics) -> Array:
    seen = frame.read('step', metrics, observe)
    return jnp.where(jnp.isfinite(seen), is_below(seen), jnp.nan)

  remembered = frame.feedback('step', observe, move, initial=initial, bounds=(low, high))
  return remembered if gate == 'none' else gated(remembered, in_force)


def band(
  initial: float,
  *,
  observe: str,
  lower: float,
  upper: float,
  learning_rate: float,
  warmup: int,
  low: float,
  high: float,
) -> Controller:
  """c -= learning_rate (min(0, o - lower) + max(0, o - upper)), c in [low, high] [Shen 2025, AEnt].

  No move while o is in [lower, upper], nor in the first `warmup` updates. (The original's
  warmup_steps is one less: it begins after that step.)

  Raises:
    ValueError: lower > upper, or a box that does not hold.
  """
  frame.check_box('band', low, initial, high)
  if lower > upper:
    raise ValueError(f'band: needs lower <= upper, got lower={lower}, upper={upper}; swap them')

  def move(state: ControllerState, seen: Array) -> Moved:
    outside = jnp.minimum(0, seen - lower) + jnp.maximum(0, seen - upper)
    return state.value - learning_rate * jnp.where(state.count >= warmup, outside, 0), ()

  return frame.feedback('band', observe, move, initial=initial, bounds=(low, high))


def pi(
  initial: float,
  *,
  observe: str,
  target: float,
  proportional: float,
  integral: float,
  direction: str,
  low: float,
  high: float,
) -> Controller:
  """c = clip(initial + proportional e + I, low, high), I += integral e, e = s (target - o).

  s is +1 with direction 'hold_up', -1 with 'hold_down'. Anti-windup: the integral stands still
  where c is at a bound and e pushes further out, so that it need not be unwound later. The law of
  EntroPIC [Yang et al. 2025], which gives it the weights of positive and negative samples to move.

  Raises:
    ValueError: an unknown direction, or a box that does not hold.
  """
  frame.check_box('pi', low, initial, high)
  up = frame.sign('pi', direction)

  def move(state: ControllerState, seen: Array) -> Moved:
    error, (kept,) = up * (target - seen), state.memory
    total = kept + integral * error
    wanted = initial + proportional * error + total
    outwards = ((wanted > high) & (error > 0)) | ((wanted < low) & (error < 0))
    return wanted, (jnp.where(outwards, kept, total),)

  return frame.feedback('pi', observe, move, initial=initial, bounds=(low, high), memory=(0.0,))


def adaptive_kl(
  initial: float,
  *,
  observe: str,
  target: float,
  clip: float,
  samples: float,
  horizon: float,
  low: float,
  high: float,
) -> Controller:
  """c *= 1 + clip(o / target - 1, -clip, clip) samples / horizon, c in [low, high].

  The KL controller of Ziegler et al. [2019]: o = kl, clip 0.2, `samples` those of one step and
  `horizon` how many it takes to change c by a factor of about e^clip.

  Raises:
    ValueError: a target or horizon that is not positive, or a box that does not hold.
  """
  frame.check_open_box('adaptive_kl', low, initial, high)
  if target <= 0 or horizon <= 0:
    raise ValueError(
      f'adaptive_kl: needs target and horizon above 0, got target={target}, horizon={horizon}'
    )

  def move(state: ControllerState, seen: Array) -> Moved:
    error = jnp.clip(seen / target - 1, -clip, clip)
    return state.value * (1 + error * samples / horizon), ()

  return frame.feedback('adaptive_kl', observe, move, initial=initial, bounds=(low, high))


def raise_when_stuck(
  initial: float,
  *,
  observe: str,
  decay: float,
  margin: float,
  patience: int,
  factor: float,
  relax: float,
  high: float,
) -> Controller:
  """Multiplies c by `factor` when o stops rising, and lets it fall back when o rises again.

  m = decay m + (1 - decay) o is a moving average (the first o begins it). It improves if it lies
  above the best so far by more than `margin`; then c = initial + relax (c - initial). After
  `patience` updates in a row without, c = min(factor c, high), and the wait begins again.

  Raises:
    ValueError: initial outside (0, high), factor < 1, relax or decay outside [0, 1], patience < 1.
  """
  if not (0 < initial < high and factor >= 1 and patience >= 1):
    raise ValueError(
      'raise_when_stuck: needs 0 < initial < high, factor >= 1 and patience >= 1, '
      f'got initial={initial}, high={high}, factor={factor}, patience={patience}'
    )
  if not (0 <= decay <= 1 and 0 <= relax <= 1):
    raise ValueError(
      f'raise_when_stuck: needs decay and relax in [0, 1], got decay={decay}, relax={relax}'
    )

  def move(state: ControllerState, seen: Array) -> Moved:
    average, best, waited = state.memory
    average = jnp.where(jnp.isnan(average), seen, decay * average + (1 - decay) * seen)
    improved = average > best + margin
    waited = jnp.where(improved, 0.0, waited + 1)
    stuck = waited >= patience
    wanted = jnp.where(improved, initial + relax * (state.value - initial), state.value)
    wanted = jnp.where(stuck, factor * wanted, wanted)
    best, waited = jnp.where(improved, average, best), jnp.where(stuck, 0.0, waited)
    return wanted, (average, best, waited)

  return frame.feedback(
    'raise_when_stuck',
    observe,
    move,
    initial=initial,
    bounds=(initial, high),
    memory=(math.nan, -math.inf, 0.0),
  )


def hysteresis(
  initial: float, *, observe: str, lower: float, upper: float, on: float, off: float
) -> Controller:
  """c = on once o > upper, c = off once o < lower, and as it was between.

  On above, off below: what QwenLong-L1.5 [Shen et al. 2025] does with the clipping of negative
  gradients. `initial` holds until a threshold is crossed.

  Raises:
    ValueError: lower > upper, or a value below 0.
  """
  values = (initial, on, off)
  if lower > upper or min(values) < 0:
    raise ValueError(
      'hysteresis: needs lower <= upper and values of at least 0, got '
      f'lower={lower}, upper={upper}, initial={initial}, on={on}, off={off}'
    )

  def move(state: ControllerState, seen: Array) -> Moved:
    return jnp.where(seen > upper, on, jnp.where(seen < lower, off, state.value)), ()

  bounds = (min(values), max(values))
  return frame.feedback('hysteresis', observe, move, initial=initial, bounds=bounds)


def bang_bang(
  initial: float, *, observe: str, target: float, cold: float, hot: float
) -> Controller:
  """c = hot where o <= target, else cold: the sampler of AEPO [Wang et al. 2025].

  There o = entropy, target 0.5, hot 1.2; `initial` is the value before the first observation.

  Raises:
    ValueError: a value below 0, or cold > hot.
  """
  if not 0 <= cold <= hot or initial < 0:
    raise ValueError(
      'bang_bang: needs 0 <= cold <= hot and 0 <= initial, got '
      f'cold={cold}, hot={hot}, initial={initial}'
    )

  def move(state: ControllerState, seen: Array) -> Moved:
    del state
    return jnp.where(seen <= target, hot, cold), ()

  bounds = (min(initial, cold), max(initial, hot))
  return frame.feedback('bang_bang', observe, move, initial=initial, bounds=bounds)


def log_ratio(
  initial: float, *, observe: str, target: float, vocabulary: int, low: float, high: float
) -> Controller:
  """T *= 1 + T ln(target / H) / (ln V + ln ln V), T in [low, high] [Liao et al. 2025, E3-RL4LLMs].

  A Newton step for the temperature at which logits over V = `vocabulary` tokens have the entropy
  `target`, if H = metrics[observe] is that at T. The original has no lower bound.

  Raises:
    ValueError: target not above 0, vocabulary < 3, or bounds that do not hold.
  """
  _check_log_ratio('log_ratio', initial, vocabulary, low, high)
  if target <= 0:
    raise ValueError(f'log_ratio: needs a target above 0, got {target}')

  def move(state: ControllerState, seen: Array) -> Moved:
    return _towards(state.value, jnp.float32(target), seen, vocabulary), ()

  return frame.feedback('log_ratio', observe, move, initial=initial, bounds=(low, high))


def log_ratio_to_start(
  initial: float,
  *,
  observe: str,
  measured: int,
  begin: int,
  length: int,
  final: float,
  vocabulary: int,
  low: float,
  high: float,
) -> Controller:
  """`log_ratio` towards where the run started, as E3-RL4LLMs has it.

  The target is the mean of the first `measured` observations, while T stays; from update `begin` on
  it is multiplied by a factor that goes from 1 to `final` over `length` updates, as a half cosine.

  Raises:
    ValueError: measured < 1, length < 1, vocabulary < 3, or bounds that do not hold.
  """
  _check_log_ratio('log_ratio_to_start', initial, vocabulary, low, high)
  if measured < 1 or length < 1:
    raise ValueError(
      'log_ratio_to_start: needs measured and length of at least 1, '
      f'got measured={measured}, length={length}'
    )

  def move(state: ControllerState, seen: Array) -> Moved:
    mean, number = state.memory
    learns = number < measured
    number = number + 1
    mean = jnp.where(learns, mean + (seen - mean) / number, mean)
    done = jnp.clip((state.count - begin) / length, 0, 1)
    factor = final + (1 - final) * (1 + jnp.cos(jnp.pi * done)) / 2
    moved = _towards(state.value, factor * mean, seen, vocabulary)
    return jnp.where(learns, state.value, moved), (mean, number)

  return frame.feedback(
    'log_ratio_to_start',
    observe,
    move,
    initial=initial,
    bounds=(low, high),
    memory=(0.0, 0.0),
  )


def _towards(value: Array, target: Array, seen: Array, vocabulary: int) -> Array:
  least = jnp.finfo(jnp.float32).tiny  # an entropy of 0 is held to be a little more
  ratio = jnp.log(jnp.maximum(target, least)) - jnp.log(jnp.maximum(seen, least))
  size = math.log(vocabulary)
  return value * (1 + value * ratio / (size + math.log(size)))


def _check_log_ratio(name: str, initial: float, vocabulary: int, low: float, high: float) -> None:
  frame.check_open_box(name, low, initial, high)
  if vocabulary < 3:
    raise ValueError(f'{name}: needs a vocabulary of at least 3 tokens, got {vocabulary}')

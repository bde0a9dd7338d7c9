"""Sections of configs/base.py that several keys share: files, importance, controllers, guards."""

import ml_collections
from ml_collections import config_dict


def files() -> ml_collections.ConfigDict:
  """A task over the rows of local files."""
  return ml_collections.ConfigDict(
    {
      'data_dir': '',  # the folder with <split>.jsonl or <split>.jsonl.gz
      'cache_dir': '',  # where prepared data goes; '': $MAXENT_LM_CACHE or ~/.cache
      'max_problems': config_dict.placeholder(int),  # keep the first ones; unset keeps all
    }
  )


def importance() -> ml_collections.ConfigDict:
  """A number for every token, what it selects, and what the selection acts on."""
  return ml_collections.ConfigDict(
    {
      # entropy | measure | surprisal | covariance | entropy_change | advantage | excess_loss |
      # saliency | lexicon
      'estimate': 'entropy',
      'select': 'top_share',  # one of the sections from here to `inverse`
      'as_is': {},
      'top_share': {'share': 0.2},
      'quantile': {'q': 0.8},
      'above_quantile': {'q': 0.8},
      'band': {'low': 1.0, 'high': 5.0},
      'random_in_band': {'low': 1.0, 'high': 5.0, 'share': 2e-4, 'seed': 0},
      'linear': {},
      'exponential': {'floor': 0.8, 'least': 0.02},
      'decay': {'rate': 1.0, 'floor': 0.0},
      'z_score': {'rate': 1.0},
      'inverse': {},
      'scope': 'batch',  # row | group | batch: with whom a token competes
      'denominator': 'all',  # all | selected: what the loss is divided by
      # (factor where the weight is 0, where it is 1); (1, 1) leaves a site alone.
      'sites': {
        'loss': (0.0, 1.0),
        'advantage': (1.0, 1.0),
        'alpha': (1.0, 1.0),
        'beta': (1.0, 1.0),
        'kappa': (1.0, 1.0),
        'clip': (1.0, 1.0),
      },
    }
  )


def control(low: float = 1e-3, high: float = 10.0) -> ml_collections.ConfigDict:
  """What each kind of controller needs beside its initial value.

  `observe` names a number of the step's metrics, `direction` says what a larger coefficient does
  to it (hold_up | hold_down), and the value never leaves `low` to `high`.
  """
  bounds = {'low': low, 'high': high}
  entropy = {'observe': 'entropy', 'target': 0.5}  # nats per token
  up = {**entropy, 'direction': 'hold_up'}
  return ml_collections.ConfigDict(
    {
      'average': 0.0,  # decay of a moving average of what is observed; 0 is the newest alone
      'schedule': {
        'name': 'cosine_decay_schedule',
        'arguments': {'decay_steps': 100, 'alpha': 0.1},
      },  # any schedule of optax
      'stages': {'boundaries': (), 'values': ()},  # values[i] from step boundaries[i] on
      'target_entropy': {'target': 0.5, 'learning_rate': 0.05, **bounds},  # nats per token
      'target_kl': {'target': 1.0, 'learning_rate': 0.05, **bounds},  # nats per response
      'target_kl_per_prompt': {'target': 1.0, 'learning_rate': 0.05, **bounds},  # at most log 1/p
      'dual': {**up, 'learning_rate': 0.05, **bounds},
      'raw_dual': {**up, 'learning_rate': 1e-3, **bounds},
      # gate, where the coefficient is in force: none (always) | below | at_or_below (the target)
      'step': {**up, 'delta': 1e-4, 'dead_band': 0.0, 'gate': 'none', **bounds},
      'band': {
        'observe': 'entropy',
        'lower': 0.1,
        'upper': 0.5,
        'learning_rate': 1e-3,
        'warmup': 0,
        **bounds,
      },
      'pi': {**up, 'proportional': 0.01, 'integral': 1e-3, **bounds},
      'adaptive_kl': {
        'observe': 'kl',
        'target': 1.0,
        'clip': 0.2,
        'samples': 256,  # of one step
        'horizon': 10_000,  # in samples
        **bounds,
      },
      'raise_when_stuck': {
        'observe': 'reward',
        'decay': 0.9,
        'margin': 1e-3,
        'patience': 20,
        'factor': 1.5,
        'relax': 0.9,  # what is left of the raise after an improvement
        'high': high,
      },
      'hysteresis': {'observe': 'entropy', 'lower': 0.1, 'upper': 0.5, 'on': 1.0, 'off': 1.0},
      'bang_bang': {**entropy, 'cold': 1.0, 'hot': 1.2},
      'log_ratio': {**entropy, 'vocabulary': 32_000, **bounds},
      'log_ratio_to_start': {
        'observe': 'entropy',
        'measured': 5,  # updates whose mean entropy is the target
        'begin': 60,  # the target falls to `final` of it from here on,
        'length': 40,  # over so many updates
        'final': 0.9,
        'vocabulary': 32_000,
        **bounds,
      },
    }
  )


def guards() -> ml_collections.ConfigDict:
  """Alarms on the metrics, and what to do when one rings (train/guards.py).

  An alarm rings while `observe` has been below `low`, above `high` or above `factor` times its
  first value for `steps` steps in a row; unset limits are not looked at.
  """

  def alarm(observe: str, steps: int, **limits: float) -> dict[str, object]:
    unset = {name: config_dict.placeholder(float) for name in ('low', 'high', 'factor')}
    return {'observe': observe, **unset, **limits, 'steps': steps, 'response': 'log'}

  return ml_collections.ConfigDict(
    {
      'alarms': ('collapse', 'explosion'),  # those in force
      # response: log | raise_alpha | stop (after a checkpoint)
      'collapse': alarm('entropy', 5, low=0.02),
      'explosion': alarm('entropy', 5, factor=3.0),
      'confidence': alarm('corr_reward_confidence', 10, low=-0.3),  # sure where it is wrong
      'mismatch': alarm('off_policy', 3, high=0.05),  # sampler and trainer disagree
      'length': alarm('length', 5, factor=3.0),
      # alpha times `factor`, up to `high`, at most once in `every` steps
      'raise_alpha': {'factor': 1.5, 'high': 1.0, 'every': 10},
    }
  )

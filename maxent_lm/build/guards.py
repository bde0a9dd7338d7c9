"""From a config to the guards of a run, and to an alpha that they can raise."""

from maxent_lm.build.names import Config, choose
from maxent_lm.temperature import liftable
from maxent_lm.train.guards import Alarm, Guards, Lift
from maxent_lm.types import Controller


def make_guards(config: Config) -> Guards:
  """The alarms that `config.guards.alarms` names."""
  alarms = _alarms(config)
  for alarm in alarms:
    if alarm.observe == 'off_policy':
      _check_on_policy(config, alarm.name)
  raises = any(alarm.response == 'raise_alpha' for alarm in alarms)
  return Guards(alarms, Lift(**config.guards.raise_alpha) if raises else None)


def make_liftable(config: Config, alpha: Controller) -> Controller:
  """The controller of alpha, with a factor that guards may raise.

  Also where no guard does: guards may change when a run is resumed, its state may not.
  """
  raises = any(alarm.response == 'raise_alpha' for alarm in _alarms(config))
  if raises and config.temperature.alpha <= 0:
    raise ValueError(
      'config.guards: raise_alpha multiplies alpha, which starts at 0; set '
      'config.temperature.alpha above 0'
    )
  return liftable(alpha, high=config.guards.raise_alpha.high)


def _alarms(config: Config) -> tuple[Alarm, ...]:
  known = {
    name: section
    for name, section in config.guards.items()
    if isinstance(section, Config) and name != 'raise_alpha'
  }
  return tuple(
    Alarm(name, **choose('config.guards.alarms', name, known)) for name in config.guards.alarms
  )


def _check_on_policy(config: Config, name: str) -> None:
  """A sampler that is meant to differ from the policy says nothing of one that is not."""
  plain = dict(config.sampling) == {'temperature': 1.0, 'top_k': 0, 'top_p': 1.0}
  steered = (config.temperature.sampler, config.temperature.sampler_control) != (1.0, 'fixed')
  late = config.replay.kind != 'none' or config.batch.ahead
  if not plain or steered or late:
    raise ValueError(
      f'config.guards.alarms: {name} compares fresh samples with the policy itself, which needs '
      'config.sampling and config.temperature.sampler as they are by default, no replay and '
      'config.batch.ahead=0; leave it out'
    )

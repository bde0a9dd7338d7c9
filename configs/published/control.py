"""Coefficients that follow an observation, and tokens that count more than others."""

from configs.published.method import Method, weighted

CLIP_HIGHER = {'grpo.clip_high': 0.28}
IMPORTANT = {'transforms': ('group_normalised', 'importance')}
BOX = {'low': 1e-5, 'high': 0.1}


def _alpha(kind: str, start: float, **options: object) -> dict[str, object]:
  """alpha by the controller `kind`."""
  keys = {f'alpha.{kind}.{name}': value for name, value in options.items()}
  return {'temperature.alpha': start, 'temperature.alpha_control': kind, **keys}


METHODS: dict[str, Method] = {
  'entropy_bonus': Method('Mnih et al. 2016', {'temperature.alpha': 0.003}),
  'cosine_alpha': Method(
    'Loshchilov & Hutter 2017, the schedule',
    _alpha('schedule', 0.01),
  ),
  'sac_alpha': Method(
    'Haarnoja et al. 2018, the temperature',
    _alpha('target_entropy', 0.003, target=0.35, low=1e-5, high=0.1),
  ),
  'semantic_alpha': Method(
    'this project: alpha holds up the semantic entropy',
    _alpha('dual', 0.003, observe='semantic_entropy', target=0.8, **BOX),
  ),
  'skywork': Method(
    'He et al. 2025, Skywork-OR1',
    _alpha('step', 1e-4, observe='entropy_mc', target=0.35, gate='below', delta=1e-4)
    | {'alpha.step.low': 0.0, 'alpha.step.high': 0.05},
  ),
  'trl_adaptive': Method(
    'TRL, entropy_coef with entropy_target',
    _alpha('step', 1e-4, target=0.35, gate='at_or_below', delta=5e-3)
    | {'alpha.step.low': 0.0, 'alpha.step.high': 0.05},
  ),
  'aent': Method(
    'Shen 2025, AEnt',
    _alpha('band', 0.003, observe='measure', lower=0.2, upper=0.5, **BOX)
    | {'measure': 'clamped', 'bonus': 'measure'},
  ),
  'siren': Method(
    'Jiang et al. 2025, SIREN',
    {
      **_alpha('pi', 0.0, observe='measure', target=0.35, proportional=0.01, integral=0.0),
      **{'alpha.pi.low': 0.0, 'measure': 'inner_nucleus', 'bonus': 'measure'},
      # A fifth of the tokens is chosen: 5 makes a mean over them of a mean over all.
      **weighted('above_quantile', (0.0, 5.0), at='alpha', estimate='measure'),
      **{'importance.above_quantile.q': 0.8, 'importance.scope': 'row'},
      **{'transforms': ('group_centred', 'importance'), 'reduction': 'constant_length'},
      **{'grpo.clip_low': 0.28, 'grpo.clip_high': 0.28},
    },
    'the squared distance to the anchor as a proportional controller of alpha, >= 0, which looks '
    'at the mean over all tokens',
  ),
  'raise_when_stuck': Method(
    'this project: alpha rises while the reward stands still',
    _alpha('raise_when_stuck', 0.003, high=0.05),
  ),
  'adaptive_kl': Method(
    'Ziegler et al. 2019',
    {'temperature.beta': 0.04, 'temperature.beta_control': 'adaptive_kl'},
  ),
  'e3': Method(
    'Liao et al. 2025, E3-RL4LLMs',
    {'temperature.sampler_control': 'log_ratio_to_start'}
    | {'sampler.log_ratio_to_start.vocabulary': 23},
    'bounded temperature; without giving hard problems more samples',
  ),
  'aepo': Method(
    'AEPO, arbitrary entropy policy optimisation',
    {
      **{'temperature.sampler_control': 'bang_bang', 'sampler.bang_bang.target': 0.35},
      **{'sampler.bang_bang.hot': 1.2, 'sampler.bang_bang.cold': 0.8},
    },
    'only its switch of the temperature, for all samples; without the second batch, of which '
    'right responses are imitated, and with ratios to the heated policy',
  ),
  'top_entropy_tokens': Method(
    'Wang et al. 2025, Beyond the 80/20 rule',
    {
      **{**IMPORTANT, **CLIP_HIGHER, 'importance.denominator': 'selected'},
      **{**weighted('top_share', (0.0, 1.0)), 'importance.top_share.share': 0.2},
    },
  ),
  'top_entropy_trl': Method(
    'TRL, top_entropy_quantile',
    {
      **{**IMPORTANT, **CLIP_HIGHER, 'importance.denominator': 'all'},
      **{**weighted('quantile', (0.0, 1.0)), 'importance.quantile.q': 0.8},
    },
  ),
  'clip_cov': Method(
    'Cui et al. 2025',
    {
      **{**IMPORTANT, 'grpo.clip_low': 1.0, 'grpo.clip_high': 1.0},
      **weighted('random_in_band', (1.0, 0.0), estimate='covariance'),
      **{'importance.random_in_band.low': 1.0, 'importance.random_in_band.high': 5.0},
    },
  ),
  'archer': Method(
    'Wang et al. 2025, Archer',
    {
      **{**IMPORTANT, 'temperature.beta': 0.001, 'importance.scope': 'row'},
      **{**weighted('above_quantile', (1.0, 2.5), at='clip'), 'importance.above_quantile.q': 0.8},
      'importance.sites.beta': (1.0, 0.0),
    },
    'the KL of the low tokens is divided by the number of all tokens',
  ),
  'steer': Method(
    'Hao et al. 2025, STEER',
    {
      **{**IMPORTANT, **weighted('linear', (1.2, 0.8), estimate='entropy_change')},
      **{**CLIP_HIGHER, 'grpo.clip_dual': 10.0},
    },
  ),
  'connectives': Method(
    'this project: a warmer policy where an argument turns',
    {**IMPORTANT, **weighted('as_is', (1.0, 4.0), at='alpha', estimate='lexicon')}
    | {'temperature.alpha': 0.003}
    | {'lexicon.languages': (), 'lexicon.words': ('+', '-', '*', '/')},
    'operators are what Countdown has for connectives',
  ),
  'attention_tokens': Method(
    'this project: attention received as importance',
    {**IMPORTANT, **weighted('linear', (0.5, 1.5), estimate='saliency'), 'saliency': 'attention'},
  ),
  'gradient_tokens': Method(
    'this project: gradient saliency as importance',
    {**IMPORTANT, **weighted('linear', (0.5, 1.5), estimate='saliency'), 'saliency': 'gradient'},
  ),
}

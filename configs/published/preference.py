"""Preferences between responses to one prompt: one link each over the margins of the residual.

Pairs are the policy's own samples of different return, or those of `config.offline.path`
(experiments/preference.py). beta = 0.1 where there is a reference.
"""

from configs.published.method import Method

BETA = {'temperature.beta': 0.1, 'transforms': (), 'reduction': 'sequence_sum'}
FREE = {
  **{'temperature.beta': 0.0, 'temperature.alpha': 2.0, 'reference': 'none'},
  **{'transforms': (), 'reduction': 'sequence_sum'},
}


def _dpo(link: str = 'sigmoid', **options: object) -> dict[str, object]:
  """DPO with another link, or other options."""
  keys = {f'dpo.{name}': value for name, value in options.items()}
  return {'algorithm': 'dpo', **BETA, 'dpo.link': link, **keys}


METHODS: dict[str, Method] = {
  'dpo': Method('Rafailov et al. 2023', _dpo()),
  'cdpo': Method('Mitchell 2023', _dpo(smoothing=0.1)),
  'robust_dpo': Method('Chowdhury et al. 2024', _dpo('robust', smoothing=0.1)),
  'ipo': Method('Azar et al. 2024, summed', {**_dpo('ipo'), 'loss_units': 'nats'}),
  'ipo_mean': Method(
    'Azar et al. 2024, as TRL and HALOs have it: means over tokens',
    {**_dpo('ipo', length='mean'), 'loss_units': 'nats'},
  ),
  'slic': Method('Zhao et al. 2023, SLiC-HF', _dpo('hinge')),
  'exo': Method('Ji et al. 2024', _dpo('exo', smoothing=1e-3)),
  'nca': Method('Chen et al. 2024', _dpo('nca')),
  'sppo': Method('Wu et al. 2024', {**_dpo('sppo'), 'loss_units': 'nats'}),
  'discopop': Method('Lu et al. 2024', _dpo('discopop')),
  'apo_zero': Method("D'Oosterlinck et al. 2024", _dpo('apo_zero')),
  'apo_down': Method("D'Oosterlinck et al. 2024", _dpo('apo_down')),
  'f_dpo_js': Method('Wang et al. 2024, f-DPO', _dpo(score='js')),
  'f_dpo_forward': Method('Wang et al. 2024, f-DPO', _dpo(score='forward_kl')),
  'f_dpo_alpha': Method('Wang et al. 2024, f-DPO', _dpo(score='alpha')),
  'hdpo': Method(
    'Omura et al. 2024, H-DPO',
    {**_dpo(), 'temperature.alpha': 0.02},
    'flatter than DPO; alpha < 0 is sharper',
  ),
  'aot': Method('Melnyk et al. 2024', {'algorithm': 'aot', **BETA}),
  'kto': Method(
    'Ethayarajh et al. 2024',
    {'algorithm': 'kto', **BETA},
    "the KL is that of the batch's own rows",
  ),
  'bco': Method(
    'Jung et al. 2024',
    {'algorithm': 'kto', **BETA, 'kto.link': 'logistic', 'kto.baseline': 'mean'},
    'the shift is the mean of the batch, not a running one',
  ),
  'apo_zero_unpaired': Method(
    "D'Oosterlinck et al. 2024", {'algorithm': 'kto', **BETA, 'kto.baseline': 'zero'}
  ),
  'simpo': Method(
    'Meng et al. 2024', {**_dpo(length='mean', offset=0.5), **FREE, 'algorithm': 'dpo'}
  ),
  'alpha_po': Method(
    'Gupta et al. 2025, AlphaPO',
    {
      **{**_dpo(length='mean', offset=0.5, score='alpha', strength=0.25), **FREE},
      'algorithm': 'dpo',
    },
    'strength and margin are not tuned',
  ),
  'cpo': Method('Xu et al. 2024', {**_dpo(cloning=1.0), **FREE, 'temperature.alpha': 0.1}),
  'orpo': Method('Hong et al. 2024', {'algorithm': 'orpo', **FREE, 'temperature.alpha': 0.0}),
}

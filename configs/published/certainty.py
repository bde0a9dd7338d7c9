"""Rewards and advantages from entropy: certainty, agreement, meaning, learning without labels."""

from configs.published.method import Method

METHODS: dict[str, Method] = {
  'empo': Method(
    'Zhang et al. 2025',
    {'transforms': ('answer_frequency', 'group_normalised')},
  ),
  'ttrl': Method(
    'Zuo et al. 2025',
    {'transforms': ('majority_label', 'group_normalised')}
    | {'majority_label.missing': 'shared', 'majority_label.ties': 'first'},
    'votes and trains on the same samples',
  ),
  'rent': Method(
    'Prabhudesai et al. 2025',
    {'transforms': ('negative_entropy', 'group_normalised')},
  ),
  'intuitor': Method(
    'Zhao et al. 2025',
    {'transforms': ('self_certainty_reward', 'group_normalised'), 'measure': 'self_certainty'},
  ),
  'seed_grpo': Method(
    'Chen et al. 2025',
    {'transforms': ('group_normalised', 'seed_grpo')},
    'the discrete entropy, not weighed by likelihood; no code was published, and the form and the '
    'strength of the discount were not compared',
  ),
  'semantic_bonus': Method(
    'this project: surprise of the own class as a bonus',
    {'transforms': ('semantic_bonus', 'group_normalised')},
  ),
  'entropy_advantage': Method(
    'Cheng et al. 2025, Reasoning with exploration',
    {'transforms': ('group_normalised', 'entropy_bonus_advantage')},
  ),
  'edge_grpo': Method(
    'Zhang et al. 2025',
    {'transforms': ('group_normalised', 'edge')},
    'means over the response, not over padding; without guided error correction',
  ),
  'ucas': Method(
    'Xie et al. 2025, UCAS',
    {'transforms': ('group_normalised', 'ucas'), 'measure': 'self_certainty'},
  ),
  'gtpo': Method(
    'Simoni et al. 2025',
    {'transforms': ('group_normalised', 'gtpo'), 'reduction': 'sequence_mean'},
    'without its weights on tokens that right and wrong responses share',
  ),
}

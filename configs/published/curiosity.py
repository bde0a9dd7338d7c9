"""Intrinsic motivation: bonuses for what is uncertain, surprising or new."""

from configs.published.method import Method

METHODS: dict[str, Method] = {
  'perplexity_bonus': Method(
    'Dai et al. 2025, CDE, the actor',
    {'transforms': ('perplexity_bonus', 'group_normalised')},
    'the weight does not decay; no code was published',
  ),
  'cde': Method(
    'Dai et al. 2025, CDE, actor and critics',
    {
      'transforms': ('perplexity_bonus', 'group_normalised', 'disagreement_advantage'),
      'curiosity.kind': 'ensemble',
    },
    "GRPO's advantages, not PPO's; the weights do not decay; no code was published",
  ),
  'disagreement': Method(
    'Pathak et al. 2019, with value heads for dynamics',
    {'transforms': ('disagreement_bonus', 'group_normalised'), 'curiosity.kind': 'ensemble'},
  ),
  'rnd': Method(
    'Burda et al. 2019',
    {'transforms': ('novelty_bonus', 'group_normalised'), 'curiosity.kind': 'rnd'},
    'the bonus is scaled by the group, not by a running deviation; no value head for it',
  ),
  'count_bonus': Method(
    'Bellemare et al. 2016, counts within the group',
    {'transforms': ('count_bonus', 'group_normalised')},
  ),
  'count_novelty': Method(
    'Bellemare et al. 2016, counts over the run',
    {'count_novelty.coefficient': 0.1},
  ),
}

"""Published methods as compositions of parts, on Countdown from a warm start.

  python experiments/list_methods.py                                    # all of them
  python experiments/train.py --config=configs/methods.py:dapo --workdir=runs/dapo \
    --config.init=runs/warm_start/model
  python experiments/train.py --config=configs/methods.py:grpo,verl ...  # verl's conventions

The tables are in configs/published: what each method changes here. What it does not name is as in
configs/base.py; every method begins as GRPO without KL: advantages R - mean over the group,
divided by the standard deviation (n - 1 in its denominator) + 1e-4, and the mean over all response
tokens of the batch.
"""

import ml_collections

from configs import countdown
from configs.published import certainty, control, curiosity, policy_gradient, preference
from configs.published.method import Method

METHODS: dict[str, Method] = {
  **policy_gradient.METHODS,
  **certainty.METHODS,
  **control.METHODS,
  **curiosity.METHODS,
  **preference.METHODS,
}

# Other projects' conventions for methods that they have too, for numbers that are to be compared
# with theirs: scope and denominator of the loss, length normalisation, and what is added to the
# standard deviation of the advantages, over n - ddof. What is not named is as above.
PARITY: dict[str, dict[str, dict[str, object]]] = {
  'verl': {
    'grpo': {
      **{'group_normalised.eps': 1e-6, 'group_normalised.ddof': 1, 'reduction': 'token_mean'},
      'grpo.clip_dual': 3.0,
    },
    'dr_grpo': {'grpo.clip_dual': 3.0},
    'dapo': {'group_normalised.eps': 1e-6},
    'gspo': {'group_normalised.eps': 1e-6},  # whatever reduction is asked for
    'rloo': {'reduction': 'token_mean'},
    'gpg': {'gpg.count': 'rewarded'},
    'kl_cov': {'group_normalised.eps': 1e-6, 'kl_cov.share': 2e-4},
  },
  'trl': {
    'grpo': {
      **{'group_normalised.eps': 1e-4, 'group_normalised.ddof': 1, 'reduction': 'token_mean'},
      'temperature.beta': 0.0,
    },
    'ipo': {'dpo.length': 'mean'},
  },
  'halos': {
    'grpo': {
      **{'group_normalised.eps': 1e-2, 'group_normalised.ddof': 0, 'reduction': 'sequence_mean'},
    },
    'ipo': {'dpo.length': 'mean'},
  },
}


def get_config(arg: str = 'grpo') -> ml_collections.ConfigDict:
  """`arg`: a method, or 'method,project' for the conventions of a project in PARITY."""
  name, _, project = arg.partition(',')
  if name not in METHODS:
    raise ValueError(f'configs/methods.py:{name} is unknown; choose one of {", ".join(METHODS)}')
  parity = {each: changes[name] for each, changes in PARITY.items() if name in changes}
  if project and project not in parity:
    raise ValueError(
      f'configs/methods.py:{arg}: no conventions of {project!r} are known for {name}; choose one '
      f'of {", ".join(parity) or "none"}'
    )
  config = countdown.get_config('grpo')
  config.name = f'countdown_{arg}'
  config.temperature.update(alpha=0.0, beta=0.0)
  config.steps = 150
  config.batch.prompts = 32
  config.update_from_flattened_dict(dict(METHODS[name].changes))
  config.update_from_flattened_dict(parity.get(project, {}))
  return config

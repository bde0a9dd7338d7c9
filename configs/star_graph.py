"""Star graphs: a reference that guesses at the centre, and what learns to look ahead from it.

  python experiments/pretrain.py --config=configs/star_graph.py:reference --workdir=runs/reference
  python experiments/make_pairs.py --config=configs/star_graph.py:samples \
    --workdir=runs/reference --batches=300 --output=runs/samples.jsonl
  python experiments/preference.py --config=configs/star_graph.py:q_sharp --workdir=runs/q_sharp \
    --config.init=runs/reference/model --config.offline.path=runs/samples.jsonl

Or all of it, with guidance and the published numbers: experiments/tables/star_graph.py. `reinforce`
(experiments/train.py) draws its own samples; the others learn from those of the reference.
[Zhou et al. 2025, Q-sharp] have 50 labels, G(2, 5) and larger, and a GPT-2.

The learning rate matters: at 2e-3 the classifier learned less than at 7e-4, which lets it build on
how the reference looks edges up.
"""

from typing import Any

import ml_collections

from configs import base

# What each objective changes, from the reference and at kappa = beta = 0.1.
OBJECTIVES: dict[str, dict[str, Any]] = {
  'samples': {'star_graph.seed': 1},
  'reinforce': {
    **{'algorithm': 'reinforce', 'transforms': ('group_centred',), 'reduction': 'sequence_mean'},
    **{'reference': 'none', 'temperature.beta': 0.0, 'star_graph.seed': 1},
  },
  'dpo': {'algorithm': 'dpo', 'optimizer.learning_rate': 1e-4},
  'rpo': {'algorithm': 'dpo', 'optimizer.learning_rate': 1e-4, 'dpo.cloning': 1.0},
  'q_sharp': {'algorithm': 'q_sharp', 'critic.kind': 'outcome'},
  'q_sharp_atoms': {
    **{'algorithm': 'q_sharp', 'critic.kind': 'outcome', 'critic.outcome.count': 11},
  },
  'ilql': {'algorithm': 'ilql', 'critic.kind': 'ilql', 'target.rule': 'polyak'},
  'soft_q': {'algorithm': 'soft_q'},
  'reval': {'algorithm': 'path'},
}


def get_config(arg: str = 'q_sharp') -> ml_collections.ConfigDict:
  """`arg`: reference, or one of OBJECTIVES."""
  known = ('reference', *OBJECTIVES)
  if arg not in known:
    raise ValueError(f'configs/star_graph.py:{arg} is unknown; choose one of {", ".join(known)}')
  config = base.get_config()
  config.name = f'star_graph_{arg}'
  config.task = 'star_graph'
  config.star_graph.update(degree=2, length=4, labels=12)
  config.tokenizer.alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ|/='
  config.model.update(family='qwen3', num_layers=3, d_model=64, num_heads=4, num_kv_heads=4)
  config.model.update(head_dim=16, d_ff=128, max_length=256)
  config.batch.update(prompts=32, group_size=2, max_new_tokens=5, prompt_multiple=1)
  config.optimizer.update(learning_rate=4e-4, decay='cosine', warmup_steps=100, b2=0.98)
  config.optimizer.weight_decay = 0.1
  config.critic.learning_rate = 7e-4
  config.critic.outcome.trunk = config.critic.ilql.trunk = 'own'
  config.reduction = 'token_mean'
  config.checkpoint.update(every=500, keep=1)
  config.samples_every = 500
  if arg == 'reference':
    _reference(config)
  else:
    config.update_from_flattened_dict(OBJECTIVES[arg])
  return config


def _reference(config: ml_collections.ConfigDict) -> None:
  """The next token of the right path: a shortcut knows all of it but the first choice."""
  config.algorithm = 'imitation'
  config.optimizer.learning_rate = 2e-3
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.batch.prompts = 64

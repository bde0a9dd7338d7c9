"""Policy gradients and their advantages: who is compared with whom, and how far a step may go."""

from configs.published.method import Method

METHODS: dict[str, Method] = {
  'reinforce': Method(
    'Williams 1992',
    {'algorithm': 'reinforce', 'transforms': ('returns',), 'reduction': 'sequence_sum'},
  ),
  'rloo': Method(
    'Kool et al. 2019; Ahmadian et al. 2024',
    {'algorithm': 'reinforce', 'transforms': ('leave_one_out',), 'reduction': 'sequence_sum'},
  ),
  'reinforce_pp': Method(
    'Hu 2025, REINFORCE++',
    {'transforms': ('kl_in_reward', 'returns', 'batch_whitened'), 'grpo.kl': 'none'},
  ),
  'opo': Method('Hao et al. 2025', {'transforms': ('opo',), 'reduction': 'token_mean'}),
  'ppo': Method(
    'Schulman et al. 2017',
    {
      **{'algorithm': 'ppo', 'critic.kind': 'value', 'transforms': ('kl_in_reward',)},
      **{'ppo.kl': 'none', 'temperature.alpha': 0.001},
    },
    'one update a batch, so that there is no older value to clip around',
  ),
  'grpo': Method(
    'Shao et al. 2024',
    {'reduction': 'sequence_mean', 'temperature.beta': 0.04},
  ),
  'dr_grpo': Method(
    'Liu et al. 2025',
    {'transforms': ('group_centred',), 'reduction': 'constant_length'},
  ),
  'dapo': Method(
    'Yu et al. 2025',
    {
      **{'grpo.clip_high': 0.28, 'grpo.clip_dual': 10.0, 'batch.rounds': 3},
    },
    'after so many rounds of sampling, groups all right or all wrong fill up the batch; no '
    'overlong shaping (transform `overlong`), since right answers here may take all tokens',
  ),
  'gspo': Method('Zheng et al. 2025', {'algorithm': 'gspo', 'reduction': 'sequence_mean'}),
  'cispo': Method('MiniMax 2025', {'algorithm': 'cispo'}),
  'gmpo': Method('Zhao et al. 2025', {'algorithm': 'gmpo', 'reduction': 'sequence_mean'}),
  'sapo': Method('Gao et al. 2025', {'algorithm': 'sapo', 'reduction': 'sequence_mean'}),
  'vespo': Method('VESPO, as in TRL', {'algorithm': 'vespo'}),
  'gpg': Method(
    'Chu et al. 2025',
    {'algorithm': 'reinforce', 'transforms': ('gpg',)},
    'no sampling until enough groups are informative',
  ),
  'dcpo': Method(
    'Yang et al. 2025', {'algorithm': 'dcpo'}, 'the clip only, without smoothed advantages'
  ),
  'bapo': Method(
    'Xi et al. 2025',
    {'algorithm': 'bapo'},
    "as in its code, with that code's target; the paper's best is 2/3",
  ),
  'kl_cov': Method('Cui et al. 2025', {'algorithm': 'kl_cov', 'kl_cov.share': 0.002}),
  'pass_at_k': Method('Chen et al. 2025', {'transforms': ('pass_at_k',)}),
  'pass_at_k_max': Method('verl, grpo_passk', {'transforms': ('pass_at_k_max',)}),
  'quantile_baseline': Method(
    'Wu et al. 2025, QAE',
    {'transforms': ('quantile_baseline',)},
    'on top of GRPO, not of DAPO; the quantile of the paper, which its code interpolates',
  ),
  'psr': Method(
    'Zhu et al. 2025',
    {'transforms': ('positive_negative',), **{'positive_negative.positive': 1.0}}
    | {'positive_negative.negative': 0.0},
  ),
  'nsr': Method(
    'Zhu et al. 2025',
    {'transforms': ('positive_negative',), **{'positive_negative.positive': 0.0}},
  ),
  'w_reinforce': Method('Zhu et al. 2025', {'transforms': ('positive_negative',)}),
}

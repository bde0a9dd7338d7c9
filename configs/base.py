"""Every key there is, with its default. Experiment configs change a few of them.

Sections named after a task, a loss, a transform or a controller are that function's keyword
arguments: the function's signature is the schema.
"""

import ml_collections
from ml_collections import config_dict


def get_config() -> ml_collections.ConfigDict:
  """The defaults; not an experiment by itself (no task is chosen)."""
  config = ml_collections.ConfigDict()
  config.name = 'base'
  config.seed = 0
  config.steps = 100

  # --- Where the policy starts -----------------------------------------------------------------
  # A Hugging Face folder (config.json, safetensors, tokenizer), or '' for random weights of the
  # shape in `model` with the tokenizer in `tokenizer`.
  config.init = ''
  config.tokenizer = ml_collections.ConfigDict(
    {
      'kind': 'characters',  # characters | bytes | folder
      'alphabet': '',  # of the character tokenizer
      'folder': '',  # of a saved tokenizer
      'stop_token': '',  # the token that ends a response; '' is the tokenizer's EOS
    }
  )
  config.model = ml_collections.ConfigDict(
    {
      'family': 'llama',  # llama | qwen2 | qwen3
      'd_model': 64,
      'num_layers': 4,
      'num_heads': 4,
      'num_kv_heads': 4,
      'head_dim': 16,
      'd_ff': 192,
      'max_length': 512,
      'tied': False,
    }
  )
  # How the model is computed; also applies to weights from a folder.
  config.compute = ml_collections.ConfigDict(
    {
      'dtype': 'float32',  # float32 | bfloat16; parameters and sums of log-probs stay float32
      'remat': False,  # recompute activations in the backward pass
      'scan_layers': False,  # scan: compile time constant in depth (pays from about 16 layers)
      'chunk': 2048,  # tokens whose logits exist at a time
    }
  )
  config.mesh = ml_collections.ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})  # -1: the rest

  # --- Problems and rollouts -------------------------------------------------------------------
  config.task = ''
  config.countdown = ml_collections.ConfigDict(
    {
      'num_numbers': (3,),
      'max_number': 40,
      'max_target': 99,
      'min_modes': 2,
      'max_modes': 32,
      'operators': '+-*/',
      'test_fraction': 0.15,
      'size': config_dict.placeholder(int),  # keep this many problems; unset keeps all
      'seed': 0,  # order of the problems
    }
  )
  config.gsm8k = ml_collections.ConfigDict(
    {'data_dir': '', 'cache_dir': '', 'max_problems': config_dict.placeholder(int)}
  )
  config.random_numbers = ml_collections.ConfigDict({'high': 100, 'skew': 2.09, 'penalty': 8.0})
  config.random_walks = ml_collections.ConfigDict(
    {'nodes': 21, 'longest': 10, 'walks': 1000, 'edge': 0.1, 'seed': 1002}
  )
  config.stories = ml_collections.ConfigDict(
    {'test_fraction': 0.1, 'size': config_dict.placeholder(int), 'seed': 0}
  )
  config.treesample = ml_collections.ConfigDict(
    {'variables': 6, 'categories': 4, 'scale': 1.0, 'seed': 0}
  )
  config.batch = ml_collections.ConfigDict(
    {
      'prompts': 32,  # prompts a step (rows a step, for demonstrations)
      'group_size': 8,  # samples a prompt
      'max_new_tokens': 32,
      'max_prompt_tokens': 0,  # leave out problems with longer prompts; 0 keeps all
      'prompt_multiple': 8,  # prompt lengths are rounded up to a multiple of this
      'truncation': 'terminal',  # a cut response ends there | bootstrap: use the value at the cut
    }
  )
  config.sampling = ml_collections.ConfigDict({'temperature': 1.0, 'top_k': 0, 'top_p': 1.0})

  # Groups of earlier steps and demonstrations beside the fresh samples (train/collect.py, Mixed).
  config.replay = ml_collections.ConfigDict(
    {
      'kind': 'none',  # none | fifo: drawn alike | prioritised: drawn ~ exp(exponent x mean reward)
      'capacity': 640,  # groups kept, first in, first out
      'prompts': 32,  # groups drawn a step, beside batch.prompts fresh ones
      'demonstrations': 0,  # groups of demonstrations a step
      'every': 1,  # steps a rollout; in those between, batch.prompts more groups are drawn
      'exponent': 1.0,
    }
  )

  # --- Objective -------------------------------------------------------------------------------
  config.algorithm = 'soft_q'  # a name in algorithms.LOSSES
  # `value`, where V(s) comes from: lse | lse_minus_ref | head (needs critic.kind = 'value').
  config.soft_q = ml_collections.ConfigDict(
    {
      'lam': 1.0,  # 0: one step; 1: the whole suffix
      'gradient': 'semi',  # semi: the target is held fixed | residual: gradient through both ends
      'value': 'lse_minus_ref',
    }
  )
  config.path = ml_collections.ConfigDict({'value': 'lse_minus_ref'})
  config.pcl = ml_collections.ConfigDict({'length': 10, 'value': 'lse'})
  config.subtb = ml_collections.ConfigDict({'lam': 0.9, 'value': 'head'})
  config.oreo = ml_collections.ConfigDict({'value_weight': 1.0})
  config.vargrad = ml_collections.ConfigDict()
  config.pairwise = ml_collections.ConfigDict()
  config.mirror_descent = ml_collections.ConfigDict()
  config.sac = ml_collections.ConfigDict({'policy_weight': 1.0})
  config.ilql = ml_collections.ConfigDict({'expectile': 0.8, 'cql': 0.1, 'cloning': 1.0})
  config.q_sharp = ml_collections.ConfigDict({'low': 0.0, 'high': 1.0})
  config.ppo = ml_collections.ConfigDict(
    {'clip_low': 0.2, 'clip_high': 0.2, 'lam': 0.95, 'value_weight': 1.0}
  )
  config.grpo = ml_collections.ConfigDict({'clip_low': 0.2, 'clip_high': 0.2})
  config.imitation = ml_collections.ConfigDict()
  config.transforms = ()  # names in shaping.TRANSFORMS, applied in order
  config.group_normalised = ml_collections.ConfigDict({'eps': 1e-4})
  config.group_centred = ml_collections.ConfigDict()
  config.reduction = 'sequence_sum'  # token_mean | sequence_sum | sequence_mean | constant_length
  config.loss_units = 'reward'  # reward | nats: divided by kappa^2, for a kappa that moves far
  config.reference = 'start'  # start: the policy before the first step | none
  # The reference may follow the policy: reset every `period` steps (ReVal), or an average of it.
  config.reference_update = ml_collections.ConfigDict(
    {'rule': 'none', 'polyak': {'rate': 0.01}, 'periodic': {'period': 200}}
  )
  # Networks beside the policy, for the objectives that need them.
  config.critic = ml_collections.ConfigDict(
    {
      'kind': 'none',  # none | value | twin | ilql | atoms
      'learning_rate': 1e-3,  # takes the place of optimizer.learning_rate
      # trunk, whose hidden states a head reads: shared | stopped | own (a copy that is trained)
      'value': {'trunk': 'stopped', 'width': 128},
      'twin': {'count': 2, 'noise': 0.05},
      'ilql': {'trunk': 'shared', 'width': 128},
      'atoms': {'trunk': 'stopped', 'width': 128, 'count': 2},
    }
  )
  config.target = ml_collections.ConfigDict(
    {
      'rule': 'none',  # none | polyak | periodic
      'polyak': ml_collections.ConfigDict({'rate': 0.05}),
      'periodic': ml_collections.ConfigDict({'period': 10}),
    }
  )

  # --- Temperature: alpha weighs entropy, beta the KL to the reference (reward units per nat) ----
  config.temperature = ml_collections.ConfigDict(
    {
      'alpha': 0.0,  # the value, or where the controller starts
      # fixed | schedule | target_entropy | target_kl | target_kl_per_prompt
      'alpha_control': 'fixed',
      'beta': 0.1,
      'beta_control': 'fixed',
    }
  )
  config.alpha = _control()
  config.beta = _control()

  # --- Optimiser: AdamW ------------------------------------------------------------------------
  config.optimizer = ml_collections.ConfigDict(
    {
      'learning_rate': 1e-3,
      'warmup_steps': 10,
      'decay': 'constant',  # constant | linear | cosine, to zero over `steps`
      'b1': 0.9,
      'b2': 0.99,
      'eps': 1e-8,
      'weight_decay': 0.0,
      'clip_norm': 1.0,
    }
  )

  # --- Evaluation, files -----------------------------------------------------------------------
  config.eval = ml_collections.ConfigDict(
    {
      'problems': 256,  # test problems, the first of the split
      'samples': 16,  # a problem
      'prompts': 64,  # problems a batch
      'temperature': 1.0,  # of the sampler; 1 is the policy itself
      'seed': 1,
    }
  )
  config.checkpoint = ml_collections.ConfigDict({'every': 50, 'keep': 2})
  config.samples_every = 10  # steps between responses written to samples.jsonl
  return config


def _control() -> ml_collections.ConfigDict:
  """What each kind of controller needs beside its initial value."""
  bounds = {'low': 1e-3, 'high': 10.0}
  return ml_collections.ConfigDict(
    {
      'schedule': {
        'name': 'cosine_decay_schedule',
        'arguments': {'decay_steps': 100, 'alpha': 0.1},
      },  # any schedule of optax
      'target_entropy': {'target': 0.5, 'learning_rate': 0.05, **bounds},  # nats per token
      'target_kl': {'target': 1.0, 'learning_rate': 0.05, **bounds},  # nats per response
      'target_kl_per_prompt': {'target': 1.0, 'learning_rate': 0.05, **bounds},  # at most log 1/p
    }
  )

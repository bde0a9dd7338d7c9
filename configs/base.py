"""Every key there is, with its default. Experiment configs change a few of them.

Sections named after a task, a loss, a transform or a controller are that function's keyword
arguments: the function's signature is the schema.
"""

import ml_collections
from ml_collections import config_dict

from configs import sections

NO_CLIP = 1e9  # a bound that nothing reaches


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
  # How a prompt is shown: none (as it is) | template (a message in the tokenizer's chat template)
  config.chat = 'none'
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
      'rope_theta': 10_000.0,
      'norm_eps': 1e-6,
      'vocab_size': 0,  # rows of the embedding; 0: as many as the tokenizer has tokens
    }
  )
  # How the model is computed; also applies to weights from a folder.
  config.compute = ml_collections.ConfigDict(
    {
      'dtype': 'float32',  # float32 | bfloat16; parameters and sums of log-probs stay float32
      'cache': '',  # of decoding: float32 | bfloat16; '' is dtype
      'attention': 'xla',  # xla | cudnn (NVIDIA GPUs, with dtype bfloat16; docs/how-to/gpu.md)
      'remat': False,  # recompute activations in the backward pass
      'scan_layers': False,  # scan: compile time constant in depth, but longer steps
      'logits': 1 << 24,  # that exist at a time, of all devices (64 MB), whatever the vocabulary is
      'slots': 0,  # rows decoded at a time, the next begin where some have ended; 0: all
      'microbatch': 2048,  # tokens of a device in the update at a time; 0: all, with all columns
      'widths': 7,  # lengths that it is compiled for: 1, 3/4, 1/2, 3/8 ... of max_new_tokens
    }
  )
  config.mesh = ml_collections.ConfigDict({'data': -1, 'fsdp': 1, 'tensor': 1})  # -1: the rest

  # --- Problems and rollouts -------------------------------------------------------------------
  config.task = ''
  config.arithmetic = ml_collections.ConfigDict(
    {
      'operations': '+',  # some of '+-*'
      'min_digits': 1,
      'max_digits': 3,
      'chain': 'columns',  # what demonstrations show before the answer: columns | none
      'test_fraction': 0.1,
      'size': 20_000,  # problems, drawn when they are asked for
      'seed': 0,
    }
  )
  config.countdown = ml_collections.ConfigDict(
    {
      'num_numbers': (3,),
      'max_number': 40,
      'max_target': 99,
      'min_modes': 2,
      'max_modes': 32,
      'sets': config_dict.placeholder(int),  # number sets drawn of each size; unset takes all
      'operators': '+-*/',
      'test_fraction': 0.15,
      'size': config_dict.placeholder(int),  # keep this many problems; unset keeps all
      'seed': 0,  # order of the problems
    }
  )
  config.game24 = ml_collections.ConfigDict({'data_dir': ''})
  # One task whose key `key` has the value settings[k] from step starts[k] on; tests have the last.
  config.curriculum = ml_collections.ConfigDict(
    {
      'task': 'countdown',
      'key': 'max_number',
      'settings': (10, 40),
      'starts': (0, 50),
      'keep': False,  # go on offering earlier stages, too
    }
  )
  config.graph_coloring = ml_collections.ConfigDict(
    {
      'nodes': (4, 5),  # drawn from these
      'colors': 3,
      'given': (1, 2),  # nodes that have their colour, drawn from these
      'edge': 0.5,  # probability
      'min_modes': 2,
      'max_modes': 32,
      'graphs': 20_000,  # drawn; those with too few or many modes are left out
      'test_fraction': 0.1,
      'size': config_dict.placeholder(int),
      'seed': 0,
    }
  )
  for name in ('aqua_rat', 'bbh', 'gsm8k', 'gsm_hard', 'math', 'olympiadbench', 'svamp'):
    config[name] = sections.files()
  config.bbh.subtask = 'boolean_expressions'
  config.math.update(train_file='train', test_file='math500', levels=(), subjects=())  # (): all
  config.jsonl = sections.files()
  # `verify`: exact | number | choice | maths
  config.jsonl.update(verify='exact', prompt='prompt', answer='answer')
  config.list_functions = ml_collections.ConfigDict(
    {
      'elements': 3,  # of the list that a function returns, 1 to 3
      'shown': 3,  # examples in the prompt
      'min_modes': 2,
      'max_modes': 32,
      'test_fraction': 0.2,  # of the functions
      'size': 20_000,  # problems, drawn when they are asked for
      'seed': 0,
      'timeout_s': 1.0,  # CPU seconds of one program
      'memory_mb': 128,
      'minimum_tier': 'pure',  # the weakest sandbox to accept: ns, landlock or pure
    }
  )
  config.mixture = ml_collections.ConfigDict(
    {
      'tasks': ('countdown', 'arithmetic'),  # each by its own section
      'weights': (),  # their shares; empty: equal
    }
  )
  config.human_eval = _programs()
  config.mbpp = _programs()
  config.mbpp.update({'variant': 'full', 'show_tests': 1})
  config.random_numbers = ml_collections.ConfigDict({'high': 100, 'skew': 2.09, 'penalty': 8.0})
  config.random_walks = ml_collections.ConfigDict(
    {'nodes': 21, 'longest': 10, 'walks': 1000, 'edge': 0.1, 'seed': 1002}
  )
  config.reasoning_gym = ml_collections.ConfigDict(
    {
      'dataset': 'leg_counting',
      'options': {},  # the generator's own settings
      'size': 1000,  # entries, of both splits together
      'test_fraction': 0.1,
      'seed': 0,
    }
  )
  config.star_graph = ml_collections.ConfigDict(
    {
      'degree': 2,  # paths
      'length': 5,  # nodes of a path, the centre included
      'labels': 50,
      'test_fraction': 0.1,
      'size': 20_000,  # problems, drawn when they are asked for
      'seed': 0,
    }
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
      'rounds': 1,  # of sampling a step, until batch.prompts groups have 0 < accuracy < 1 (DAPO)
      'ahead': 0,  # 1: sampled before the update of the step before, while that one is graded
      'truncation': 'terminal',  # a cut response ends there | bootstrap: use the value at the cut
    }
  )
  config.sampling = ml_collections.ConfigDict({'temperature': 1.0, 'top_k': 0, 'top_p': 1.0})

  # Reward + coefficient / sqrt(n), n how often the run has sampled this answer to this problem.
  config.count_novelty = ml_collections.ConfigDict({'coefficient': 0.0, 'size': 65536})

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

  # --- Self-training (experiments/self_train.py): rounds of config.steps each ------------------
  config.self_training = ml_collections.ConfigDict(
    {
      'rounds': 3,
      'samples': 8,  # K responses a problem and round
      'problems': 0,  # the first so many of the training split; 0: all
      'prompts': 64,  # problems a batch of sampling
      'continue_from': 'start',  # weights a round is trained from: start | current
      # A prompt for problems that no sample solved, e.g. '{answer} {prompt}'; '' for none (STaR).
      'hint': '',
      # correct | threshold | best | distinct | balanced | entropy_band | semantic_entropy_band,
      # applied in order
      'filters': ('correct',),
      'threshold': {'reward': 1.0},
      'balanced': {'count': 10},
      'entropy_band': {'low': 0.1, 'high': 0.9, 'scale': 'quantile'},  # quantile | nats
      'semantic_entropy_band': {'low': 0.0, 'high': 2.0},  # nats
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
  # Policy gradients. `kl`, the term that beta weighs: none | k1 | k2 | k3 | exact. `clip_dual`, the
  # largest ratio where the advantage is negative, and `value_clip`: NO_CLIP is none.
  clip = {'clip_low': 0.2, 'clip_high': 0.2}
  dual = {**clip, 'clip_dual': NO_CLIP}
  config.ppo = ml_collections.ConfigDict(
    {**dual, 'kl': 'k3', 'lam': 0.95, 'value_weight': 1.0, 'value_clip': NO_CLIP}
  )
  config.grpo = ml_collections.ConfigDict({**dual, 'kl': 'k3'})
  config.reinforce = ml_collections.ConfigDict({'kl': 'k3'})
  config.gspo = ml_collections.ConfigDict({'clip_low': 3e-4, 'clip_high': 4e-4, 'kl': 'k3'})
  config.cispo = ml_collections.ConfigDict({'clip_low': 1.0, 'clip_high': 4.0, 'kl': 'k3'})
  config.gmpo = ml_collections.ConfigDict({'clip_low': 0.4, 'clip_high': 0.4, 'kl': 'k3'})
  config.sapo = ml_collections.ConfigDict({'positive': 1.0, 'negative': 1.05, 'kl': 'k3'})
  config.vespo = ml_collections.ConfigDict(
    {
      **{'shape_positive': 2.0, 'rate_positive': 3.0},
      **{'shape_negative': 3.0, 'rate_negative': 2.0},
      'kl': 'k3',
    }
  )
  config.dcpo = ml_collections.ConfigDict(
    {'clip_low': 0.16, 'clip_high': 0.2, 'clip_dual': 10.0, 'kl': 'k3'}
  )
  config.bapo = ml_collections.ConfigDict(
    {  # bounds are ratios: `low` rises to `low_max`, then `high` to `high_max`
      **{'low': 0.6, 'low_max': 0.9, 'low_step': 0.05},
      **{'high': 1.2, 'high_max': 3.0, 'high_step': 0.05},
      'target': 1.0,  # sum of gains / sum of losses
      'clip_dual': 3.0,
      'kl': 'k3',
    }
  )
  config.kl_cov = ml_collections.ConfigDict({'share': 2e-4, 'penalty': 1.0, 'kl': 'k3'})
  config.imitation = ml_collections.ConfigDict()
  # Preferences: rows of a group with different returns are pairs (algorithms/preference.py).
  config.dpo = ml_collections.ConfigDict(
    {
      # of the margin: sigmoid | robust | exo | hinge | ipo | discopop
      # of the two values: nca | sppo | apo_zero | apo_down
      'link': 'sigmoid',
      'score': 'reverse_kl',  # reverse_kl | forward_kl | js | alpha
      'strength': 0.5,  # of the alpha divergence: 0 would be the reverse KL, 1 is the forward KL
      'length': 'sum',  # sum | mean: of the log-ratios of a response
      'offset': 0.0,  # taken off the margin (SimPO's gamma)
      'smoothing': 0.0,  # how often labels are wrong, for sigmoid (cDPO), robust and exo
      'cloning': 0.0,  # weight of the chosen responses' negative log-likelihood
    }
  )
  config.aot = ml_collections.ConfigDict({'smoothing': 0.0})
  config.orpo = ml_collections.ConfigDict({'weight': 0.1})
  config.kto = ml_collections.ConfigDict(
    {
      'link': 'probability',  # probability (KTO, APO-zero) | logistic (BCO)
      'baseline': 'kl',  # kl (KTO) | mean (BCO) | zero (APO-zero)
      'threshold': 0.5,  # returns above it are desirable
      'desirable': 1.0,  # weights of the two kinds of rows
      'undesirable': 1.0,
    }
  )
  config.offline = ml_collections.ConfigDict({'path': ''})  # .jsonl; '': the policy's own samples
  config.transforms = ()  # names in shaping.TRANSFORMS, applied in order
  config.group_normalised = ml_collections.ConfigDict({'eps': 1e-4, 'ddof': 1})
  config.group_centred = ml_collections.ConfigDict()
  # Rewards (shaping/rewards.py). `missing`, what a response without a class is: own | shared (all
  # of a group are one class) | dropped (not counted). The first four replace the task's reward.
  config.answer_frequency = ml_collections.ConfigDict(
    {'missing': 'own', 'low': 0.0, 'high': 1.0}  # groups kept: low <= H / log n < high
  )
  config.majority_label = ml_collections.ConfigDict(
    {'missing': 'dropped', 'ties': 'none'}  # ties: all | none | first (as published)
  )
  config.negative_entropy = ml_collections.ConfigDict()
  config.self_certainty_reward = ml_collections.ConfigDict()  # needs measure = 'self_certainty'
  config.semantic_bonus = ml_collections.ConfigDict(
    {'coefficient': 0.1, 'of': 'row', 'missing': 'dropped'}  # of: row | group
  )
  config.count_bonus = ml_collections.ConfigDict({'coefficient': 0.1, 'missing': 'dropped'})
  config.perplexity_bonus = ml_collections.ConfigDict({'coefficient': 0.1, 'cap': 0.5})
  config.novelty_bonus = ml_collections.ConfigDict({'coefficient': 0.1})
  config.disagreement_bonus = ml_collections.ConfigDict({'coefficient': 0.1})
  config.kl_in_reward = ml_collections.ConfigDict(
    {'coefficient': 0.01, 'kl': 'k1'}  # kl: k1 | k2 | k3 | exact
  )
  config.entropy_in_reward = ml_collections.ConfigDict({'coefficient': 0.01})
  config.overlong = ml_collections.ConfigDict({'coefficient': 1.0, 'limit': 32, 'buffer': 8})
  # One more number of every state beside its entropy (soft/entropy.py), in nats.
  config.measure = 'none'  # none | nucleus | inner_nucleus | clamped | top_k | tempered
  # | self_certainty
  config.measures = ml_collections.ConfigDict(
    {
      'nucleus': {'p': 0.8},
      'inner_nucleus': {'p': 0.8},  # without the token that crosses p
      'clamped': {'share': 0.2},  # of the vocabulary, the least likely tokens, left out
      'top_k': {'k': 20},
      'tempered': {'temperature': 0.5},
      'self_certainty': {},
    }
  )
  config.batch_scaled = ml_collections.ConfigDict({'eps': 1e-4, 'ddof': 1})
  config.leave_one_out = ml_collections.ConfigDict()
  config.returns = ml_collections.ConfigDict({'discount': 1.0})
  config.batch_whitened = ml_collections.ConfigDict({'eps': 1e-8})
  config.opo = ml_collections.ConfigDict()
  config.gpg = ml_collections.ConfigDict({'count': 'mixed'})  # mixed | rewarded (verl)
  config.pass_at_k_max = ml_collections.ConfigDict({'scale': 'std', 'eps': 1e-6})  # none | std
  config.pass_at_k = ml_collections.ConfigDict({'k': 4, 'threshold': 1.0})
  config.positive_negative = ml_collections.ConfigDict(
    {'positive': 0.1, 'negative': 1.0, 'threshold': 1.0}
  )
  config.quantile_baseline = ml_collections.ConfigDict({'quantile': 0.4, 'eps': 1e-6, 'ddof': 1})
  # Advantages shaped by entropy, after one of those above.
  config.entropy_bonus_advantage = ml_collections.ConfigDict({'strength': 0.4, 'kappa': 2.0})
  config.disagreement_advantage = ml_collections.ConfigDict({'strength': 0.5, 'kappa': 3.0})
  config.edge = ml_collections.ConfigDict({'floor': 1e-3})  # nats
  config.gtpo = ml_collections.ConfigDict({'highest': 0.7, 'strength': 0.1})
  config.ucas = ml_collections.ConfigDict(
    {'positive': 0.25, 'negative': 0.35, 'logit_weight': 0.05, 'pool': 'sum', 'eps': 1e-6}
  )
  config.seed_grpo = ml_collections.ConfigDict({'discount': 'linear', 'strength': 0.5})
  # Filters: rows lose their mask. `threshold` is the return of a right row.
  config.mixed_groups = ml_collections.ConfigDict({'threshold': 1.0})
  config.drop_truncated = ml_collections.ConfigDict({'stop': config_dict.placeholder(int)})
  config.positive_rows = ml_collections.ConfigDict({'threshold': 1.0})
  config.entropy_band = ml_collections.ConfigDict({'low': 0.1, 'high': 2.0})  # nats
  config.semantic_entropy_band = ml_collections.ConfigDict({'low': 0.1, 'high': 2.0})
  config.bonus = 'entropy'  # entropy | measure: what alpha weighs in a policy gradient
  # Token importance (shaping/importance.py); two may stand in one run.
  config.importance = sections.importance()
  config.importance_2 = sections.importance()
  config.saliency = 'none'  # none | attention | gradient: for the estimate of that name
  config.lexicon = ml_collections.ConfigDict(
    {
      'languages': ('en',),  # connectives of en | de | fr | es | zh
      'words': (),  # more of them
    }
  )
  # token_mean | sequence_sum | sequence_mean | constant_length | present_sum | present_mean
  config.reduction = 'sequence_sum'
  config.loss_units = 'reward'  # reward | nats: divided by kappa^2, for a kappa that moves far
  config.reference = 'start'  # start: the policy before the first step | none
  # The reference may follow the policy: reset every `period` steps (ReVal), or an average of it.
  config.reference_update = ml_collections.ConfigDict(
    {'rule': 'none', 'polyak': {'rate': 0.01}, 'periodic': {'period': 200}}
  )
  # Networks beside the policy, for the objectives that need them.
  config.critic = ml_collections.ConfigDict(
    {
      'kind': 'none',  # none | value | twin | ilql | atoms | outcome
      'learning_rate': 1e-3,  # takes the place of optimizer.learning_rate
      # trunk, whose hidden states a head reads: shared | stopped | own (a copy that is trained)
      'value': {'trunk': 'stopped', 'width': 128},
      'twin': {'count': 2, 'noise': 0.05},
      'ilql': {'trunk': 'shared', 'width': 128},
      'atoms': {'trunk': 'stopped', 'width': 128, 'count': 2},
      'outcome': {'trunk': 'stopped', 'width': 128, 'count': 2},  # read after the action
    }
  )
  # Networks of intrinsic motivation, trained with critic.learning_rate; the transforms
  # novelty_bonus, disagreement_bonus and disagreement_advantage read them.
  config.curiosity = ml_collections.ConfigDict(
    {
      'kind': 'none',  # none | rnd | ensemble
      'rnd': {'width': 128, 'outputs': 32, 'seed': 0},
      # `prior`, reward units: spread of the heads where they have learned nothing.
      'ensemble': {'trunk': 'stopped', 'width': 128, 'count': 5, 'prior': 1.0, 'seed': 0},
    }
  )
  config.distillation = ml_collections.ConfigDict()  # what rnd minimises
  config.ensemble_regression = ml_collections.ConfigDict(
    {'keep': 0.8, 'seed': 0}  # what an ensemble minimises; share of the responses a head learns
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
      # A name in temperature.CONTROLLERS: fixed | schedule | stages | target_entropy | target_kl |
      # target_kl_per_prompt | dual | raw_dual | step | band | pi | adaptive_kl | raise_when_stuck |
      # hysteresis | bang_bang | log_ratio | log_ratio_to_start
      'alpha_control': 'fixed',
      'beta': 0.1,
      'beta_control': 'fixed',
      'sampler': 1.0,  # divides the logits in rollouts, beside sampling.temperature
      'sampler_control': 'fixed',
    }
  )
  config.alpha = sections.control()
  config.beta = sections.control()
  config.sampler = sections.control(low=0.5, high=1.5)
  config.guards = sections.guards()
  # Updates that are not finite are skipped; the run ends, with a dump, after so many in a row, or
  # so many among the last `window` (train/skips.py).
  config.skips = ml_collections.ConfigDict({'in_a_row': 5, 'in_window': 20, 'window': 200})

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
      'confidence_k': 0,  # > 0: measure the confidence in the k most likely tokens (DeepConf: 20)
    }
  )
  config.grace = 30.0  # seconds that a step may take to end after a signal; 0: no limit
  config.watchdog = 1800.0  # seconds without a step that are a hang, or 10 median steps; 0: off
  config.checkpoint = ml_collections.ConfigDict(
    {
      'every': 50,
      'keep': 2,
      'verify': 'full',  # before one is read: full (hash every file) | sizes
      'misses': 3,  # saves in a row that may fail; the last of them ends the run
    }
  )
  config.samples_every = 10  # steps between responses written to samples.jsonl, rollouts.jsonl
  # rollouts.jsonl: of so many problems of such a step so many samples each, with entropy, value and
  # advantage of every token, for experiments/report.py; 0: none.
  config.look = ml_collections.ConfigDict({'problems': 2, 'samples': 8})
  return config


def _programs() -> ml_collections.ConfigDict:
  """Keys of a task whose responses are programs."""
  return ml_collections.ConfigDict(
    {
      'data_dir': '',
      'cache_dir': '',
      'max_problems': config_dict.placeholder(int),
      'timeout_s': 5.0,  # CPU seconds of one program
      'memory_mb': 512,
      'minimum_tier': 'pure',  # the weakest sandbox to accept: ns, landlock or pure
    }
  )

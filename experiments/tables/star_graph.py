"""Star graphs: a reference that cannot choose, and values that can [Q-sharp, star-graph].

python experiments/tables/star_graph.py --preset=cpu --workdir=runs/tables/star_graph --check

The reference is trained on the next token of the right path, learns the shortcut that copies all of
it but the first choice, and is right on 1/d of the problems of G(d, l). Everybody else starts from
it and learns from its own samples with their rewards: REINFORCE from fresh ones, the others from
one file of them. Classifiers of the return then guide the reference: by the exponential of the
return (Q-sharp), by its mean (controlled decoding), or in a beam search that keeps the best steps
(OREO's). Every policy answers the same test problems once, drawn at temperature 1. Killed and
started again the script goes on where it was.
"""

import functools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from maxent_lm import build
from maxent_lm.analysis import tables
from maxent_lm.build import Policy, Run
from maxent_lm.lm import heads
from maxent_lm.lm.decoder import LM
from maxent_lm.sampling import guidance, streams
from maxent_lm.sampling.generate import make_sampler
from maxent_lm.sampling.policies import Sampling
from maxent_lm.sampling.step_beam import make_search
from maxent_lm.sampling.streams import Stream
from maxent_lm.train import offline
from maxent_lm.types import Array, Params

KAPPA = 0.1
BETA = 16.0  # of ILQL
AHEAD = 2  # tokens that are read further ahead
EOS = 1  # of the character tokenizer
LIKELY = 10  # tokens that gains are added to, as published
BEAM = {'beams': 1, 'candidates': 8}
NUCLEUS = 0.9  # of the reference, among which the search chooses
RETURNS = {'low': 0.0, 'high': 1.0}
EPOCH = 500  # problems a batch when the reference is sampled


class Size(NamedTuple):
  """A graph, a model, and how long everything is trained.

  Attributes:
    graph: degree, length, labels.
    model: layers, width.
    problems: for the reference, and as many others to sample on.
    prompts: problems a step, two samples each.
    tests: problems.
    steps: of the reference, and of the variants of configs/star_graph.py that start from it.
    gated: policies that have to be right on more than .9 of the problems.
    after: degree and length of the size before it whose reference this one continues.
  """

  graph: tuple[int, int, int]
  model: tuple[int, int]
  problems: int
  prompts: int
  tests: int
  steps: Mapping[str, int]
  gated: tuple[str, ...]
  after: tuple[int, int] | None = None

  @property
  def name(self) -> str:
    """'G(2, 5)'."""
    return f'G({self.graph[0]}, {self.graph[1]})'


ALL = ('q_sharp', 'q_sharp_atoms', 'ilql', 'soft_q', 'reinforce', 'dpo', 'rpo')
LONG = {'reference': 800, 'q_sharp': 3000, 'soft_q': 800, 'reinforce': 500, 'dpo': 400, 'rpo': 400}
SHORT = {'reference': 200, 'q_sharp': 800, 'soft_q': 800, 'reinforce': 400}
FULL = {'reference': 20_000, **dict.fromkeys(ALL, 8_000)}
TINY = dict.fromkeys(('reference', 'q_sharp'), 2)
PLAIN = ('Q-sharp, Bernoulli', 'controlled decoding')
CPU = Size((2, 4, 12), (3, 64), 10_000, 32, 1000, LONG, ('Q-sharp, one token ahead',))
NEXT = CPU._replace(graph=(2, 3, 12), steps=SHORT, gated=PLAIN, after=(2, 4))
H200 = Size((2, 5, 50), (6, 240), 200_000, 128, 10_000, FULL, PLAIN)
SIZES = {
  'smoke': (CPU._replace(model=(1, 16), problems=64, prompts=4, tests=16, steps=TINY),),
  'cpu': (CPU, NEXT),
  'h200': tuple(H200._replace(graph=(*g, 50)) for g in ((2, 5), (5, 5), (3, 8), (2, 20))),
}
SEEDS = {'smoke': 1, 'cpu': 2, 'h200': 3}
MEASURED = ('right', 'neighbour', 'goal', 'minutes')
COLUMNS = ('graph', 'policy', 'seeds', *MEASURED[:3], 'published', 'minutes', 'remark')


class Weights(NamedTuple):
  """One objective's: its policy, the reference it started from, its critic if it has one."""

  policy: Params
  reference: Params
  critic: Params | None


Answers = tuple[np.ndarray, np.ndarray, np.ndarray]  # tokens [N, R], length [N], finished [N]
Decode = Callable[[Weights, Array, Array, Array], Answers]  # prompts [N, P], valid, key
Says = Callable[[LM, Weights], Stream]


class Line(NamedTuple):
  """A line of the table: whose weights, how they decode, what is published."""

  objective: str
  decode: Callable[[Policy, int], Decode]
  published: str | None
  remark: str | None = None


# --- what answers -------------------------------------------------------------------------------


def alone(lm: LM, weights: Weights) -> Stream:
  """The trained policy itself."""
  return streams.policy(lm, weights.policy)


def reference(lm: LM, weights: Weights) -> Stream:
  """The policy that all of them started from."""
  return streams.policy(lm, weights.reference)


def classified(lm: LM, weights: Weights) -> Stream:
  """What the classifier says of the response so far: log-probabilities of its return."""
  assert weights.critic is not None
  read = functools.partial(heads.outcome_logp, weights.critic)
  return streams.of_model(lm, weights.critic['trunk'], read)


def by_classifier(gain: guidance.Gain, lm: LM, weights: Weights) -> Stream:
  """The reference, guided by the classifier."""
  return guidance.guided_by_values(
    reference(lm, weights), classified(lm, weights), gain, candidates=LIKELY, tail='kept'
  )


def one_ahead(lm: LM, weights: Weights) -> Stream:
  """As `by_classifier` of Q-sharp, and the classifier is asked one token of the reference later."""
  gain = guidance.q_sharp(**RETURNS, kappa=KAPPA)
  gains = streams.mapped(classified(lm, weights), gain)
  base = reference(lm, weights)
  later = guidance.backed_up(base, gains, candidates=AHEAD, eos_id=EOS)
  return guidance.guided_by_values(base, later, lambda x: x, candidates=LIKELY, tail='kept')


def by_ilql(lm: LM, weights: Weights) -> Stream:
  """The cloned policy, steered by ILQL's heads."""
  assert weights.critic is not None
  read = functools.partial(guidance.ilql, weights.critic, beta=BETA)
  gains = streams.of_model(lm, weights.critic['trunk'], read)
  return guidance.guided(alone(lm, weights), gains, candidates=LIKELY, tail='kept')


def mean_return(lm: LM, weights: Weights) -> Stream:
  """The return that the classifier expects of the response so far."""
  return streams.mapped(classified(lm, weights), functools.partial(guidance.expected, **RETURNS))


def sampled(says: Says) -> Callable[[Policy, int], Decode]:
  """One response to each problem, at temperature 1."""

  def make(policy: Policy, columns: int) -> Decode:
    generate = make_sampler(
      functools.partial(says, policy.lm),
      sampling=Sampling(),
      group_size=1,
      max_new_tokens=columns,
      eos_id=policy.eos_id,
    )

    def decode(weights: Weights, prompts: Array, valid: Array, key: Array) -> Answers:
      found = jax.device_get(generate(weights, prompts, valid, key))
      return found.tokens, found.length, found.finished

    return decode

  return make


def searched(policy: Policy, columns: int) -> Decode:
  """A step of all but the goal and the end, and one of the rest: each the best of eight.

  The steps are the reference's own, from its nucleus; the classifier ranks them by the return.
  """
  search = make_search(
    functools.partial(reference, policy.lm),
    functools.partial(mean_return, policy.lm),
    sampling=Sampling(top_p=NUCLEUS),
    steps=2,
    step_tokens=columns - 2,
    stops=(),
    eos_id=policy.eos_id,
    **BEAM,
  )

  def decode(weights: Weights, prompts: Array, valid: Array, key: Array) -> Answers:
    found = jax.device_get(search(weights, prompts, valid, key))
    return found.tokens[:, 0], found.length[:, 0], found.finished[:, 0]

  return decode


Q_SHARP = sampled(functools.partial(by_classifier, guidance.q_sharp(**RETURNS, kappa=KAPPA)))
CONTROLLED = sampled(functools.partial(by_classifier, guidance.controlled(**RETURNS, kappa=KAPPA)))
SAME = 'same classifier as Q-sharp, Bernoulli'
LINES = {
  'reference': Line('reference', sampled(alone), '1/d'),
  'REINFORCE': Line('reinforce', sampled(alone), '1/d'),
  'DPO': Line('dpo', sampled(alone), 'about 0'),
  'RPO': Line('rpo', sampled(alone), '1/d'),
  'controlled decoding': Line('q_sharp', CONTROLLED, 'about 1', SAME),
  'Q-sharp, Bernoulli': Line('q_sharp', Q_SHARP, 'about 1'),
  'Q-sharp, one token ahead': Line('q_sharp', sampled(one_ahead), None, f'{SAME}, asked later'),
  'Q-sharp, 11 atoms': Line('q_sharp_atoms', Q_SHARP, None),
  'step beam by values': Line('q_sharp', searched, None, f'{SAME}; the best of 8 beginnings'),
  f'ILQL, beta {BETA:g}': Line('ilql', sampled(by_ilql), None),
  'soft_q': Line('soft_q', sampled(alone), None),
}
SHORT_SIGHTED = 'the classifier sees one edge ahead; the first choice needs two'
REMARKS = {  # why what was found is not what is published
  ('G(2, 4)', 'controlled decoding'): f'{SAME}; {SHORT_SIGHTED}',
  ('G(2, 4)', 'Q-sharp, Bernoulli'): SHORT_SIGHTED,
  ('G(2, 4)', 'DPO'): 'wrong samples break off at the last edge, and it learns to tell that edge',
  ('G(2, 3)', 'reference'): 'continues that of G(2, 4); its choice is one edge back',
}


# --- training and asking --------------------------------------------------------------------------


def build_table(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains and asks what is missing, size by size and seed by seed."""
  rows, gates = [], []
  for size in SIZES[preset]:
    found = []
    for seed in range(SEEDS[preset]):
      found += measured(size, seed, workdir)
    rows += [{'graph': size.name, **row} for row in merged(size, found)]
    gates += [] if preset == 'smoke' else make_gates(size, found)
  return tables.Table(COLUMNS, rows, NOTE, gates)


def merged(size: Size, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """A row a policy, in the order of LINES."""
  rows = {r['policy']: r for r in tables.over_seeds(found, by=('policy',), measured=MEASURED)}
  told = {
    name: {'published': line.published, 'remark': REMARKS.get((size.name, name), line.remark)}
    for name, line in LINES.items()
  }
  return [{**rows[name], **told[name]} for name in LINES if name in rows]


def make_gates(size: Size, found: list[dict[str, Any]]) -> list[tables.Gate]:
  """What is published, as far as it was trained here."""
  right = {
    name: float(np.mean([row['right'] for row in found if row['policy'] == name]))
    for name in {row['policy'] for row in found}
  }
  gates = []
  for name in ('reference', 'REINFORCE'):
    holds = abs(right[name] - 1 / size.graph[0]) < 0.1
    gates.append(tables.Gate(f'{size.name}: {name} is right on 1/d of the problems, ±.1', holds))
  for name in size.gated:
    what = f'{size.name}: {name} is right on more than .9 of the problems'
    gates.append(tables.Gate(what, right[name] > 0.9))
  return gates


def measured(size: Size, seed: int, workdir: pathlib.Path) -> list[dict[str, Any]]:
  """All policies of one seed."""
  rows, folder = [], folder_of(size.graph, seed, workdir)
  for objective, steps in size.steps.items():
    settings = {**size._asdict(), 'steps': steps, 'gated': None, 'seed': seed}
    settings |= {'kappa': KAPPA, 'beta': BETA}
    compute = functools.partial(train_and_ask, objective, size, seed, workdir)
    rows += tables.stored(folder / f'{objective}.json', settings, compute)['rows']
  return rows


def folder_of(graph: Sequence[int], seed: int, workdir: pathlib.Path) -> pathlib.Path:
  """Where all of a graph and seed is."""
  return workdir / f'{graph[0]}_{graph[1]}_{seed}'


def train_and_ask(objective: str, size: Size, seed: int, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains one objective and lets everything answer that decodes with its weights."""
  config = make_config(objective, size, seed, workdir)
  folder = folder_of(size.graph, seed, workdir)
  run = make_run(objective, config, folder)
  began = time.perf_counter()
  state = run.train()
  took = {'minutes': (time.perf_counter() - began) / 60}  # of the call that trained it to its end
  minutes = tables.stored(folder / objective / 'minutes.json', {}, lambda: took)['minutes']
  critic = state.critic and state.critic.params
  weights = Weights(state.params, run.policy.params, critic)
  if objective == 'reference':
    sample_reference(size, seed, workdir)
  lines = {name: line for name, line in LINES.items() if line.objective == objective}
  return {
    'rows': [
      {'policy': name, 'minutes': minutes, **ask(line, config, size, run.policy, weights)}
      for name, line in lines.items()
    ]
  }


def make_run(objective: str, config: ml_collections.ConfigDict, folder: pathlib.Path) -> Run:
  """Demonstrations for the reference, fresh samples for REINFORCE, the file for the others."""
  start = {'reference': build.demonstration_run, 'reinforce': build.rollout_run}
  return start.get(objective, build.offline_run)(config, folder / objective)


def sample_reference(size: Size, seed: int, workdir: pathlib.Path) -> None:
  """Writes the reference's own graded responses to problems that it was not trained on."""
  config = make_config('samples', size, seed, workdir)
  config.batch.prompts = min(EPOCH, size.problems)
  batches = size.problems // config.batch.prompts
  folder = folder_of(size.graph, seed, workdir)
  rows = build.sampled_rows(config, folder / 'reference', batches=batches)
  offline.write_examples(folder / 'samples.jsonl', rows)


def make_config(
  objective: str, size: Size, seed: int, workdir: pathlib.Path
) -> ml_collections.ConfigDict:
  """A variant of configs/star_graph.py at this size."""
  from configs import star_graph

  config = star_graph.get_config(objective)
  (degree, length, labels), (layers, width) = size.graph, size.model
  config.star_graph.update(degree=degree, length=length, labels=labels, size=size.problems)
  config.model.update(num_layers=layers, d_model=width, head_dim=width // 4, d_ff=2 * width)
  config.batch.update(prompts=size.prompts, max_new_tokens=length + 1)
  config.update(seed=seed, steps=size.steps.get(objective, 1))
  if objective == 'reference':
    config.batch.prompts = 2 * size.prompts
    if size.after:
      config.init = str(folder_of(size.after, seed, workdir) / 'reference' / 'model')
    return config
  folder = folder_of(size.graph, seed, workdir)
  config.init = str(folder / 'reference' / 'model')
  if objective not in ('samples', 'reinforce'):
    config.offline.path = str(folder / 'samples.jsonl')
  return config


def ask(
  line: Line, config: ml_collections.ConfigDict, size: Size, policy: Policy, weights: Weights
) -> dict[str, float]:
  """Shares of the test problems with the right path, and with its first and its last step."""
  config = config.copy_and_resolve_references()
  config.star_graph.size = size.tests
  reader = build.make_reader(config, policy, split='test')
  problems = [reader.task[i] for i in range(size.tests)]
  decode = line.decode(policy, config.batch.max_new_tokens)
  prompts, valid = map(jnp.asarray, reader.padded(reader.prompts(problems)))
  with jax.set_mesh(policy.mesh):
    answers = decode(weights, prompts, valid, jax.random.key(config.seed))
  graded = reader.grade(problems, *answers)
  pairs = list(zip(problems, graded.texts, strict=True))
  return {
    'right': float(graded.rewards.mean()),
    'neighbour': float(np.mean([t[:2] in {path[:2] for path in p.data} for p, t in pairs])),
    'goal': float(np.mean([text[-1:] == problem.answer[-1] for problem, text in pairs])),
  }


NOTE = (
  'Shares of the test problems: right, the path to the goal; neighbour, begins with an edge from '
  'the centre; goal, ends at the goal. Published: of G(2, 5), G(5, 5), G(3, 8), G(2, 20) by GPT-2, '
  '50 labels, 200,000 + 200,000 problems (a bar chart), out of reach of two CPU cores: cpu has 3 '
  'layers of width 64, 12 labels, 10,000 + 10,000 problems. Minutes: of training, in the call that '
  'ended it. Mean ± standard deviation over seeds.'
)


if __name__ == '__main__':
  tables.script('star_graph', build_table, presets=('smoke', 'cpu', 'h200'))

"""Batches: sampled from the policy and graded, replayed, or demonstrations.

What a step gets is a function of its number, the seed, the parameters and of what is remembered:
the ring of replay, the counts of answers.

Shapes: N prompts a step, G samples a prompt, B = N G rows.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from maxent_lm import data, hosts
from maxent_lm import replay as ring
from maxent_lm.data import Graded, Reader
from maxent_lm.lm import partition
from maxent_lm.replay import Group, Replay
from maxent_lm.sampling.generate import Generate, Rollout
from maxent_lm.tasks.base import Problem, Undecided, draw_indices, undecided
from maxent_lm.train import counts
from maxent_lm.train.counts import Counts
from maxent_lm.train.look import Fresh, Named
from maxent_lm.train.state import TrainState
from maxent_lm.types import Batch

SHOWN = 4  # problems a step whose responses are kept for people to read


class Collected(NamedTuple):
  """One step's batch (on the device), the numbers measured on it, and a few samples.

  `fresh`: what was sampled for this step, with which the batch begins; None where nothing was.
  """

  batch: Batch
  metrics: dict[str, float]
  samples: list[dict[str, Any]]
  fresh: Fresh | None = None


@dataclasses.dataclass(frozen=True)
class Demonstrations:
  """Correct responses drawn at random by the task: the supervised warm start."""

  reader: Reader
  batch_size: int
  max_new_tokens: int
  seed: int
  sharding: jax.sharding.Sharding

  def __call__(self, step: int, state: TrainState) -> Collected:
    """B demonstrations, each ending in EOS; reward 1, behaviour log-probability 0.

    Longer ones are cut at `max_new_tokens` (the share is reported): a prefix is still a
    demonstration of its own tokens.
    """
    del state
    task = self.reader.task
    rng = np.random.default_rng((self.seed, step))
    problems = [task[i] for i in draw_indices(task, step, self.batch_size, self.seed)]
    texts = [task.demonstration(problem, rng) for problem in problems]
    encoded = self.reader.tokenizer(texts, add_special_tokens=False)['input_ids']
    whole = [[*ids, self.reader.eos_id] for ids in encoded]
    responses = [ids[: self.max_new_tokens] for ids in whole]
    prompts = self.reader.prompts(problems)
    sequences = data.Sequences.unweighted(prompts, responses, reward=1.0)
    columns = self.reader.columns(prompts, self.max_new_tokens)
    batch = data.make_batch(sequences, columns=columns, sharding=self.sharding)
    cut = float(np.mean([len(ids) > self.max_new_tokens for ids in whole]))
    shown = zip(problems[:SHOWN], texts, strict=False)
    samples = [{'prompt': problem.prompt, 'response': text} for problem, text in shown]
    return Collected(batch, {'cut': cut}, samples)


class Sampled(NamedTuple):
  """Fresh groups with their names, numbers measured on all that was sampled, a few samples."""

  groups: list[Group]
  names: list[Named]
  metrics: dict[str, float]
  samples: list[dict[str, Any]]

  @property
  def fresh(self) -> Fresh:
    """The groups with their names alone."""
    return Fresh(self.groups, self.names)


Sample = Callable[[int, TrainState], Sampled]


class Questions(NamedTuple):
  """The problems of a step, or of a round of it, with the tokens of their prompts."""

  problems: list[Problem]
  prompts: list[list[int]]


class Answers(NamedTuple):
  """Responses on the host, not graded yet; see `Rollout`."""

  tokens: np.ndarray
  length: np.ndarray
  finished: np.ndarray
  logp: np.ndarray


def fetch(rollout: Rollout) -> Answers:
  """Waits for the device."""
  return Answers(*hosts.fetch((rollout.tokens, rollout.length, rollout.finished, rollout.logp)))


@dataclasses.dataclass(frozen=True)
class Rollouts:
  """Samples of the current policy, graded by the task.

  With `rounds` > 1 a step goes on sampling N further problems until it has N informative groups,
  those with 0 < accuracy < 1, or has done all rounds; then groups that are not fill up the batch.
  Round r of step s is number n = s rounds + r of the stream of problems, and of the keys: rounds
  that are not needed leave out their problems. [Yu et al. 2025, DAPO, dynamic sampling]
  """

  reader: Reader
  generate: Generate
  prompts_per_step: int
  group_size: int
  max_new_tokens: int
  bootstrap: bool
  seed: int
  sharding: jax.sharding.Sharding
  rounds: int = 1

  def __call__(self, step: int, state: TrainState) -> Collected:
    """N problems x G samples, with their rewards, semantic classes and behaviour log-probs."""
    sampled = self.sample(step, state)
    batch = self.batch(sampled.groups)
    return Collected(batch, sampled.metrics, sampled.samples, sampled.fresh)

  def sample(self, step: int, state: TrainState) -> Sampled:
    """The step's groups, on the host. The metrics are means over every round."""
    drawn: list[Sampled] = []
    useful: list[bool] = []
    while len(drawn) < self.rounds and sum(useful) < self.prompts_per_step:
      number = step * self.rounds + len(drawn)
      questions = self.questions(number)
      drawn.append(self.grade(questions, fetch(self.ask(questions, number, state))))
      useful += map(informative, drawn[-1].groups)
    order = np.argsort(~np.array(useful), kind='stable')[: self.prompts_per_step]
    groups = [group for each in drawn for group in each.groups]
    names = [name for each in drawn for name in each.names]
    metrics = {
      name: float(np.mean([each.metrics[name] for each in drawn])) for name in drawn[0].metrics
    }
    if self.rounds > 1:
      metrics |= {'sampled': len(useful), 'informative': float(np.mean(useful))}
    return Sampled([groups[i] for i in order], [names[i] for i in order], metrics, drawn[0].samples)

  def questions(self, number: int) -> Questions:
    """Slice `number` of the stream of problems."""
    task = self.reader.task
    step = number // self.rounds
    indices = draw_indices(task, number, self.prompts_per_step, self.seed, step=step)
    problems = [task[i] for i in indices]
    return Questions(problems, self.reader.prompts(problems))

  def ask(self, questions: Questions, number: int, state: TrainState) -> Rollout:
    """The policy's responses, with key `number`; on the device, which need not have them yet."""
    padded = self.reader.padded(questions.prompts)
    placed = [partition.place(each, self.sharding) for each in padded]
    key = jax.random.fold_in(state.key, number)
    return self.generate(state.params, *placed, key, state.sampler.value)

  def grade(self, questions: Questions, answers: Answers) -> Sampled:
    """The groups, with what the task says of each response."""
    task, (problems, prompts) = self.reader.task, questions
    rows = [problem for problem in problems for _ in range(self.group_size)]
    graded = self.reader.grade(rows, answers.tokens, answers.length, answers.finished)
    groups = self._groups(prompts, answers, graded)
    classes = np.array(graded.classes, object).reshape(-1, self.group_size).tolist()
    names = [Named(problem.id, each) for problem, each in zip(problems, classes, strict=True)]
    metrics = _measure(graded, answers, self.group_size)
    if isinstance(task, Undecided):  # the share of answers that could not be compared
      whole = list(zip(rows, graded.texts, graded.finished.tolist(), strict=True))
      verdicts = hosts.share(whole, lambda part: [bool(undecided(task, *each)) for each in part])
      metrics['undecided'] = float(np.mean(verdicts))
    return Sampled(groups, names, metrics, _samples(rows, graded))

  def demonstrate(self, step: int, count: int) -> list[Group]:
    """`count` groups of correct responses drawn by the task: reward 1, behaviour log-prob 0."""
    task = self.reader.task
    rng = np.random.default_rng([self.seed, step, 1])
    problems = [task[i] for i in draw_indices(task, step, count, self.seed)]
    return [self._demonstrations(problem, rng) for problem in problems]

  def batch(self, groups: Sequence[Group]) -> Batch:
    """The groups' rows, in order, on the device."""
    prompts = [list(group.prompt) for group in groups for _ in group.responses]
    sequences = data.Sequences(
      prompts=prompts,
      responses=[response for group in groups for response in group.responses],
      logp=[logp for group in groups for logp in group.logp],
      reward=np.concatenate([group.reward for group in groups]),
      group=np.repeat(np.arange(len(groups)), self.group_size),
      cluster=np.concatenate([group.cluster for group in groups]),
      bootstrap=np.concatenate([group.bootstrap for group in groups]),
    )
    columns = self.reader.columns(prompts, self.max_new_tokens)
    return data.make_batch(sequences, columns=columns, sharding=self.sharding)

  def _groups(self, prompts: list[list[int]], answers: Answers, graded: Graded) -> list[Group]:
    """A row of unknown reward is left empty: it counts nowhere, and is not wrong."""
    group = np.repeat(np.arange(len(prompts)), self.group_size)
    cluster = data.number_classes(graded.classes, group)
    known = ~np.isnan(graded.rewards)
    responses = [ids if ok else [] for ids, ok in zip(graded.tokens, known, strict=True)]
    logp = [row[: len(ids)] for row, ids in zip(answers.logp, responses, strict=True)]
    reward = np.where(known, graded.rewards, 0)
    groups = []
    for number, prompt in enumerate(prompts):
      rows = slice(number * self.group_size, (number + 1) * self.group_size)
      groups.append(
        Group(
          prompt=prompt,
          responses=responses[rows],
          logp=logp[rows],
          reward=reward[rows],
          cluster=cluster[rows],
          bootstrap=~graded.finished[rows] & known[rows] & self.bootstrap,
        )
      )
    return groups

  def _demonstrations(self, problem: Problem, rng: np.random.Generator) -> Group:
    texts = [self.reader.task.demonstration(problem, rng) for _ in range(self.group_size)]
    encoded = self.reader.tokenizer(texts, add_special_tokens=False)['input_ids']
    responses = [[*ids, self.reader.eos_id][: self.max_new_tokens] for ids in encoded]
    classes = [self.reader.task.cluster(problem, text) for text in texts]
    return Group(
      prompt=self.reader.prompts([problem])[0],
      responses=responses,
      logp=[np.zeros(len(response), np.float32) for response in responses],
      reward=np.ones(self.group_size, np.float32),
      cluster=data.number_classes(classes, np.zeros(self.group_size, np.int32)),
      bootstrap=np.zeros(self.group_size, bool),
      demonstration=True,
    )


def informative(group: Group) -> bool:
  """0 < accuracy < 1: some rewards are 1 and some are not, of the responses that are not empty."""
  right = group.reward[[bool(response) for response in group.responses]] == 1
  return bool(right.any() and not right.all())


class Remembers(Protocol):
  """A collector with a memory; its `memory` is part of a checkpoint."""

  memory: Any  # a NamedTuple of host arrays


@dataclasses.dataclass
class Counted:
  """`rollouts` whose rewards have a bonus for answers that the run has seen seldom.

  reward + coefficient / sqrt(n), n how often the pair (problem, class) was in a step's groups so
  far, this step's included; right and wrong answers alike. The metrics of the step are those of the
  task's rewards. What replay keeps has the bonus of the step in which it was sampled, and what the
  update observes itself (controllers, steps that only replay) is the reward with the bonus.

  Attributes:
    fresh: fresh groups, of the rollouts or of `ahead.Ahead` ones.
    memory: the counts as they are now; part of a checkpoint.
  """

  rollouts: Rollouts
  fresh: Sample
  coefficient: float
  memory: Counts

  def __call__(self, step: int, state: TrainState) -> Collected:
    """The step's batch, as `Rollouts` makes it; `memory` has its answers afterwards."""
    sampled = self.sample(step, state)
    batch = self.rollouts.batch(sampled.groups)
    return Collected(batch, sampled.metrics, sampled.samples, sampled.fresh)

  def sample(self, step: int, state: TrainState) -> Sampled:
    """The step's groups with their bonuses."""
    sampled = self.fresh(step, state)
    for name in sampled.names:
      self.memory = counts.see(self.memory, name.problem, name.classes)
    groups = [
      group._replace(reward=group.reward + self._bonus(name))
      for group, name in zip(sampled.groups, sampled.names, strict=True)
    ]
    added = float(np.mean([self._bonus(name) for name in sampled.names]))
    return sampled._replace(groups=groups, metrics={**sampled.metrics, 'count_novelty': added})

  def _bonus(self, name: Named) -> np.ndarray:
    seen = counts.look(self.memory, name.problem, name.classes)
    return counts.bonus(seen, coefficient=self.coefficient)


@dataclasses.dataclass
class Mixed:
  """Fresh samples, replayed groups and demonstrations in one batch, in constant numbers.

  Every `every` steps the policy is sampled from, the groups enter the ring, and the batch is those,
  `drawn` groups of the ring, and `demonstrations` groups of the task. In the steps between, groups
  of the ring take the place of the fresh ones. With every = 2 and drawn = 0 this is one on-policy
  and one replayed update a rollout [Wang et al. 2026, ReVal].

  Numbers that are not finite do not enter the ring: the update that meets them is skipped, and no
  later one is to meet them again.

  Attributes:
    sample: fresh groups, of the rollouts, of `ahead.Ahead` or of `Counted` ones.
    memory: the ring as it is now; part of a checkpoint.
  """

  rollouts: Rollouts
  sample: Sample
  memory: Replay
  priority: Callable[[Group], float]
  exponent: float
  drawn: int
  demonstrations: int
  every: int

  def __call__(self, step: int, state: TrainState) -> Collected:
    """The step's batch; `memory` has the fresh groups afterwards."""
    fresh = Sampled([], [], {}, [])
    if step % self.every == 0:
      fresh = self.sample(step, state)
      kept = [ring.without_poison(group) for group in fresh.groups]
      priority = [self.priority(group) for group in kept]
      self.memory = ring.add(self.memory, kept, step=step, priority=priority)
    count = self.rollouts.prompts_per_step - len(fresh.groups) + self.drawn
    seed = self.rollouts.seed
    slots = ring.draw(self.memory, count, exponent=self.exponent, seed=seed, step=step)
    groups = [*fresh.groups, *ring.take(self.memory, slots)]
    if self.demonstrations:
      groups += self.rollouts.demonstrate(step, self.demonstrations)
    metrics = {
      **fresh.metrics,
      **ring.staleness(self.memory, slots, step=step),
      'replayed': len(slots) / len(groups),
    }
    return Collected(self.rollouts.batch(groups), metrics, fresh.samples, fresh.fresh)


def _measure(graded: Graded, answers: Answers, group_size: int) -> dict[str, float]:
  """Means over the batch; `distinct` counts different correct classes in a group.

  `faults` is the share of the rows whose reward is unknown; rewards are about the others, and
  `solved` and `distinct` about the groups that have others.
  """
  correct = graded.rewards == 1
  known = ~np.isnan(graded.rewards)
  rows = max(known.sum(), 1)
  told = known.reshape(-1, group_size).any(axis=1)
  groups = max(told.sum(), 1)
  classes = np.where(correct, [mode or '' for mode in graded.classes], '').reshape(-1, group_size)
  return {
    'reward': float(graded.rewards[known].sum(dtype=np.float64) / rows),
    'success': float(correct.sum() / rows),
    'solved': float(correct.reshape(-1, group_size).any(axis=1).sum() / groups),
    'distinct': float(sum(len(set(names) - {''}) for names in classes) / groups),
    'finished': float(graded.finished.mean()),
    'length': float(np.mean(answers.length)),
    'faults': float(1 - known.mean()),
  }


def _samples(problems: Sequence[Problem], graded: Graded) -> list[dict[str, Any]]:
  """Every so many rows, to be read; a reward that is unknown or infinite is None, as in JSON."""
  stride = max(1, len(problems) // SHOWN)
  rewards = [float(reward) if np.isfinite(reward) else None for reward in graded.rewards]
  return [
    {
      'prompt': problems[row].prompt,
      'response': graded.texts[row],
      'reward': rewards[row],
      'class': graded.classes[row],
      'finished': bool(graded.finished[row]),
    }
    for row in range(0, len(problems), stride)
  ]

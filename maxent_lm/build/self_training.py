"""Self-training: rounds of sampling, filtering and supervised training on what was kept.

  workdir/start/                    the policy before the first round
  workdir/rounds.jsonl              one row a round; round 0 is the start
  workdir/rounds/001/kept.jsonl     what the round learns from, made once
  workdir/rounds/001/sampled.json   numbers of all that was sampled
  workdir/rounds/001/train/         its run folder, with the policy after it in model/
  workdir/rounds/001/row.json       its row: the round is finished

Every file appears whole or not at all, and all that is drawn is a function of (seed, round): a
killed loop goes on where it was.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import jax
import numpy as np
import tqdm

from maxent_lm import data, hosts
from maxent_lm.build.checks import check_rows, check_sampler_is_plain
from maxent_lm.build.names import Config, choose
from maxent_lm.build.policy import Policy, make_policy
from maxent_lm.build.reader import make_reader
from maxent_lm.build.run import (
  example_run,
  make_evaluation,
  make_sampler,
)
from maxent_lm.data import Reader
from maxent_lm.evaluation import Evaluation, coverage, pass_at_k
from maxent_lm.lm import partition, pretrained
from maxent_lm.sampling.generate import Generate
from maxent_lm.sampling.policies import Sampling
from maxent_lm.soft import semantic
from maxent_lm.tasks.base import Problem, fingerprint
from maxent_lm.tasks.code_answers import weakest_tier
from maxent_lm.tasks.tfds import jsonl
from maxent_lm.train import folder, signals
from maxent_lm.train.rounds import (
  FILTERS,
  Example,
  Filter,
  Response,
  chain,
)
from maxent_lm.types import Params

Row = dict[str, Any]
FROM = ('start', 'current')  # config.self_training.continue_from


class NothingKept(ValueError):
  """A round has no response to learn from."""


@dataclasses.dataclass(frozen=True)
class SelfTraining:
  """A loop brought to life; `rounds()` runs it, or what is left of it.

  Attributes:
    policy: the start, and how every round's policy is read.
    reader: training problems.
    generate: K samples a problem.
    keep: which responses are learned from.
    evaluation: on the test split.
  """

  config: Config
  workdir: pathlib.Path
  policy: Policy
  reader: Reader
  generate: Generate
  keep: Filter
  evaluation: Evaluation

  def rounds(self) -> Iterator[Row]:
    """The row of every round, round 0 first, as soon as it is finished.

    Raises:
      NothingKept: a round has nothing to learn from.
      hosts.Stopped: a signal has asked for it.
    """
    rows: list[Row] = []
    for number in range(self.config.self_training.rounds + 1):
      path = self._path(number) / 'row.json'
      if not path.exists():
        row = self._start() if number == 0 else self._round(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.write_json(path, {'round': number, **row})
      rows.append(folder.read_json(path))
      folder.write_lines(self.workdir / 'rounds.jsonl', rows)
      yield rows[-1]

  def _path(self, number: int) -> pathlib.Path:
    return self.workdir / 'rounds' / f'{number:03d}'

  def model(self, number: int) -> pathlib.Path:
    """The Hugging Face folder of the policy after round `number`."""
    return self.workdir / 'start' if number == 0 else self._path(number) / 'train' / 'model'

  def _params(self, number: int) -> Params:
    shardings = partition.param_shardings(self.policy.lm.abstract_params(), self.policy.mesh)
    return pretrained.load_params(self.model(number), self.policy.lm.config, shardings)

  def _start(self) -> Row:
    return {'kept': 0, 'covered': 0, **self.evaluation(self.policy.params, self.policy.params)}

  def _round(self, number: int) -> Row:
    """Samples, unless that is done; trains from the newest checkpoint; evaluates."""
    path = self._path(number)
    if not (path / 'kept.jsonl').exists():
      self._collect(number, path)
    examples = read_kept(path / 'kept.jsonl')
    source = {'start': 0, 'current': number - 1}[self.config.self_training.continue_from]
    config = self.config.copy_and_resolve_references()
    config.update(init=str(self.model(source)), seed=self.config.seed + number)
    config.name = f'{self.config.name} {number}'
    state = example_run(config, path / 'train', examples).train()
    sampled = folder.read_json(path / 'sampled.json')
    return {**sampled, **self.evaluation(state.params, self.policy.params)}

  def _collect(self, number: int, path: pathlib.Path) -> None:
    """Writes what the policy before round `number` answered and what is kept of it."""
    responses = self.sample(self._params(number - 1), number)
    kept = self.keep([each for each in responses if not math.isnan(each.reward)])
    if not kept:
      raise NothingKept(
        f'{path}: none of {len(responses)} responses was kept; start from a policy that solves '
        'some problems, or loosen config.self_training.filters'
      )
    path.mkdir(parents=True, exist_ok=True)
    folder.write_json(path / 'sampled.json', self._measure(responses, kept))
    folder.write_lines(path / 'kept.jsonl', map(_line, kept))

  def sample(self, params: Params, number: int) -> list[Response]:
    """K responses to every problem of the round, then K with a hint where none was correct."""
    section, task = self.config.self_training, self.reader.task
    problems = [task[i] for i in range(min(section.problems or len(task), len(task)))]
    key = jax.random.fold_in(jax.random.key(self.config.seed), number)
    first, second = jax.random.split(key)
    responses = self._answers(params, problems, '{prompt}', first)
    if section.hint:
      solved = {response.problem for response in responses if response.reward == 1}
      failed = [each for each in problems if each.id not in solved and each.answer]
      responses += self._answers(params, failed, section.hint, second)
    return responses

  def _answers(
    self, params: Params, problems: Sequence[Problem], template: str, key: jax.Array
  ) -> list[Response]:
    """K responses to each problem, its prompt shown as the template has it."""
    size, responses = self.config.self_training.prompts, []
    hinted = template != '{prompt}'
    with jax.set_mesh(self.policy.mesh):
      label = 'sample with hints' if hinted else 'sample'
      for at in tqdm.trange(0, len(problems), size, desc=label, unit='batch'):
        if signals.stopping(at):  # what is sampled is not kept before all of it is
          raise hosts.Stopped('stopped while sampling; the same command samples this round again')
        batch = problems[at : at + size]
        full = [*batch, *[batch[-1]] * (size - len(batch))]  # one shape, one compilation
        answers = self._batch(params, full, template, jax.random.fold_in(key, at))
        count = len(batch) * self.config.self_training.samples
        responses += [each._replace(hinted=hinted) for each in answers[:count]]
    return responses

  def _batch(
    self, params: Params, problems: Sequence[Problem], template: str, key: jax.Array
  ) -> list[Response]:
    count, reader = self.config.self_training.samples, self.reader
    prompts = reader.prompts(problems)
    shown = reader.prompts([_hinted(problem, template) for problem in problems])
    placed = jax.device_put(reader.padded(shown), partition.batch_sharding(self.policy.mesh))
    rollout = jax.device_get(self.generate(params, *placed, key))
    owners = [number for number in range(len(problems)) for _ in range(count)]
    rows = [problems[owner] for owner in owners]
    graded = reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)
    group = np.array(owners)
    cluster = data.number_classes(graded.classes, group)
    classes = semantic.classes(cluster, group, np.ones(len(rows), bool), missing='shared')
    spread = np.asarray(semantic.discrete(classes))
    entropy = rollout.entropy.sum(axis=1) / rollout.length
    return [
      Response(
        problem=problem.id,
        prompt=problem.prompt,
        text=graded.texts[row],
        example=Example(prompts[owners[row]], graded.tokens[row]),
        reward=float(graded.rewards[row]),
        kind=graded.classes[row],
        entropy=float(entropy[row]),
        semantic_entropy=float(spread[row]),
        hinted=False,
      )
      for row, problem in enumerate(rows)
    ]

  def _measure(self, responses: Sequence[Response], kept: Sequence[Response]) -> Row:
    """What was kept, and accuracy and coverage of the samples that saw no hint.

    Problems with a response of unknown reward are left out of the accuracy; `faults` counts those.
    """
    k, own = self.config.self_training.samples, [each for each in responses if not each.hinted]
    sampled = [own[at : at + k] for at in range(0, len(own), k)]
    unknown = [sum(math.isnan(each.reward) for each in group) for group in sampled]
    groups = [group for group, faults in zip(sampled, unknown, strict=True) if not faults]
    right = [[each for each in group if each.reward == 1] for group in groups]
    correct = np.array([len(group) for group in right])
    row = {
      'kept': len(kept),
      'covered': len({each.problem for each in kept}),
      'hinted': sum(each.hinted for each in kept),
      'problems_sampled': len(sampled),
      'faults': sum(unknown),
      'train_pass@1': pass_at_k(correct, samples=k, k=1).mean(),
      f'train_pass@{k}': pass_at_k(correct, samples=k, k=k).mean(),
      'train_entropy': np.mean([each.entropy for each in own]),
    }
    tasks = [self.reader.task[i] for i, faults in enumerate(unknown) if not faults]
    modes = [self.reader.task.modes(problem) for problem in tasks]
    if None not in modes:
      found = np.array([len({each.kind for each in group}) for group in right])
      row[f'train_coverage@{k}'] = coverage(found, np.array(modes), samples=k).mean()
    return {name: float(x) if isinstance(x, np.floating) else x for name, x in row.items()}


def self_training(config: Config, workdir: pathlib.Path) -> SelfTraining:
  """Everything is built and checked before the first file is written.

  Raises:
    ValueError: the folder holds another config, the data files have changed, or a value of
      config.self_training is wrong.
  """
  section = config.self_training
  check_sampler_is_plain(config)
  folder.tell(folder.check_config(workdir, config.to_dict()))
  if min(section.rounds, section.samples, section.prompts) < 1 or section.problems < 0:
    raise ValueError(
      'config.self_training: rounds, samples and prompts start at 1, problems at 0 (all)'
    )
  choose('config.self_training.continue_from', section.continue_from, dict.fromkeys(FROM))
  keep = make_filter(config)
  policy = make_policy(config, workdir)
  check_rows('config.self_training.prompts', section.prompts, policy.mesh)
  check_rows('config.batch.prompts', config.batch.prompts, policy.mesh)
  reader = make_reader(config, policy, split='train')
  _check_hint(config, policy, reader)
  data, tier = fingerprint(reader.task), weakest_tier(reader.task)
  folder.check_data(workdir, data)
  folder.check_sandbox(workdir, tier)
  sampling = Sampling(**config.sampling)
  loop = SelfTraining(
    config=config,
    workdir=workdir,
    policy=policy,
    reader=reader,
    generate=make_sampler(config, policy, sampling=sampling, group_size=section.samples),
    keep=keep,
    evaluation=make_evaluation(config, policy),
  )
  folder.record(workdir, config.to_dict(), data, tier)
  folder.make_once(workdir / 'start', lambda path: policy.save(path, policy.params))
  return loop


def make_filter(config: Config) -> Filter:
  """The filters of `config.self_training.filters`, one after the other, tried on nothing."""
  section = config.self_training
  keep = chain(
    *(
      functools.partial(
        choose('config.self_training.filters', name, FILTERS), **section.get(name, {})
      )
      for name in section.filters
    )
  )
  keep([])
  return keep


def _check_hint(config: Config, policy: Policy, reader: Reader) -> None:
  """The template has its two places, and what it makes fits into the model."""
  template, task = config.self_training.hint, reader.task
  if not template:
    return
  if not all(place in template for place in ('{answer}', '{prompt}')):
    raise ValueError(
      f"config.self_training.hint={template!r} must hold {{answer}} and {{prompt}}; '' is no hint"
    )
  shown = reader.prompts([_hinted(task[i], template) for i in range(len(task))])
  needed = reader.padded(shown)[0].shape[1] + config.batch.max_new_tokens
  if needed > policy.lm.config.max_length:
    raise ValueError(
      f'config.self_training.hint makes prompts that need {needed} positions with the response, '
      f'but the model has {policy.lm.config.max_length}; shorten it'
    )


def _hinted(problem: Problem, template: str) -> Problem:
  """The problem with its prompt in the template; only the two places are replaced."""
  answered = template.replace('{answer}', problem.answer)
  return problem._replace(prompt=answered.replace('{prompt}', problem.prompt))


def _are_tokens(ids: Any) -> TypeGuard[list[int]]:
  return isinstance(ids, list) and all(type(token) is int for token in ids)


def read_kept(path: pathlib.Path) -> list[Example]:
  """What a round learns from; the file was written whole, so a torn line is damage, too."""
  found = []
  for number, row in jsonl.read_objects(str(path)):
    prompt, response = row.get('prompt_tokens'), row.get('response_tokens')
    if not _are_tokens(prompt) or not _are_tokens(response):
      raise ValueError(f"line {number} of '{path}' has no lists of tokens: restore the file")
    found.append(Example(prompt, response))
  return found


def _line(response: Response) -> Row:
  """A response for people, and its tokens for training."""
  row = response._asdict()
  example = row.pop('example')
  return {**row, 'prompt_tokens': example.prompt, 'response_tokens': example.response}

"""Files of graded responses: what they may hold, the batches they give, and runs from them."""

import gzip
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import shrunk

from configs import methods
from maxent_lm import build
from maxent_lm.lm import partition
from maxent_lm.lm.tokenizer import byte_tokenizer
from maxent_lm.tasks import gsm8k
from maxent_lm.train import offline
from maxent_lm.train.metrics import read_metrics

ROOT = pathlib.Path(__file__).parents[2]
PAIR = {'prompt': '1,2=3:', 'chosen': '1+2', 'rejected': '1*2'}
GROUP = {
  'prompt': '2,4=8:',
  'completions': [
    {'text': '2*4', 'reward': 1},
    {'text': '2+4', 'reward': 0},
    {'text': '4*2', 'reward': 1.0},
    {'text': '', 'reward': -0.5},
  ],
}
# Two answers of the published kind, shortened: A right, B wrong.
SOLUTIONS = [
  {
    **{'question_id': 0, 'question': ' How many eggs?', 'system': 'B'},
    **{'solution': 'She has 16 - 3 = <<16-3=13>>13.\nA: 13', 'is_correct': False},
  },
  {'question': 'Other?', 'solution': 'A: 1', 'is_correct': True},
  {
    **{'question_id': 0, 'question': ' How many eggs?', 'system': 'A'},
    **{'solution': '9 * 2 = $<<9*2=18>>18\nA: 18\n', 'is_correct': True},
  },
]


def write(path, rows):
  lines = ''.join(json.dumps(row) + '\n' for row in rows)
  if path.suffix == '.gz':
    path.write_bytes(gzip.compress(lines.encode()))
  else:
    path.write_text(lines)
  return str(path)


def collector(rows, tmp_path, **changes):
  tokenizer = byte_tokenizer()
  examples = offline.read_examples(write(tmp_path / 'rows.jsonl', rows))
  options = {
    **{'prompts_per_step': 2, 'group_size': 2, 'max_new_tokens': 6, 'prompt_multiple': 8},
    **{
      'seed': 3,
      'sharding': partition.batch_sharding(partition.make_mesh(data=1, fsdp=1, tensor=1)),
    },
  }
  encoded = offline.encode_examples(examples, tokenizer, 1)
  return tokenizer, offline.Offline(examples, encoded, **{**options, **changes})


def rows_of(tokenizer, collected):
  """(text before the mask, masked text, return, group) of every row."""
  batch = collected.batch
  tokens, mask = np.asarray(batch.tokens), np.asarray(batch.mask)
  found = []
  for row in range(len(tokens)):
    start = mask[row].argmax() if mask[row].any() else 0
    prompt, response = (tokenizer.decode(x) for x in (tokens[row, :start], tokens[row][mask[row]]))
    found.append((prompt, response, float(batch.reward[row].sum()), int(batch.group[row])))
  return found


@pytest.mark.parametrize('name', ['rows.jsonl', 'rows.jsonl.gz'])
def test_both_forms_are_read(name, tmp_path):
  pair, group = offline.read_examples(write(tmp_path / name, [PAIR, GROUP]))
  assert pair == ('1,2=3:', ['1+2', '1*2'], [1.0, 0.0], 1)
  assert group.texts == ['2*4', '2+4', '4*2', ''] and group.rewards == [1, 0, 1, -0.5]


@pytest.mark.parametrize(
  ('row', 'sentence'),
  [
    ([1], 'is not a JSON object'),
    ({'chosen': 'a', 'rejected': 'b'}, "has no text in 'prompt'"),
    ({**PAIR, 'prompt': ''}, "has no text in 'prompt'"),
    ({'prompt': 'x', 'chosen': 'a'}, "has neither texts in 'chosen' and 'rejected'"),
    ({**PAIR, 'rejected': None}, "has neither texts in 'chosen' and 'rejected'"),
    ({'prompt': 'x', 'completions': []}, "has no list of objects in 'completions'"),
    ({'prompt': 'x', 'completions': [{'reward': 1}]}, "without a text in 'text'"),
    ({'prompt': 'x', 'completions': [{'text': 'a'}]}, "without a finite number in 'reward'"),
    ({'prompt': 'x', 'completions': [{'text': 'a', 'reward': True}]}, 'without a finite number'),
    (
      {'prompt': 'x', 'completions': [{'text': 'a', 'reward': float('nan')}]},
      'without a finite number',
    ),
  ],
)
def test_bad_lines_are_told_with_file_and_line(row, sentence, tmp_path):
  path = write(tmp_path / 'rows.jsonl', [PAIR, row])
  with pytest.raises(ValueError, match=f"line 2 of '.*rows.jsonl' .*{sentence}"):
    offline.read_examples(path)


def test_missing_and_empty_files_are_told(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'set config\.offline\.path to'):
    offline.read_examples(str(tmp_path / 'none.jsonl'))
  with pytest.raises(ValueError, match='has no rows'):
    offline.read_examples(write(tmp_path / 'rows.jsonl', []))


def test_a_batch_holds_whole_groups_with_their_rewards(tmp_path):
  tokenizer, collect = collector([PAIR, GROUP], tmp_path, group_size=3)
  collected = collect(0, None)
  found = rows_of(tokenizer, collected)
  by_prompt = {prompt: [r for r in found if r[0] == prompt] for prompt in ('1,2=3:', '2,4=8:')}
  assert sorted(r[1:3] for r in by_prompt['1,2=3:']) == [('1*2<eos>', 0.0), ('1+2<eos>', 1.0)]
  allowed = {(each['text'] + '<eos>', each['reward']) for each in GROUP['completions']}
  drawn = [r[1:3] for r in by_prompt['2,4=8:']]
  assert len(set(drawn)) == 3 and set(drawn) <= allowed
  assert [r for r in found if not r[0]] == [('', '', 0.0, r[3]) for r in found if not r[0]]
  assert collected.metrics['filled'] == 5 / 6 and collected.metrics['cut'] == 0
  for row in range(2):
    assert len({r[3] for r in found[3 * row : 3 * row + 3]}) == 1
  assert {'prompt', 'response', 'reward'} == collected.samples[0].keys()


def test_a_batch_is_a_function_of_step_and_seed(tmp_path):
  rows = [{**PAIR, 'prompt': f'{n}:'} for n in range(3)] + [GROUP]
  tokenizer, collect = collector(rows, tmp_path)
  first = [rows_of(tokenizer, collect(step, None)) for step in range(4)]
  assert first == [rows_of(tokenizer, collect(step, None)) for step in range(4)]
  assert first[0] != first[1]
  _, other = collector(rows, tmp_path, seed=4)
  assert first != [rows_of(tokenizer, other(step, None)) for step in range(4)]


def test_long_responses_are_cut_and_counted(tmp_path):
  tokenizer, collect = collector([{**PAIR, 'chosen': '1+2+3+4+5'}], tmp_path, prompts_per_step=1)
  collected = collect(0, None)
  assert {r[1] for r in rows_of(tokenizer, collected)} == {'1+2+3+', '1*2<eos>'}
  assert collected.metrics['cut'] == 0.5


def test_solutions_become_groups_in_the_tasks_own_words(tmp_path):
  path = write(tmp_path / 'solutions.jsonl', SOLUTIONS)
  eggs, other = gsm8k.model_solutions(path)
  assert eggs['prompt'] == 'Question: How many eggs?\nAnswer:'
  assert eggs['completions'] == [
    {'text': ' She has 16 - 3 = 13.\n#### 13', 'reward': 0.0},
    {'text': ' 9 * 2 = $18\n#### 18', 'reward': 1.0},
  ]
  assert offline.has_pair(eggs) and not offline.has_pair(other)


def test_the_script_writes_what_a_run_reads(tmp_path):
  write(tmp_path / 'solutions.jsonl', SOLUTIONS)
  command = [sys.executable, 'experiments/make_pairs.py', f'--output={tmp_path / "pairs.jsonl"}']
  told = subprocess.run(
    [*command, f'--solutions={tmp_path / "solutions.jsonl"}'],
    **{'cwd': ROOT, 'capture_output': True, 'text': True, 'check': False},
  )
  assert told.returncode == 0, told.stderr
  assert told.stdout.startswith('1 prompts with pairs')
  assert len(offline.read_examples(str(tmp_path / 'pairs.jsonl'))) == 1


# Runs.


def countdown_pairs():
  """x + y is right, x - y is not, for every pair of digits."""
  return [
    {'prompt': f'{x},{y}={x + y}:', 'chosen': f'{x}+{y}', 'rejected': f'{x}-{y}'}
    for x in range(2, 9)
    for y in range(1, x)
    if x + y < 10
  ]


def test_a_run_from_a_file_learns_its_preferences(tmp_path):
  path = write(tmp_path / 'pairs.jsonl', countdown_pairs())
  config = shrunk(
    methods.get_config('dpo'),
    steps=12,
    offline__path=path,
    batch__prompts=8,
    optimizer__learning_rate=1e-2,
  )
  build.offline_run(config, tmp_path / 'run').train()
  rows = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert rows[0]['margin'] == pytest.approx(0, abs=1e-5)
  assert rows[0]['loss'] == pytest.approx(np.log(2), abs=1e-4)
  assert rows[-1]['margin'] > 0.05 and rows[-1]['accuracy'] == 1 and rows[-1]['paired'] == 1
  assert all(np.isfinite(row['entropy']) for row in rows)


def test_own_samples_become_a_file(tmp_path):
  config = shrunk(methods.get_config('dpo'), steps=1, batch__group_size=4, sampling__top_k=3)
  build.rollout_run(config, tmp_path / 'run').train()
  rows = list(build.sampled_rows(config, tmp_path / 'run', batches=3))
  again = list(build.sampled_rows(config, tmp_path / 'run', batches=3))
  assert rows == again and rows
  offline.write_examples(tmp_path / 'own.jsonl', rows)
  examples = offline.read_examples(str(tmp_path / 'own.jsonl'))
  assert [example.prompt for example in examples] == [row['prompt'] for row in rows]
  assert all('<eos>' not in text for example in examples for text in example.texts)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'algorithm': 'grpo'}, "config.algorithm: 'grpo' needs the log-probabilities of whoever"),
    ({'transforms': ('perplexity_bonus',)}, "config.transforms: 'perplexity_bonus' needs the log"),
    (
      {'transforms': ('importance',), 'importance.estimate': 'surprisal'},
      "config.importance.estimate: 'surprisal' needs the log",
    ),
    ({'guards.alarms': ('mismatch',)}, "config.guards.alarms: 'mismatch' needs the log"),
    (
      {'temperature.beta_control': 'dual', 'beta.dual.observe': 'entropy_mc'},
      "config.temperature.beta_control: 'dual' needs the log",
    ),
    ({'batch.rounds': 2}, 'config.batch.rounds is for samples of the policy'),
    ({'batch.ahead': 1}, 'config.batch.ahead is for samples of the policy'),
    ({'temperature.sampler': 1.2}, 'config.temperature.sampler=1.2 by .fixed. is for experiments'),
    ({'algorithm': 'aot', 'aot.smoothing': 0.5}, 'config.aot.smoothing=0.5 must be from 0'),
    ({'batch.max_prompt_tokens': 1}, 'leaves none of the 16 rows of'),
    ({'batch.max_new_tokens': 600}, "line 1 of '.*' has a prompt of 6 tokens and needs 608 pos"),
    ({'temperature.alpha': -0.2}, 'needs a temperature alpha \\+ beta above 0'),
    ({'temperature.beta': -0.2}, 'config.temperature.beta must not be negative'),
    ({'dpo.link': 'nca', 'dpo.score': 'js'}, "link 'nca' reads each reward by itself"),
    ({'algorithm': 'vargrad', 'temperature.alpha': -0.01}, 'alpha must not be negative'),
  ],
)
def test_wrong_values_are_told_before_anything_is_written(changes, sentence, tmp_path):
  path = write(tmp_path / 'pairs.jsonl', countdown_pairs())
  config = shrunk(methods.get_config('dpo'), offline__path=path)
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=sentence):
    build.offline_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_samples_of_the_policy_need_no_file(tmp_path):
  config = shrunk(methods.get_config('dpo'), offline__path='pairs.jsonl')
  with pytest.raises(ValueError, match='is read by experiments/preference.py; leave it out'):
    build.rollout_run(config, tmp_path / 'run')


def test_less_entropy_than_dpo_is_a_negative_alpha(tmp_path):
  config = shrunk(methods.get_config('hdpo'), steps=1, temperature__alpha=-0.02)
  build.rollout_run(config, tmp_path / 'run').checkpointer.close()

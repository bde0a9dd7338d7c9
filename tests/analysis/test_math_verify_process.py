"""The process that math-verify is asked in, with a module of its name that behaves badly."""

import pytest

from maxent_lm.analysis import math_verify_process
from maxent_lm.analysis.math_verify_process import MathVerify, Reply

FAKE = """
import os, time

def parse(text):
  return [text] if 'words' in text else [len(text)]

def verify(gold, answer):
  if answer == ['words that hang']:
    time.sleep(60)
  if answer == ['words that kill']:
    os._exit(1)
  if answer == ['words that raise']:
    raise ValueError
  return gold == answer
"""


@pytest.fixture
def other(tmp_path, monkeypatch):
  (tmp_path / 'math_verify.py').write_text(FAKE)
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  asked = MathVerify()
  yield asked
  asked.stop()


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_answers_come_one_a_question(other, monkeypatch, unbuffered):
  monkeypatch.setenv('PYTHONUNBUFFERED', unbuffered)
  for _ in range(3):
    assert other.ask('12', '34') == Reply(equal=True, read=True, ended=True)
    assert other.ask('words', '34') == Reply(equal=False, read=False, ended=True)
    assert not other.ask('1', 'words that raise').equal


def test_one_that_hangs_or_dies_is_replaced(other, monkeypatch):
  assert other.ask('1', '2').equal
  monkeypatch.setattr(math_verify_process, 'ANSWER_S', 0.5)
  for text in ('words that hang', 'words that kill'):
    before = other._process
    assert other.ask('1', text) == Reply(equal=False, read=False, ended=False)
    assert before.poll() is not None
    monkeypatch.setattr(math_verify_process, 'ANSWER_S', 25)
    assert other.ask('1', '2').equal
    monkeypatch.setattr(math_verify_process, 'ANSWER_S', 0.5)


def test_without_the_package_it_is_told(tmp_path, monkeypatch):
  (tmp_path / 'math_verify.py').write_text('import a_package_that_nobody_has')
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  with pytest.raises(ModuleNotFoundError, match='math_verify'):
    MathVerify().ask('1', '1')

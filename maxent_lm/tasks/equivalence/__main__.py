r"""Compares answers from the command line.

  echo '{"gold": "42", "answer": "so it is \\boxed{42.0}", "extract": true}' |
    python -m maxent_lm.tasks.equivalence

prints {"equal": true, "status": "equal", "extracted": "42.0"}. Standard input has one such object a
line; with "extract": false, or without it, the answer is no whole response but the answer itself.
The status is "equal", "different" or "unverifiable"; a response without an answer is "different",
with null extracted. For a line that is no question {"error": ...} is printed in its place, and the
exit status is 1 at the end.
"""

import json
import sys
from typing import Any, TextIO

from maxent_lm.tasks.equivalence import Status, grade, status


def answer_line(line: str) -> dict[str, Any]:
  """What the program prints for a line.

  Raises:
    ValueError: the line is no object with the texts `gold` and `answer`, and true or false as
      `extract`.
  """
  row = json.loads(line)
  if not isinstance(row, dict):
    raise ValueError('not a JSON object')
  gold, answer, extract = row.get('gold'), row.get('answer'), row.get('extract', False)
  if not isinstance(gold, str) or not isinstance(answer, str):
    raise ValueError("'gold' and 'answer' must be texts")
  if not isinstance(extract, bool):
    raise ValueError("'extract' must be true or false")
  found, extracted = grade(gold, answer) if extract else (status(gold, answer), answer)
  return {'equal': found is Status.EQUAL, 'status': found.value, 'extracted': extracted}


def main(source: TextIO, sink: TextIO) -> int:
  """Answers every line of `source` at once; 1 if there was one that is no question, else 0."""
  failed = 0
  for number, line in enumerate(source, 1):
    if not line.strip():
      continue
    try:
      reply = answer_line(line)
    except (ValueError, RecursionError) as error:
      reply, failed = {'error': f'line {number}: {error}'}, 1
      print(f'error: line {number}: {error}', file=sys.stderr)
    print(json.dumps(reply), file=sink, flush=True)
  return failed


if __name__ == '__main__':
  sys.exit(main(sys.stdin, sys.stdout))

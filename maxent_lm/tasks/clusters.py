"""Semantic classes of texts: by a canonical form, or by who says the same as whom.

Worked example:

  by_key(['4', ' 4', 'four', '?'], lambda text: {'four': '4'}.get(text, text.strip()))  # 0 0 0 1
  by_relation(['a', 'b', 'c'], mutual(entails))

The classes of a relation are those of its transitive closure: the smallest classes in which two
texts that say the same are never apart. They do not depend on the order of the texts. The greedy
rule of the semantic-entropy literature (the first text without a class opens one, and every later
text that agrees with it joins) does, whenever agreement is not transitive, as that of an entailment
model never is: a text that has a class is taken over by the next opener that agrees with it. With
A ~ C, B ~ C and A, B apart it puts C with B if A came first and with A if B did, and so gives the
same set of answers two entropies. The closure errs towards fewer classes: one wrong agreement
joins two of them.

n different texts cost at most n (n - 1) / 2 questions.
"""

from collections.abc import Callable, Hashable, Sequence

Relation = Callable[[str, str], bool]

CONTRADICTION, NEUTRAL, ENTAILMENT = 0, 1, 2  # what a judge of (premise, hypothesis) says


def by_key(texts: Sequence[str], key: Callable[[str], Hashable | None]) -> list[int]:
  """Texts with equal keys share a number, 0, 1, ... in order of appearance; -1 where it is None."""
  seen: dict[Hashable, int] = {}
  keys = [key(text) for text in texts]
  return [-1 if name is None else seen.setdefault(name, len(seen)) for name in keys]


def by_relation(texts: Sequence[str], same: Relation) -> list[int]:
  """Classes 0, 1, ... of the transitive closure of `same`, in order of appearance.

  `same` must be symmetric (see `mutual` and `consistent`); equal texts are the same unasked.
  """
  different = list(dict.fromkeys(texts))
  leader = {text: text for text in different}
  for place, text in enumerate(different):
    for other in different[:place]:
      ours, theirs = leader[text], leader[other]
      if ours != theirs and same(other, text):
        leader = {name: ours if lead == theirs else lead for name, lead in leader.items()}
  return by_key(texts, leader.__getitem__)


def mutual(entails: Relation) -> Relation:
  """Both directions entail: the definition in the paper. [Kuhn et al. 2023]"""
  return lambda a, b: entails(a, b) and entails(b, a)


def consistent(judge: Callable[[str, str], int]) -> Relation:
  """Neither direction contradicts, and not both are neutral: what the published code accepts.

  `judge(premise, hypothesis)` is CONTRADICTION, NEUTRAL or ENTAILMENT. [Farquhar et al. 2024]
  """

  def same(a: str, b: str) -> bool:
    verdicts = judge(a, b), judge(b, a)
    return CONTRADICTION not in verdicts and verdicts != (NEUTRAL, NEUTRAL)

  return same

"""Which words after a value are its unit: units proper, and the things that are counted.

Worked example:

  unit(['km', '/', 'h'])         'km / hour'
  unit(['apples'])               'apple'
  unit(['wrong'])                ValueError: what changes the value, or denies it, is no unit

A unit may be left out of an answer, so that not every word can be one. Words of the list below are,
with `per`, powers and the like between them, and beside them at most one plain noun, in the plural:
18 eggs, 3 apples per day. Words of scale are read as numbers (SCALES): 42 million is 42,000,000.
"""

from collections.abc import Sequence

UNITS = frozenset(
  'cm mm km kg ft mi mph lb lbs oz hr hrs sec min mins cents cent dollars inch sq cubic '
  'percent'.split()
)
SCALES = {'hundred': 10**2, 'thousand': 10**3, 'million': 10**6, 'billion': 10**9} | {
  'trillion': 10**12
}
_NAMES = {
  **{'%': 'percent', '\\$': 'dollar', 'lbs': 'lb', 'pound': 'lb', 'inche': 'inch', 'h': 'hour'},
  **{'min': 'minute', 'hr': 'hour', 'sec': 'second', 's': 'second', 'kilometer': 'km'},
  **{'centimeter': 'cm', 'millimeter': 'mm', 'kilogram': 'kg', 'mile': 'mi', 'feet': 'ft'},
  **{'foot': 'ft', 'ounce': 'oz', 'square': 'sq'},
}
_KNOWN = frozenset(  # as `name` spells them
  'cm mm km m dm nm ft mi yd yard inch in meter metre kilometre centimetre millimetre acre hectare '
  'kg g mg lb oz gram ton tonne l ml liter litre gallon quart pint cup tablespoon teaspoon '
  'second minute hour day week month year decade century ms a.m p.m am pm mph kph '
  'cent dollar usd percent penny nickel dime euro eur yen rupee pence '
  'degree radian rad celsius fahrenheit kelvin c f n newton j joule w watt v volt ampere ohm hz '
  'hertz pa pascal mole bit byte '
  'unit point way solution root digit time step coin student apple egg ball '
  'person people man men woman women child children fish sheep mice dice deer geese teeth'.split()
)
_BETWEEN = frozenset('per a an each every of the sq square cubic'.split())
_NO_NOUNS = frozenset(  # end as plurals do, and are none
  'less plus minus does this thus unless perhaps always sometimes hers ours theirs yours versus '
  'regardless nevertheless besides afterwards otherwise hundreds thousands millions billions '
  'trillions dozens tens scores pairs halves thirds quarters fourths fifths sixths sevenths '
  'eighths ninths tenths hundredths thousandths ones guess equals differs fails means misses '
  'nonsense class cross gross'.split()
)


def name(word: str) -> str:
  """One spelling of a unit, in the singular."""
  singular = word.rstrip('s')
  return _NAMES.get(word) or _NAMES.get(singular, singular)


def unit(words: Sequence[str]) -> str:
  """The unit that these words and operators spell.

  Raises:
    ValueError: they are none.
  """
  named = [word for word in words if word[0] not in '/^' and word not in _BETWEEN]
  others = [word for word in named if name(word) not in _KNOWN]
  if not named or len(others) > 1 or not all(map(_counted, others)):
    raise ValueError('no unit')
  return ' '.join(map(name, words))


def _counted(word: str) -> bool:
  return len(word) > 3 and word.endswith('s') and word not in _NO_NOUNS

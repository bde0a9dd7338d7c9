"""From a config section to the arguments of an importance transform, and to a saliency view."""

import functools
from typing import TYPE_CHECKING, Any

from maxent_lm.build.names import Config, choose
from maxent_lm.build.policy import score_chunk
from maxent_lm.lm import lexicon
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.saliency import SALIENCIES, Saliency
from maxent_lm.shaping.importance import DENOMINATORS, ESTIMATES, SITES, Estimate
from maxent_lm.shaping.selectors import SCOPES, SELECTORS

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase


def importance_arguments(
  config: Config, name: str, tokenizer: 'PreTrainedTokenizerBase'
) -> dict[str, Any]:
  """The keyword arguments of `shaping.importance.importance` from the section config[name]."""
  section = config[name]
  choose(f'config.{name}.scope', section.scope, SCOPES)
  choose(f'config.{name}.denominator', section.denominator, DENOMINATORS)
  for site in section.sites:
    choose(f'config.{name}.sites', site, SITES)
  select = choose(f'config.{name}.select', section.select, SELECTORS)
  return {
    'estimate': _make_estimate(config, name, tokenizer),
    'select': functools.partial(select, **section[section.select]),
    'scope': section.scope,
    'denominator': section.denominator,
    'sites': {site: tuple(bounds) for site, bounds in section.sites.items()},
  }


def _make_estimate(config: Config, name: str, tokenizer: 'PreTrainedTokenizerBase') -> Estimate:
  chosen = config[name].estimate
  estimate = choose(f'config.{name}.estimate', chosen, ESTIMATES)
  if chosen != 'lexicon':
    return estimate
  words = (*lexicon.connectives(config.lexicon.languages), *config.lexicon.words)
  return functools.partial(estimate, match=lexicon.compile_lexicon(tokenizer, words))


def make_saliency(config: Config, lm: LM) -> Saliency | None:
  """What `Views.saliency` holds; None for nothing."""
  make = choose('config.saliency', config.saliency, {'none': None, **SALIENCIES})
  return None if make is None else make(lm, chunk=score_chunk(config, lm))

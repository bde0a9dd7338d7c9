"""From a config to a model with its tokenizer: a run's own, a folder's, or random weights."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax

from maxent_lm import hosts
from maxent_lm.build.names import Config, choose
from maxent_lm.data import Show
from maxent_lm.lm import chat, partition, pretrained
from maxent_lm.lm import tokenizer as tokenizers
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.train.stored import Checkpoints
from maxent_lm.types import Params

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

FEWEST = 8  # tokens of a chunk: a product of fewer rows reads the head for little


@dataclasses.dataclass(frozen=True)
class Policy:
  """A model with its tokenizer; `params` are the weights that the run starts from."""

  lm: LM
  tokenizer: 'PreTrainedTokenizerBase'
  eos_id: int
  params: Params
  mesh: jax.sharding.Mesh

  def save(self, path: pathlib.Path, params: Params) -> None:
    """Writes a Hugging Face folder; every process takes part, and the first one writes."""
    host = hosts.fetch_to_first(params)
    if host is None:
      return
    pretrained.save(path, self.lm.config, host, eos_token_id=self.eos_id)
    self.tokenizer.save_pretrained(str(path))


def score_chunk(config: Config, lm: LM) -> int:
  """Tokens whose logits exist at a time, so that they are `compute.logits` numbers; 8 at least."""
  if config.compute.logits < 1:
    raise ValueError(f'config.compute.logits={config.compute.logits} must be at least 1')
  return max(FEWEST, config.compute.logits // lm.config.vocab_size)


def make_policy(config: Config, workdir: pathlib.Path) -> Policy:
  """The policy that the run started from, or will: `workdir/start`, `config.init`, or random."""
  mesh = partition.make_mesh(**config.mesh)
  _check_attention(config, mesh)
  source = _start_folder(config, workdir)
  lm, tokenizer = _make_shape(config, source)
  shardings = partition.param_shardings(lm.abstract_params(), mesh)
  if source is not None:
    params = pretrained.load_params(source, lm.config, shardings)
  else:
    params = lm.init(config.seed, shardings)
  return Policy(lm, tokenizer, _stop_id(config, tokenizer), params, mesh)


def _start_folder(config: Config, workdir: pathlib.Path | None) -> pathlib.Path | None:
  """The Hugging Face folder that a run starts from; None for random weights."""
  if workdir is not None and (workdir / 'start').exists():
    return workdir / 'start'
  return pathlib.Path(config.init) if config.init else None


def abstract_policy(
  config: Config, devices: Sequence[jax.Device], workdir: pathlib.Path | None = None
) -> Policy:
  """The policy that a run would start from, on `devices` that need not be there.

  Its parameters are ShapeDtypeStructs with their shardings; no weights are read or made. `workdir`
  is the run's, if it may have begun.
  """
  mesh = partition.make_mesh(**config.mesh, devices=devices)
  _check_attention(config, mesh)
  lm, tokenizer = _make_shape(config, _start_folder(config, workdir))
  params = partition.abstract(lm.abstract_params(), mesh)
  return Policy(lm, tokenizer, _stop_id(config, tokenizer), params, mesh)


def _make_shape(
  config: Config, source: pathlib.Path | None
) -> tuple[LM, 'PreTrainedTokenizerBase']:
  """The model of the Hugging Face folder `source`, or of `config.model`, and its tokenizer."""
  if source is not None:
    tokenizer = tokenizers.load_tokenizer(source)
    model = pretrained.load_config(source)
  else:
    tokenizer = make_tokenizer(config)
    sizes = config.model.to_dict()
    vocabulary = sizes.pop('vocab_size') or len(tokenizer)
    model = LMConfig(vocab_size=vocabulary, **sizes)
  tokenizers.check_vocabulary(tokenizer, model)
  return _with_compute(config, model), tokenizer


def trained_policy(config: Config, workdir: pathlib.Path) -> tuple[Policy, Params, int]:
  """The policy of a run, its newest parameters and their step (0: the start's own).

  Raises:
    FileNotFoundError: `workdir` holds no run and `config.init` names no folder.
  """
  if not (workdir / 'start').exists() and not config.init:
    raise FileNotFoundError(
      f'{workdir} holds no run to evaluate; train there first, or name a Hugging Face folder with '
      '--config.init=FOLDER'
    )
  policy = make_policy(config, workdir)
  checkpoints = Checkpoints(workdir / 'checkpoints', verify=config.checkpoint.verify)
  step = checkpoints.latest()
  if step is None:
    return policy, policy.params, 0
  return policy, checkpoints.restore_params(policy.params, step), step


def trained_knobs(config: Config, workdir: pathlib.Path) -> tuple[float, float]:
  """alpha and beta of the run's newest checkpoint, or those that it would start with."""
  checkpoints = Checkpoints(workdir / 'checkpoints', verify=config.checkpoint.verify)
  step = checkpoints.latest()
  if step is None:
    return float(config.temperature.alpha), float(config.temperature.beta)
  return checkpoints.restore_knobs(step)


def _with_compute(config: Config, model: LMConfig) -> LM:
  compute = config.compute
  return LM(
    dataclasses.replace(
      model,
      dtype=compute.dtype,
      cache_dtype=compute.cache,
      attention=compute.attention,
      remat=compute.remat,
      scan_layers=compute.scan_layers,
    )
  )


def _check_attention(config: Config, mesh: jax.sharding.Mesh) -> None:
  platform = mesh.devices.flat[0].platform
  if config.compute.attention == 'cudnn' and platform != 'gpu':
    raise ValueError(
      f"config.compute.attention='cudnn' is a kernel of NVIDIA GPUs and the devices are "
      f"{platform}; set it to 'xla'"
    )


def make_tokenizer(config: Config) -> 'PreTrainedTokenizerBase':
  """The tokenizer of a model that starts from random weights."""
  if config.tokenizer.kind == 'characters' and not config.tokenizer.alphabet:
    raise ValueError(
      'config.init is empty: name the Hugging Face folder to start from with --config.init=FOLDER, '
      'or give config.tokenizer.alphabet to start from random weights'
    )
  kinds = {
    'characters': lambda: tokenizers.character_tokenizer(config.tokenizer.alphabet),
    'bytes': tokenizers.byte_tokenizer,
    'folder': lambda: tokenizers.load_tokenizer(pathlib.Path(config.tokenizer.folder)),
  }
  return choose('config.tokenizer.kind', config.tokenizer.kind, kinds)()


def make_show(config: Config, tokenizer: 'PreTrainedTokenizerBase') -> Show:
  """How prompts are shown: as they are, or as the user's message of the chat template."""
  kinds = {'none': lambda: list, 'template': lambda: chat.of_tokenizer(tokenizer)}
  return choose('config.chat', config.chat, kinds)()


def _stop_id(config: Config, tokenizer: 'PreTrainedTokenizerBase') -> int:
  stop = config.tokenizer.stop_token or tokenizer.eos_token
  ids = tokenizer.get_vocab()
  if stop not in ids:
    raise ValueError(
      f'config.tokenizer.stop_token: {stop!r} is not a token of this tokenizer; '
      'name the token that ends a response'
    )
  return ids[stop]

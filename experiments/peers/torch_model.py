"""GRPO on the work in transformers and torch: model, responses and how they end, update."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from experiments.peers import work


def make_model(shape: work.Shape) -> transformers.LlamaForCausalLM:
  """Random weights, float32, `scaled_dot_product_attention`."""
  torch.manual_seed(0)
  config = transformers.LlamaConfig(
    vocab_size=shape.vocab_size,
    hidden_size=shape.d_model,
    intermediate_size=shape.d_ff,
    num_hidden_layers=shape.num_layers,
    num_attention_heads=shape.num_heads,
    num_key_value_heads=shape.num_kv_heads,
    head_dim=shape.head_dim,
    tie_word_embeddings=True,
    pad_token_id=work.PAD,
    bos_token_id=None,
    eos_token_id=work.EOS,
  )
  return transformers.LlamaForCausalLM(config)


class Ending(transformers.LogitsProcessor):
  """The policy, but for the end: at every token of probability ENDS, or none if all are as long."""

  def __init__(self, lengths: str) -> None:
    self._can_end = lengths == 'geometric'

  def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
    """[B, V] logits of the behaviour."""
    del input_ids
    scores = scores.clone()
    scores[:, work.EOS] = -math.inf
    if self._can_end:
      scores = scores.log_softmax(-1) + math.log1p(-work.ENDS)
      scores[:, work.EOS] = math.log(work.ENDS)
    return scores


class Samples(NamedTuple):
  """`tokens` [B, PROMPT + R], padded on the right; `length` [B] of the responses."""

  tokens: Tensor
  length: Tensor


def sample(
  model: transformers.LlamaForCausalLM, prompts: Tensor, ending: Ending, most: int
) -> Samples:
  """A response to every row of `prompts`, of `most` tokens at most."""
  tokens = model.generate(
    prompts,
    attention_mask=torch.ones_like(prompts),
    do_sample=True,
    top_k=0,
    max_new_tokens=most,
    logits_processor=transformers.LogitsProcessorList([ending]),
  )
  responses = tokens[:, work.PROMPT :]
  ended = responses == work.EOS
  first = ended.int().argmax(1) + 1
  return Samples(tokens, torch.where(ended.any(1), first, responses.shape[1]))


def advantages(samples: Samples, group_size: int) -> Tensor:
  """[B] whether the sum of a response's tokens is even, normalised in its group."""
  columns = torch.arange(samples.tokens.shape[1] - work.PROMPT)
  inside = columns < samples.length[:, None]
  reward = ((samples.tokens[:, work.PROMPT :] * inside).sum(1) % 2).float()
  groups = reward.view(-1, group_size)
  spread = groups.std(1, keepdim=True) + 1e-4
  return ((groups - groups.mean(1, keepdim=True)) / spread).flatten()


def update(
  model: transformers.LlamaForCausalLM,
  optimizer: torch.optim.Optimizer,
  samples: Samples,
  advantage: Tensor,
  parts: Sequence[Tensor],
) -> None:
  """One step on GRPO's clipped surrogate, a mean over tokens.

  `parts` are the rows that go through the model at a time, padded to the longest of them.
  """
  for part in parts:
    length = samples.length[part]
    longest = int(length.max())
    tokens = samples.tokens[part, : work.PROMPT + longest]
    logits = model(tokens, logits_to_keep=longest + 1, use_cache=False).logits[:, :-1]
    taken = tokens[:, work.PROMPT :].flatten()
    logp = -functional.cross_entropy(logits.flatten(0, 1), taken, reduction='none')
    logp = logp.view(len(part), longest)
    ratio = (logp - logp.detach()).exp()
    clipped = ratio.clamp(1 - work.CLIP, 1 + work.CLIP)
    gain = torch.minimum(ratio * advantage[part, None], clipped * advantage[part, None])
    inside = torch.arange(longest) < length[:, None]
    loss = -(gain * inside).sum() / samples.length.sum()
    loss.backward()
  torch.nn.utils.clip_grad_norm_(model.parameters(), work.NORM)
  optimizer.step()
  optimizer.zero_grad()

"""google-tunix's GRPOLearner with its own Llama, sampler and trainer, on one device.

  python -m experiments.peers.tunix_grpo --preset=S --lengths=fixed --rounds=3 [--microbatch=2]

Without `--microbatch`, as it is configured by default: a batch is trained on at once. Either way it
is sampled at once. The sampler knows nothing but logits, so that responses end by a constant in
the model's: their lengths are about geometric.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from flax import nnx
from tunix.models.llama3 import model as llama3
from tunix.rl import rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout

from experiments.peers import clock as clock_lib
from experiments.peers import work

_MICROBATCH = flags.DEFINE_integer('microbatch', 0, 'Prompts at a time in the update; 0: all.')


class Numbers:
  """A tokenizer: tokens are written as their numbers."""

  def encode(self, text: str) -> list[int]:
    """'5 7' to [5, 7]."""
    return [int(word) for word in text.split()]

  def decode(self, tokens: Sequence[int]) -> str:
    """[5, 7] to '5 7'."""
    return ' '.join(map(str, tokens))

  def bos_id(self) -> int:
    """None is put before a prompt."""
    return 0

  def eos_id(self) -> int:
    """What ends a response."""
    return work.EOS

  def pad_id(self) -> int:
    """What fills rows up."""
    return work.PAD


class Ending(llama3.Llama3):
  """Llama, its logits plus constants that rule padding out and the end out or in."""

  def __init__(self, config: llama3.ModelConfig, *, end: float, rngs: nnx.Rngs) -> None:
    super().__init__(config, rngs=rngs)
    self._end = end

  def __call__(
    self, input_tokens: jax.Array, positions: jax.Array, cache: Any, attention_mask: jax.Array
  ) -> tuple[jax.Array, Any]:
    """([B, L, V] logits, the cache with these tokens in it)."""
    logits, cache = super().__call__(input_tokens, positions, cache, attention_mask)
    special = jnp.zeros(logits.shape[-1]).at[work.PAD].set(-1e9).at[work.EOS].set(self._end)
    return logits + special, cache


def make_model(shape: work.Shape, lengths: str) -> Ending:
  """Random weights, float32."""
  config = llama3.ModelConfig(
    num_layers=shape.num_layers,
    vocab_size=shape.vocab_size,
    embed_dim=shape.d_model,
    hidden_dim=shape.d_ff,
    num_heads=shape.num_heads,
    head_dim=shape.head_dim,
    num_kv_heads=shape.num_kv_heads,
    rope_theta=10_000,
    norm_eps=1e-6,
    weight_tying=True,
  )
  end = work.end_logit(shape) if lengths == 'geometric' else -1e9
  return Ending(config, end=end, rngs=nnx.Rngs(0))


def make_cluster(
  model: Ending, shape: work.Shape, lengths: str, microbatch: int
) -> rl_cluster.RLCluster:
  """Sampler, trainer and weights on one device."""
  mesh = jax.make_mesh(
    (1, 1), ('fsdp', 'tp'), axis_types=(jax.sharding.AxisType.Auto,) * 2, devices=jax.devices()[:1]
  )
  roles = rl_cluster.Role.ACTOR, rl_cluster.Role.ROLLOUT, rl_cluster.Role.REFERENCE
  most = work.RESPONSE[lengths]
  training = rl_cluster.RLTrainingConfig(
    actor_optimizer=optax.chain(
      optax.clip_by_global_norm(work.NORM), optax.adamw(work.LEARNING_RATE)
    ),
    eval_every_n_steps=1_000_000,
    max_steps=clock_lib.ROUNDS.value + 2,
    mini_batch_size=shape.prompts if microbatch else None,
    train_micro_batch_size=microbatch or None,
    rollout_micro_batch_size=shape.prompts,
  )
  rollout = base_rollout.RolloutConfig(
    max_tokens_to_generate=most,
    max_prompt_length=work.PROMPT,
    kv_cache_size=work.PROMPT + most,
    temperature=1.0,
  )
  return rl_cluster.RLCluster(
    actor=model,
    tokenizer=Numbers(),
    cluster_config=rl_cluster.ClusterConfig(
      role_to_mesh=dict.fromkeys(roles, mesh), training_config=training, rollout_config=rollout
    ),
  )


def reward(completions: list[str], **_: Any) -> list[float]:
  """Whether the sum of the tokens is even."""
  return [float(sum(map(int, text.split())) % 2) for text in completions]


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  shape, lengths = work.SHAPES[clock_lib.PRESET.value], clock_lib.LENGTHS.value
  most = work.RESPONSE[lengths]
  microbatch = min(_MICROBATCH.value, shape.prompts)
  cluster = make_cluster(make_model(shape, lengths), shape, lengths, microbatch)
  learner = grpo_learner.GRPOLearner(
    cluster,
    grpo_learner.GRPOConfig(num_generations=shape.group_size, beta=0.0, epsilon=work.CLIP),
    reward,
  )
  prompts = np.array([' '.join(map(str, prompt)) for prompt in work.make_prompts(shape)])
  clock, plain = clock_lib.Clock(), cluster.generate

  def generate(*arguments: Any, **options: Any) -> base_rollout.RolloutOutput:
    with clock.rollout():
      output = plain(*arguments, **options)
    ended = (min(len(tokens) + 1, most) for tokens in output.tokens)  # they are without the end
    clock.count(sum(ended))
    return output

  def batches() -> Iterator[dict[str, np.ndarray]]:
    for _ in range(clock_lib.ROUNDS.value + 1):
      yield {'prompts': prompts}
      jax.block_until_ready(nnx.state(cluster.actor_trainer.model))
      clock.end()

  cluster.generate = generate
  learner.train(batches())
  clock_lib.tell('tunix', 'google-tunix', clock, microbatch=microbatch)


if __name__ == '__main__':
  app.run(main)

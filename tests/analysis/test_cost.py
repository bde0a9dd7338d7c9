"""Work counted from compiled programs: against arithmetic, and from lines that XLA wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from maxent_lm.analysis import cost, hlo
from maxent_lm.lm import partition


def entry(*lines):
  body = '\n'.join(f'  {line}' for line in lines)
  return hlo.parse(f'HloModule m\n\nENTRY %main (p: f32[]) -> f32[] {{\n{body}\n}}\n')


def flops(*lines):
  program = entry(*lines)
  return cost.flops(program, hlo.executions(program))


def moved(*lines):
  program = entry(*lines)
  return cost.traffic(program, hlo.executions(program))


LEFT = '%a = bf16[640,1024,1]{1,0,2:T(8,128)(2,1)} parameter(0)'
RIGHT = '%b = bf16[1024,8,128]{2,0,1:T(8,128)(2,1)} parameter(1)'


def test_a_product_is_two_operations_a_pair():
  dot = '%c = f32[4,6,7] dot(%a, %b), lhs_batch_dims={0}, lhs_contracting_dims={2,3}'
  assert flops('%a = f32[4,6,5,3] parameter(0)', '%b = f32[4,5,3,7] parameter(1)', dot) == (
    2 * 4 * 6 * 7 * 15
  )


def test_heads_that_a_tpu_slides_over_are_products_still():
  """'btd,dnh->btnh': of the window of 8 positions over one, padded by 7, one meets the input."""
  window = 'window={size=8 pad=7_7 rhs_reversal=1}, dim_labels=bf0_i0o->b0f'
  got = flops(LEFT, RIGHT, f'%c = bf16[640,8,128]{{2,1,0}} convolution(%a, %b), {window}')
  assert got == 2 * 640 * 1024 * 8 * 128


def test_batches_that_a_tpu_dilates_are_products_still():
  """'BTNH,BSNH->BNTS' with B = 8, 8 key heads of 2 query heads, T = 64, S = 192, H = 128."""
  window = 'window={size=8x8x1 stride=7x7x1 lhs_dilate=8x8x1}, dim_labels=0b12f_0o1i2->01b2f'
  got = flops(
    '%a = bf16[8,64,8,2,128]{4,3,2,1,0} parameter(0)',
    '%b = bf16[8,192,8,128,1]{3,2,1,0,4} parameter(1)',
    f'%c = f32[8,8,64,2,192]{{4,3,2,1,0}} convolution(%a, %b), {window}',
  )
  assert got == 2 * 8 * 16 * 64 * 192 * 128


def test_only_what_goes_to_memory_is_moved():
  source = '%a = f32[8,128]{1,0:T(8,128)} parameter(0)'
  both = moved(source, '%b = f32[8,128]{1,0:T(8,128)} negate(%a)')
  read = moved(source, '%b = f32[8,128]{1,0:T(8,128)S(1)} negate(%a)')
  assert (both, read) == (8192, 4096)
  assert moved(source, '%b = f32[1024]{0} bitcast(%a)') == 0


def test_a_slice_is_moved_and_not_what_it_is_cut_from():
  stack, at = '%a = f32[36,8,128]{2,1,0} parameter(0)', '%i = s32[] parameter(1)'
  cut = '%b = f32[1,8,128]{2,1,0} dynamic-slice(%a, %i), dynamic_slice_sizes={1,8,128}'
  assert moved(stack, at, cut) == 2 * 4096
  new = '%n = f32[1,8,128]{2,1,0} parameter(2)'
  put = '%b = f32[36,8,128]{2,1,0} dynamic-update-slice(%a, %n, %i)'
  assert moved(stack, at, new, put) == 2 * 4096


FUSED = """\
HloModule m

%fused (param_0.1: f32[36,8,128], param_1.1: s32[], param_2.1: f32[8,128]) -> f32[36,8,128] {
  %param_0.1 = f32[36,8,128]{2,1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %param_2.1 = f32[8,128]{1,0} parameter(2)
  %negate.1 = f32[8,128]{1,0} negate(%param_2.1)
  %bitcast.1 = f32[1,8,128]{2,1,0} bitcast(%negate.1)
  ROOT %dus.1 = f32[36,8,128]{2,1,0} dynamic-update-slice(%param_0.1, %bitcast.1, %p.1)
}

ENTRY %main (a: f32[36,8,128], i: s32[], n: f32[8,128]) -> f32[36,8,128] {
  %a = f32[36,8,128]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %n = f32[8,128]{1,0} parameter(2)
  ROOT %f = f32[36,8,128]{2,1,0} fusion(%a, %i, %n), kind=kLoop, calls=%fused
}
"""


def test_a_fusion_updates_in_place():
  program = hlo.parse(FUSED)
  assert cost.traffic(program, hlo.executions(program)) == 4096 + 4 + 4096


NESTED = """\
HloModule m

%inner (p.1: f32[36,8,128], p.2: s32[]) -> f32[1,8,128] {
  %p.1 = f32[36,8,128]{2,1,0} parameter(0)
  %p.2 = s32[] parameter(1)
  ROOT %cut = f32[1,8,128]{2,1,0} dynamic-slice(%p.1, %p.2), dynamic_slice_sizes={1,8,128}
}

%outer (p.3: s32[], p.4: f32[36,8,128]) -> f32[1,8,128] {
  %p.3 = s32[] parameter(0)
  %p.4 = f32[36,8,128]{2,1,0} parameter(1)
  %part = f32[1,8,128]{2,1,0} fusion(%p.4, %p.3), kind=kLoop, calls=%inner
  ROOT %n = f32[1,8,128]{2,1,0} negate(%part)
}

ENTRY %main (i: s32[], a: f32[36,8,128]) -> f32[1,8,128] {
  %i = s32[] parameter(0)
  %a = f32[36,8,128]{2,1,0} parameter(1)
  ROOT %f = f32[1,8,128]{2,1,0} fusion(%i, %a), kind=kLoop, calls=%outer
}
"""


def test_a_slice_in_a_fusion_in_a_fusion_is_all_that_is_read():
  program = hlo.parse(NESTED)
  assert cost.traffic(program, hlo.executions(program)) == 4 + 4096 + 4096


@pytest.mark.parametrize(
  ('written', 'group'),
  [
    ('replica_groups={{0,2},{1,3}}, use_global_device_ids=true', (0, 2)),
    ('replica_groups=[2,4]<=[8], dimensions={1}', (0, 1, 2, 3)),
    ('replica_groups=[4,2]<=[2,4]T(1,0), dimensions={1}', (0, 4)),
    ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, to_apply=%add", (0, 2, 4, 6)),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_0','axis_1'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", (0, 2)),
    ('source_target_pairs={{0,1},{1,0}}', (0, 1)),
  ],
)
def test_groups_in_all_ways_that_xla_writes_them(written, group):
  assert cost.replica_group(f', channel_id=3, {written}') == group


def test_unknown_ways_of_writing_groups_are_told():
  for written in ('replica_groups=half', "replica_groups=mesh['a'=4] {'a':(1)2}"):
    with pytest.raises(ValueError, match='not known'):
      cost.replica_group(written)


def test_pieces_of_one_collective_are_one():
  """XLA for TPUs writes a gather into each of the fusions that it runs beside."""
  gather = 'all-gather(%a), channel_id=7, replica_groups={{0,1}}, dimensions={0}'
  program = entry(
    '%a = bf16[4,8]{1,0} parameter(0)',
    f'%b = bf16[8,8]{{1,0}} {gather}',
    f'%c = bf16[8,8]{{1,0}} {gather}',
  )
  [one] = cost.collectives(program, hlo.executions(program))
  assert (one.kind, one.bytes, one.group, one.times) == ('all-gather', 128, (0, 1), 1)


def compiled(function, *shapes, mesh):
  with jax.set_mesh(mesh):
    return jax.jit(function).lower(*shapes).compile()


def test_a_loop_over_layers_on_eight_devices():
  """L products of [B, D] with [D, D] split over fsdp: L gathers, and a device's share of FLOPs."""
  layers, rows, width = 6, 16, 32
  mesh = partition.make_mesh(data=2, fsdp=4)

  def run(x, weights):
    def layer(x, weight):
      weight = partition.constrain(weight, None, None)
      return partition.constrain(jnp.tanh(x @ weight), 'batch', None), None

    return jax.lax.scan(layer, x, weights)[0]

  def shape(dims, *axes):
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.ShapeDtypeStruct(dims, jnp.float32, sharding=sharding)

  x = shape((rows, width), ('data', 'fsdp'))
  weights = shape((layers, width, width), None, 'fsdp')
  program = hlo.parse(compiled(run, x, weights, mesh=mesh).as_text())
  runs = hlo.executions(program)
  assert cost.flops(program, runs) == layers * 2 * rows * width * width / 8
  [gather] = cost.collectives(program, runs)
  assert (gather.kind, gather.times, len(gather.group)) == ('all-gather', layers, 4)
  assert gather.bytes == width * width * 4
  once = {name: times._replace(count=1) for name, times in runs.items()}
  assert cost.flops(program, once) == cost.flops(program, runs) / layers


def test_flops_are_those_of_xla_where_nothing_loops():
  a = jax.ShapeDtypeStruct((64, 32), jnp.float32)
  b = jax.ShapeDtypeStruct((32, 48), jnp.float32)
  lowered = jax.jit(jnp.matmul).lower(a, b).compile()
  program = hlo.parse(lowered.as_text())
  got = cost.flops(program, hlo.executions(program))
  np.testing.assert_allclose(got, lowered.cost_analysis()['flops'])

"""Texts as XLA writes them for a TPU v5e (libtpu 0.0.42), shortened by hand."""

import pytest

from maxent_lm.analysis import hlo
from maxent_lm.analysis.hlo import Buffer

LOOPS = """\
HloModule jit_generate, is_scheduled=true

%condition (wide.7: (s32[], bf16[8,64])) -> pred[] {
  %constant.5 = s32[] constant(36)
  %wide.7 = (s32[], bf16[8,64]{1,0:T(8,128)S(1)}) parameter(0)
  %gte.1 = s32[] get-tuple-element(%wide.7), index=0
  ROOT %lt.2 = pred[] compare(%gte.1, %constant.5), direction=LT
}

%fused.1 (param_0.1: bf16[8,64]) -> bf16[8,64] {
  %param_0.1 = bf16[8,64]{1,0:T(8,128)S(1)} parameter(0)
  ROOT %negate.1 = bf16[8,64]{1,0:T(8,128)S(1)} negate(%param_0.1)
}

%body (wide.8: (s32[], bf16[8,64])) -> (s32[], bf16[8,64]) {
  %wide.8 = (s32[], bf16[8,64]{1,0:T(8,128)S(1)}) parameter(0)
  %gte.3 = s32[] get-tuple-element(%wide.8), index=0
  %gte.4 = bf16[8,64]{1,0:T(8,128)S(1)} get-tuple-element(%wide.8), index=1
  %fusion.1 = bf16[8,64]{1,0:T(8,128)S(1)} fusion(%gte.4), calls=%fused.1, op_name="f/neg"
  ROOT %tuple.1 = (s32[], bf16[8,64]{1,0:T(8,128)S(1)}) tuple(%gte.3, %fusion.1)
}

%live (param.9: (s32[], bf16[8,64])) -> pred[] {
  %param.9 = (s32[], bf16[8,64]{1,0}) parameter(0)
  ROOT %constant.6 = pred[] constant(true)
}

%decode (param.10: (s32[], bf16[8,64])) -> (s32[], bf16[8,64]) {
  %param.10 = (s32[], bf16[8,64]{1,0}) parameter(0)
  ROOT %while.1 = (s32[], bf16[8,64]{1,0}) while(%param.10), condition=%condition, body=%body
}

ENTRY %main.1_spmd (param.11: s32[], param.12: bf16[8,64]) -> (s32[], bf16[8,64]) {
  %param.11 = s32[] parameter(0)
  %param.12 = bf16[8,64]{1,0} parameter(1)
  %tuple.2 = (s32[], /*index=1*/bf16[8,64]{1,0}) tuple(%param.11, %param.12)
  ROOT %while.2 = (s32[], bf16[8,64]{1,0}) while(%tuple.2), condition=%live, body=%decode
}
"""


def test_types_operands_and_places():
  program = hlo.parse(LOOPS)
  assert program.entry == 'main.1_spmd'
  assert len(program.computations) == 6
  entry = program.computations['main.1_spmd']
  assert entry['param.12'].outputs == (Buffer('bf16', (8, 64), True),)
  assert entry['tuple.2'].outputs[0] == Buffer('s32', (), True)
  assert entry['tuple.2'].operands == ('param.11', 'param.12')
  assert entry['while.2'].is_root and entry['while.2'].called('body') == ['decode']
  fusion = program.computations['body']['fusion.1']
  assert not fusion.outputs[0].in_hbm
  assert fusion.op_name == 'f/neg'
  assert (fusion.outputs[0].elements, fusion.outputs[0].bytes) == (512, 1024)
  assert str(fusion.outputs[0]) == 'bf16[8,64]'


def test_loops_multiply_and_an_open_one_runs_as_often_as_is_said():
  program = hlo.parse(LOOPS)
  runs = hlo.executions(program, unknown=(100,))
  assert runs['main.1_spmd'] == (1, False)
  assert runs['decode'] == (100, False)
  assert runs['body'] == (3600, False)
  assert runs['fused.1'] == (3600, True)


def test_open_loops_run_as_often_as_is_said_of_each():
  """Three, one after the other; the last two have a body of their own."""
  [head, entry] = LOOPS.replace('ROOT %while.2', '%while.2').removesuffix('}\n').split('ENTRY')
  later = head[head.index('%decode') :].replace('%decode', '%later')
  more = """\
  %while.3 = (s32[], bf16[8,64]{1,0}) while(%while.2), condition=%live, body=%later
  ROOT %while.4 = (s32[], bf16[8,64]{1,0}) while(%while.3), condition=%live, body=%later
}
"""
  runs = hlo.executions(hlo.parse(f'{head}{later}ENTRY{entry}{more}'), unknown=(100, 7))
  assert (runs['decode'].count, runs['later'].count) == (100, 7 + 7)


def test_an_open_loop_inside_an_open_loop_runs_once():
  inner = LOOPS.replace('direction=LT', 'direction=NE')
  assert hlo.executions(hlo.parse(inner), unknown=(100,))['body'].count == 100


def test_what_xla_knows_of_a_loop_comes_first():
  known = 'backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}'
  text = LOOPS.replace('body=%body', f'body=%body, {known}')
  assert hlo.executions(hlo.parse(text))['body'].count == 5


def test_loops_that_xla_unrolls_step_by_more():
  """From 1 to below 36 in steps of 2, with constants copied and put into the body."""
  begins = (
    '%one = s32[] constant(1)\n  %start = s32[] copy(%one)\n  %tuple.3 = (s32[], bf16[8,64]{1,0}) '
  )
  unrolled = LOOPS.replace(
    '  ROOT %while.1 = (s32[], bf16[8,64]{1,0}) while(%param.10)',
    f'  {begins}tuple(%start, %param.10)\n'
    '  ROOT %while.1 = (s32[], bf16[8,64]{1,0}) while(%tuple.3)',
  ).replace(
    '  ROOT %tuple.1 = (s32[], bf16[8,64]{1,0:T(8,128)S(1)}) tuple(%gte.3, %fusion.1)',
    '  %two = s32[] constant(2)\n  %add.1 = s32[] add(%gte.3, %two)\n'
    '  ROOT %tuple.1 = (s32[], bf16[8,64]{1,0}) tuple(%add.1, %fusion.1)',
  )
  assert hlo.executions(hlo.parse(unrolled))['body'].count == 18


def test_a_comparison_inside_a_fusion_is_seen():
  """As the CPU compiler writes it."""
  old = LOOPS[LOOPS.index('%condition (') : LOOPS.index('%fused.1 (')]
  new = """\
%wrapped_compare (param_0: s32[], param_1: s32[]) -> pred[] {
  %param_0 = s32[] parameter(0)
  %param_1 = s32[] parameter(1)
  ROOT %lt.2 = pred[] compare(%param_0, %param_1), direction=LT
}

%condition (wide.7: (s32[], bf16[8,64])) -> pred[] {
  %constant.5 = s32[] constant(36)
  %wide.7 = (s32[], bf16[8,64]{1,0}) parameter(0)
  %gte.1 = s32[] get-tuple-element(%wide.7), index=0
  ROOT %f = pred[] fusion(%gte.1, %constant.5), kind=kLoop, calls=%wrapped_compare
}

"""
  program = hlo.parse(LOOPS.replace(old, new))
  assert hlo.trip_count(program, program.computations['decode']['while.1']) == 36


def test_a_text_without_entry_is_refused():
  with pytest.raises(ValueError, match='no ENTRY computation'):
    hlo.parse('HloModule jit_f\n')

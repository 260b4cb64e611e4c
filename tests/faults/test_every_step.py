"""One of the faults of every command; more of them with STRONGROOM_EXAMPLES, all with soak/faults."""

import random
import zlib

import pytest

from crashtable import CASES, Case, Stage, faults_of
from economy import times
from program import Program


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_a_fault_nothing_is_lost_and_the_command_finishes(case: Case, program: Program) -> None:
    stage = Stage(program, case)
    possible = list(faults_of(stage.steps()))
    dice = random.Random(zlib.crc32(case.name.encode()))
    for kind, step in dice.sample(possible, min(times(1), len(possible))):
        try:
            stage.play(kind, step)
        except AssertionError as error:
            raise AssertionError(f"{case.name}: {kind} at step {step}") from error

"""One of the faults of every command; more of them with STRONGROOM_EXAMPLES, all with soak/faults."""

import random
import zlib
from collections.abc import Iterator

import pytest

from crashtable import CASES, Case, Stage, faults_of
from economy import times
from program import Program
from programfixtures import temporary_program


@pytest.fixture(scope="module")
def shared() -> Iterator[Program]:
    """For all cases: each would make the same repository."""
    yield from temporary_program()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_a_fault_nothing_is_lost_and_the_command_finishes(case: Case, shared: Program) -> None:
    _play_some(Stage(shared, case))


def test_the_same_when_the_program_is_started_as_a_shell_does(shared: Program) -> None:
    _play_some(Stage(shared, CASES[0], whole=True))


def test_what_could_not_be_written_is_not_called_healed(shared: Program) -> None:
    """Errors of writing refs were taken for refs that are lost, of which there had been word already."""
    stage = Stage(shared, _named("repair --from"))
    for step in range(12, len(stage.steps()) + 1):
        stage.play("eio", step)


def test_a_replica_is_known_as_one_after_the_power_failed(shared: Program) -> None:
    stage = Stage(shared, _named("replicate"))
    stage.play("power", len(stage.steps()) + 1)


def test_a_servers_folder_is_there_after_the_power_failed(shared: Program) -> None:
    stage = Stage(shared, _named("server init"))
    stage.play("power", len(stage.steps()) + 1)


def _named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _play_some(stage: Stage) -> None:
    name = stage.case.name
    possible = list(faults_of(stage.steps()))
    dice = random.Random(zlib.crc32(name.encode()))
    for kind, step in dice.sample(possible, min(times(1), len(possible))):
        try:
            stage.play(kind, step)
        except AssertionError as error:
            whole = " --whole" * stage.whole
            raise AssertionError(
                f"soak/faults --only '{name}' --fault {kind} --step {step}{whole}"
            ) from error

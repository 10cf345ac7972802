import socket

import pytest

from repro.errors import NotPossibleHere, ReproError
from repro.training.launchers import Place, adopt, launched_as_leader, place

MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
HOROVODRUN = {
    "HOROVOD_RANK": "3",
    "HOROVOD_SIZE": "4",
    "HOROVOD_LOCAL_RANK": "1",
    "HOROVOD_LOCAL_SIZE": "2",
    "HOROVOD_CROSS_RANK": "1",
    "HOROVOD_CROSS_SIZE": "2",
}


@pytest.mark.parametrize(
    ("launcher", "variables"),
    [
        ("mpirun", MPIRUN),
        ("mpirun", MPICH),
        ("srun", SRUN),
        ("srun", SRUN | MPICH),
        ("horovodrun", HOROVODRUN),
    ],
)
def test_every_launcher_tells_the_same_place(launcher, variables):
    assert place(variables) == Place(launcher, 3, 4, 1, 2, 1, 2)
    assert not launched_as_leader(variables)


def test_a_process_started_by_itself_has_no_place():
    assert place({}) is None
    assert launched_as_leader({})


def test_the_batch_script_of_a_slurm_job_is_no_rank_of_it():
    # Slurm says how many tasks the job has there too.
    assert place({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({**HOROVODRUN, "HOROVOD_SIZE": "0", "HOROVOD_RANK": "0"}, "rank 0 of 0"),
        ({**HOROVODRUN, "HOROVOD_RANK": "4"}, "rank 4 of 4"),
        ({**MPIRUN, "OMPI_COMM_WORLD_SIZE": "0"}, "rank 3 of 0"),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "0"}, "rank 3 of 0"),
        ({**HOROVODRUN, "HOROVOD_SIZE": "many"}, "HOROVOD_SIZE is 'many'"),
    ],
)
def test_a_place_that_cannot_be_is_refused(variables, named):
    with pytest.raises(ReproError, match=named):
        place(variables)


def test_without_an_address_the_ranks_are_told_what_to_set():
    with pytest.raises(ReproError, match="set HOROVOD_GLOO_RENDEZVOUS_ADDR"):
        adopt(place(MPIRUN), 1, {})


def test_a_leading_rank_that_does_not_answer_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        variables = {
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(unused.getsockname()[1]),
        }
        with pytest.raises(NotPossibleHere, match=r"does not answer at 127\.0\.0\.1"):
            adopt(place(MPIRUN), 0.1, variables)


def test_horovods_own_launcher_is_left_to_it():
    variables = {}
    adopt(place(HOROVODRUN), 1, variables)
    assert variables == {}

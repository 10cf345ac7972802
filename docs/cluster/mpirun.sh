#!/bin/bash
# Trains on processes that mpirun starts:
#   docs/cluster/mpirun.sh 4 first:2,second:2 mamba --preset paper --out runs/mamba
# Call it on the first of the machines. Horovod uses MPI where it was built with it, else Gloo.
set -eu

processes="$1" hosts="$2"
shift 2
. .venv/bin/activate
HOROVOD_GLOO_RENDEZVOUS_ADDR="${HOROVOD_GLOO_RENDEZVOUS_ADDR:-$(hostname --ip-address | cut -d ' ' -f 1)}"
export HOROVOD_GLOO_RENDEZVOUS_ADDR

exec mpirun -np "$processes" -H "$hosts" --bind-to none \
    -x PATH -x HOROVOD_GLOO_RENDEZVOUS_ADDR repro train "$@"

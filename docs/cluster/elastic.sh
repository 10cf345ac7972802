#!/bin/bash
# Trains on machines that come and go:
#   docs/cluster/elastic.sh docs/cluster/discover_hosts.sh mamba --preset paper --out runs/mamba
# --out must be a folder that all machines see.
set -eu

discovery="$1"
shift
. .venv/bin/activate

exec horovodrun --gloo -np "${PROCESSES:-2}" --min-np 1 --max-np "${MAX_PROCESSES:-64}" \
    --host-discovery-script "$discovery" --blacklist-cooldown-range 10 100 repro train "$@"

#!/bin/bash
# Trains on machines that come and go:
#   docs/cluster/elastic.sh docs/cluster/discover_hosts.sh mamba --preset paper --out runs/mamba
# --out must be a folder that all machines see.
set -eu

discovery="$1"
shift
. .venv/bin/activate

# A rank that is lost while the ranks meet ends the others by an error of Gloo that no program can
# catch. The job is started again then, and goes on from the last whole epoch. Nobody can tell a lost
# rank from one that starts late: each attempt waits twice as long as the one before.
patience="${HOROVOD_GLOO_TIMEOUT_SECONDS:-10}"
said="$(mktemp)"
trap 'rm -f "$said"' EXIT
for ((attempt = 1; attempt <= ${ATTEMPTS:-5}; attempt++)); do
    status=0
    export HOROVOD_GLOO_TIMEOUT_SECONDS="$patience"
    horovodrun --gloo -np "${PROCESSES:-2}" --min-np 1 --max-np "${MAX_PROCESSES:-64}" \
        --host-discovery-script "$discovery" --blacklist-cooldown-range 10 100 repro train "$@" \
        2> >(tee "$said" >&2) || status=$?
    if ((status == 0)) || ! grep -q 'gloo::' "$said"; then
        exit "$status"
    fi
    echo "A rank was lost while the ranks met: the job starts again from the last whole epoch." >&2
    patience=$((2 * patience))
done
exit 3

#!/bin/bash
# Does a slice of a run on a machine with a GPU and JAX, without TensorFlow and network:
#   WHEELS=wheels docs/cluster/gpu.sh 540 OUT                      # the first run of the queue
#   WHEELS=wheels STATE=OUT docs/cluster/gpu.sh 540 OUT_2          # goes on from there
#   docs/cluster/gpu.sh 540 OUT mamba --preset desk --seed 0       # any run, as `repro run` takes it
# All of it takes at most so many seconds. WHEELS: a folder with the packages that the machine lacks
# (docs/paper_runs.md). STATE: what an earlier slice left. OUT: a folder to make; it then holds the run
# in parts of at most 16 MB (`repro unpack` joins them), what was printed, and the record if the run
# has ended. Exit status: that of the run.
set -euo pipefail

seconds="$1" out="$2"
shift 2
python="${PYTHON:-python3}"
to_pack=20  # seconds
site=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$site" "$log"' EXIT

if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
        --target "$site" "$WHEELS"/*.whl
fi
export PYTHONPATH="$site:$PWD${PYTHONPATH:+:$PYTHONPATH}" KERAS_BACKEND=jax
repro() { "$python" -m repro "$@"; }

sees_gpu='import jax, sys; sys.exit(jax.default_backend() == "cpu")'
if [ "${JAX_PLATFORMS:-}" != cpu ] && ! "$python" -c "$sees_gpu"; then
    echo "error: JAX sees no GPU here: install its plugin for CUDA, or say JAX_PLATFORMS=cpu." >&2
    exit 3
fi

if [ $# -eq 0 ]; then
    first='import json, shlex, sys; [first, *_] = json.load(sys.stdin); print(first["command"])'
    command=$(repro queue --json | "$python" -c "$first")
    eval "set -- ${command#*repro run }"
fi
folder=runs/slice
options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --out) folder="$2" && shift 2 ;;
        --time-budget) shift 2 ;;
        *) options+=("$1") && shift ;;
    esac
done
if [ -n "${STATE:-}" ] && [ ! -e "$folder" ]; then
    repro unpack "$STATE" --out "$folder" >/dev/null
fi

budget=$((seconds - SECONDS - to_pack))
if [ "$budget" -lt 1 ]; then
    echo "error: $seconds s are too few: the start took $SECONDS s, and packing gets $to_pack s." >&2
    exit 2
fi

status=0
repro run "${options[@]}" --time-budget "$budget" --out "$folder" --quiet 2>&1 | tee "$log" || status=$?
if compgen -G "$folder/seed-*/run.json" >/dev/null; then
    repro pack "$folder" --out "$out"
fi
mkdir -p "$out"
cp "$log" "$out/log.txt"
chmod a+r "$out/log.txt"
if [ -e "$folder/record.json" ]; then
    cp "$folder/record.json" "$out"
fi
exit "$status"

#!/usr/bin/env bash
# Trains with several processes of this host as if they were several hosts.
# Usage: scripts/workers/local.sh COUNT --recipe FILE --out FOLDER [other arguments of keras-vit train]
set -euo pipefail
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || [ "$1" -lt 2 ]; then
  echo "Usage: scripts/workers/local.sh COUNT [arguments of keras-vit train], with a COUNT of 2 or more" >&2
  exit 2
fi
count=$1
shift
first_port=${FIRST_PORT:-20000}
workers=$(for rank in $(seq 0 $((count - 1))); do printf '"127.0.0.1:%d",' $((first_port + rank)); done)
for rank in $(seq 0 $((count - 1))); do
  TF_CONFIG="{\"cluster\": {\"worker\": [${workers%,}]}, \"task\": {\"type\": \"worker\", \"index\": $rank}}" \
    keras-vit train "$@" --set train.devices=workers &
done
status=0
for _ in $(seq "$count"); do
  wait -n || status=$?
done
exit $status

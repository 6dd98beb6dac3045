#!/usr/bin/env bash
# Trains on all hosts of a Cloud TPU slice. Run again, it continues. From the root of the repository:
#   launch/tpu_pod.sh <name of the TPU> <zone> --config=configs/mix.py --workdir=<folder that all hosts share>
set -euo pipefail
if (($# < 3)); then
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
fi
tpu=$1 zone=$2
shift 2
archive=$(mktemp -d)/tofu_jax.tar.gz
trap 'rm -r "$(dirname "$archive")"' EXIT
git archive --format=tar.gz --output="$archive" HEAD
on_all=(--zone="$zone" --worker=all)
gcloud compute tpus tpu-vm scp "$archive" "$tpu:tofu_jax.tar.gz" "${on_all[@]}"
gcloud compute tpus tpu-vm ssh "$tpu" "${on_all[@]}" --command="
  set -e
  mkdir -p tofu_jax && tar -xzf tofu_jax.tar.gz -C tofu_jax && cd tofu_jax
  make .venv/installed PYTHON=python3.11
  .venv/bin/python -m pip install --quiet 'jax[tpu]>=0.10.2,<0.11'
  .venv/bin/python launch/pretrain.py $(printf '%q ' "$@")"

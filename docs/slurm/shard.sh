#!/bin/bash
#SBATCH --job-name=tpbench
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=tpbench-%A_%a.log
#
# One shard of `tpbench extract`, `eval` or `generate` per task of an array; without an array, the
# last run, which does what is left and writes the manifest, or merges the shards and scores them.
#
#     sbatch --array=1-16 shard.sh extract RAW --out DATASET
#     sbatch --dependency=afterok:JOB shard.sh extract RAW --out DATASET
#
# Two minutes before the time limit Slurm sends TERM to this script alone. The driver then ends as
# after Ctrl-C, with everything finished on record, and the task is queued again. A task whose node
# was lost is queued again by Slurm (--requeue); the lock of the dead driver is taken over.
set -uo pipefail

# Of a partial array (--array=3,7), SHARDS says how many shards there are in all.
shards=${SHARDS:-${SLURM_ARRAY_TASK_COUNT:-}}
export TPBENCH_SCRATCH=${TPBENCH_SCRATCH:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}}

command=("$@")
[[ " $*" == *" --workers"[\ =]* ]] || command+=(--workers "${SLURM_CPUS_PER_TASK:-1}")
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    command+=(--shard "$SLURM_ARRAY_TASK_ID/$shards")
fi

tpbench "${command[@]}" &
driver=$!
trap 'kill -TERM "$driver" 2> /dev/null' TERM
wait "$driver"
code=$?
while kill -0 "$driver" 2> /dev/null; do # the signal ended the wait, not the driver
    wait "$driver"
    code=$?
done

case $code in
    3) echo "finished, but something failed: see above, and tpbench status" && exit 0 ;;
    130) scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}" && exit 0 ;;
esac
exit "$code"

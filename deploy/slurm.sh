#!/bin/bash
# A search on a Slurm cluster: a job array whose tasks all join the same study, without Ray.
#
#   export STORAGE=postgresql+psycopg://cnn_search@database.example/cnn_search
#   sbatch deploy/slurm.sh --study depth_filters --data /shared/data --trials 200
#
# The password stands in ~/.pgpass (mode 600), which the driver reads by itself: neither the URL nor
# Slurm's records of the job and its environment show it. SHARED, by default the folder that sbatch
# is called in, must be the same for all machines.
#SBATCH --job-name=cnn-search
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --output=cnn-search-%A_%a.log
# With GPUs: #SBATCH --gpus-per-task=1
# Before the time is up, trials stop in order, so that the same call goes on with them.
#SBATCH --signal=TERM@120
# After a machine's failure the task starts again, and joins the study again.
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

: "${STORAGE:?must be the URL of a database that all machines reach, without its password}"
shared=${SHARED:-$PWD}

# One task retrains the winner; the others free their machines when the search is over.
retrain=--no-retrain
if [[ ${SLURM_ARRAY_TASK_ID:-0} == 0 ]]; then
    retrain=--retrain
fi

# Only what srun starts is sent the signal; it does not take over the number of CPUs by itself.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" python -m search.run "$@" \
    --storage "$STORAGE" \
    --runs-directory "$shared/runs" \
    --workers auto \
    "$retrain"

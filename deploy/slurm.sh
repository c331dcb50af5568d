#!/bin/bash
# A search on a Slurm cluster: a job array whose tasks all join the same study, without Ray.
#
#   export STORAGE=postgresql+psycopg://cnn_search@database.example/cnn_search
#   sbatch deploy/slurm.sh --study depth_filters --data /shared/data --trials 200
#
# The password is in ~/.pgpass (mode 600), which the driver reads itself. Neither the URL nor
# Slurm's records of the job and its environment contain it. SHARED must be the same folder on all
# machines; the default is the folder where sbatch is called.
#SBATCH --job-name=cnn-search
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --output=cnn-search-%A_%a.log
# With GPUs: #SBATCH --gpus-per-task=1
# Trials stop cleanly before the time limit, so that the same call resumes them.
#SBATCH --signal=TERM@120
# After a machine failure the task restarts and rejoins the study.
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

: "${STORAGE:?must be the URL, without its password, of a database that all machines can reach}"
shared=${SHARED:-$PWD}

# One task retrains the winner; the others release their machines when the search ends.
retrain=--no-retrain
if [[ ${SLURM_ARRAY_TASK_ID:-0} == 0 ]]; then
    retrain=--retrain
fi

# Slurm sends the signal only to processes started by srun. srun does not inherit --cpus-per-task.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" python -m search.run "$@" \
    --storage "$STORAGE" \
    --runs-directory "$shared/runs" \
    --workers auto \
    "$retrain"

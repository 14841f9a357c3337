"""Dask workers as Slurm jobs, and a run on them: `python cluster_slurm.py run.jsonl`.

The environments of the groups stand on a disk that all nodes share; each job has all of them. Set the two names in capitals.
"""

from __future__ import annotations

import subprocess
import sys

import dask
from dask_jobqueue import SLURMCluster

ENVIRONMENTS = "/shared/conformance"
JOBS = 16

GROUPS = ("torch", "tensorflow", "jax", "portable")
PYTHONS = {group: f"{ENVIRONMENTS}/{group}/bin/python" for group in GROUPS}


def main(out: str) -> int:
    """Run the matrix into that file, and return the exit code."""
    # A batch whose worker is lost runs elsewhere, once.
    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    with SLURMCluster(
        queue="standard",
        cores=1,
        processes=1,
        memory="16GB",
        walltime="04:00:00",
        job_script_prologue=[f'export DASK_CONFORMANCE__PYTHON="{PYTHONS}"'],
        worker_extra_args=["--resources", f'"{" ".join(f"{group.upper()}=1" for group in GROUPS)}"'],
    ) as cluster:
        cluster.scale(jobs=JOBS)
        cluster.wait_for_workers(JOBS)
        words = ["run", "--scheduler", cluster.scheduler_address, "--out", out]
        return subprocess.run([sys.executable, "-P", "-m", "conformance", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

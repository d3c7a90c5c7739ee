"""Runs of a study on the machines of a Ray cluster; the only file that knows Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import torch

from polyvae.study.job import Job, answer, named_runner

LOCAL = "local"
PASSED = ("POLYVAE_DATA", "OMP_NUM_THREADS")  # of this process's environment, to the cluster's


def on_cluster(jobs: Sequence[Job], runner: str, workers: int, address: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every job with its answer, at most `workers` at a time; `address`: of the cluster, "auto", or "local".

    "local" starts a cluster of `workers` processors here. The study's folder should lie where every machine sees it:
    elsewhere runs are trained as well, but a run that was interrupted starts anew. Raises ImportError without Ray.
    """
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise ImportError("a cluster needs Ray: pip install 'polyvae[ray]'") from error
    here = {"include_dashboard": False, "num_cpus": workers} if address == LOCAL else {}
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": passed}, **here)
    gpus = 0 if all(job.device == "cpu" for job in jobs) else ray.cluster_resources().get("GPU", 0)
    # Several runs share a GPU: they are too small to fill it.
    needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": min(1, gpus / workers), "max_retries": 2}
    task = ray.remote(_task).options(**needs)
    waiting, running = list(reversed(jobs)), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                running[task.remote(job, runner)] = job
            for done in ray.wait(list(running))[0]:
                yield running.pop(done), ray.get(done)
    except BaseException:
        for each in running:
            ray.cancel(each)  # as Ctrl-C does: what is being trained saves its state
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=60)
        raise
    finally:
        ray.shutdown()


def _task(job: Job, runner: str) -> dict[str, Any]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    return answer(named_runner(runner), job)

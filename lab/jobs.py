# SPDX-License-Identifier: GPL-2.0
"""Runs jobs from one queue, several in parallel.

Of the jobs that can start, the one with the longest chain of dependent jobs
starts first. If a job fails, the jobs that depend on it fail without running.
Doesn't know what jobs do.
"""
import concurrent.futures
import dataclasses
import os
import subprocess
import time

import guest
import machine as machines
import report


@dataclasses.dataclass
class Job:
    name: str
    work: tuple             # a function that returns what Report.group() wants, and its arguments
    seconds: float = 60     # estimated duration, used only for the order
    after: tuple = ()       # names of jobs that must have passed


def slots():
    """Number of parallel jobs: one more than CPUs, as guests are idle at times."""
    return int(os.environ.get("JOBS") or min(os.cpu_count() + 1, 5))


def weights(jobs):
    """{name: seconds of the longest chain of dependent jobs, the job included}"""
    found = {}

    def weight(job):
        if job.name not in found:
            found[job.name] = job.seconds + max((weight(other) for other in jobs if job.name in other.after),
                                                default=0)
        return found[job.name]

    for job in jobs:
        weight(job)
    return found


def run(to, jobs):
    """Runs all jobs, and reports each one when it is done."""
    assert {name for job in jobs for name in job.after} <= {job.name for job in jobs}
    weight = weights(jobs)
    waiting = sorted(jobs, key=lambda job: -weight[job.name])
    passed, running = {}, {}
    pool = concurrent.futures.ThreadPoolExecutor(slots())

    def timed(function, *arguments):
        start = time.monotonic()
        try:
            return function(*arguments), time.monotonic() - start
        except machines.Error as error:
            return error, time.monotonic() - start

    try:
        while waiting or running:
            for job in list(waiting):
                stopped = [name for name in job.after if passed.get(name) is False]
                if stopped:
                    waiting.remove(job)
                    passed[job.name] = False
                    to.single(job.name, True, f"not run: {stopped[0]} failed")
            for job in list(waiting):
                if len(running) < slots() and all(passed.get(name) for name in job.after):
                    waiting.remove(job)
                    running[pool.submit(timed, *job.work)] = job
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for run_ in finished:
                job = running.pop(run_)
                result, seconds = run_.result()
                if isinstance(result, machines.Error):
                    passed[job.name] = False
                    to.single(job.name, True, str(result), seconds)
                else:
                    passed[job.name] = to.group(job.name, *result, seconds)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        guest.kill_all()
        raise
    pool.shutdown()


def command(name, *words):
    """A Job's work that runs a command and logs its output. Each result line that it prints is a case."""
    return _command, name, words


def _command(name, words):
    log = guest.BUILD / "logs" / f"check-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(log, "w") as out:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            guest.RUNNING.add(process)
            try:
                failed = process.wait() != 0
            finally:
                guest.RUNNING.discard(process)
    except OSError as error:
        log.write_text(f"{words[0]}: {error}\n")
        failed = True
    lines = log.read_text(errors="replace").splitlines()
    found = [case for case in map(report.result_of, lines) if case]
    if failed and all(case.result != report.FAIL for case in found):
        found.append(report.Case("exit", report.FAIL, lines[-20:]))
    return " ".join(words), found or [report.Case("exit", report.PASS, [])], f"log in {log.relative_to(guest.REPO)}"

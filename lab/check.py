# SPDX-License-Identifier: GPL-2.0
"""What `make check`, `make soak` and `make coverage` run.

check runs each test on the machines and kernels where it shows something new,
and ends within half an hour on two CPUs. soak runs all tests on all machines,
long ones and the benchmark included. coverage runs the tests of check, on a
kernel that counts which lines run. All build what they need.
"""
import cases
import coverage
import guest
import jobs
import kunit
import machine as machines
import report
import stock
import upstream

# Approximate seconds of each part on two CPUs
SECONDS = {
    "tree": 20, "tree-stock": 20, "lint": 300, "docs": 90, "lsp2p": 30, "cases": 1, "demo": 40, "demo-nvmet": 30,
    "stock": 900, "bench": 900, "upstream": 15,
    "kernel-plain": 400, "kernel-debug": 500, "kernel-kcsan": 300, "kernel-gcov": 500, "kernel-stock": 400,
    "kernel-stock-debug": 500,
    "selftests-plain": 20, "selftests-debug": 20, "selftests-gcov": 20, "selftests-stock": 20,
    "selftests-stock-debug": 20, "field-stock": 60, "field-stock-debug": 120,
    "kunit-plain": 150, "kunit-debug": 400, "kunit-kcsan": 300, "kunit-gcov": 200, "races-kcsan": 100, "coverage": 60,
}

# How long the random tests are in `make check`: kernel parameters
RANDOM = {
    "plain": "p2pdma_random.fabrics=10000 p2pdma_map_random.rounds=40 "
             "p2pdma_pool_random.operations=100000 p2pdma_pool_race.steps=2000 p2pdma_race.changes=100",
    "debug": "p2pdma_random.fabrics=120 p2pdma_map_random.rounds=10 "
             "p2pdma_pool_random.operations=20000 p2pdma_pool_race.steps=1000 p2pdma_race.changes=100",
}

# The same for KCSAN: of the random tests only the pool's race test can find data races
FOR_RACES = ("p2pdma_random.fabrics=100 p2pdma_map_random.rounds=5 p2pdma_pool_random.operations=30000 "
             "p2pdma_race.changes=200")

# For a second run of p2pdma_race: a watchpoint every 50 accesses, not 500, for 1 ms, not 80 us. As
# configured, KCSAN didn't report a lock that was left out; with these parameters it did.
WATCHED = "p2pdma_race.changes=200 kcsan.skip_watch=50 kcsan.udelay_task=1000"

# For a run of p2pdma_random by itself, and how long it may take, in seconds
MANY_FABRICS = "p2pdma_random.fabrics=1000000"
MANY_SECONDS = 20000

# Factor for 20,000 random questions to /dev/p2pdma
MILLION = 50

# Factor for 2 unplugged and 4 unbound providers of disks made of peer memory
HUNDRED = 50

# Factor for the repetitions of programs in `make soak`, unless a machine has its own
TIMES = {"plain": 3, "debug": 2}


def job(name, work, *after):
    return jobs.Job(name, work, SECONDS[name], after)


def of_tree(*how):
    """Jobs of the tree, its checkers and lsp2p. how: arguments of lab/lint and lab/lsp2p"""
    return [job("tree", jobs.command("tree", "make", "-s", "tree")),
            job("lint", jobs.command("lint", "lab/lint", *how), "tree"),
            job("docs", jobs.command("docs", "lab/docs"), "tree"),
            job("lsp2p", jobs.command("lsp2p", "lab/lsp2p", *how))]


def of_kernel(kernel, suites="", parameters=""):
    """Jobs that build a kernel and run its KUnit suites."""
    return [job(f"kernel-{kernel}", jobs.command(f"kernel-{kernel}", "base/6.12/kernel", kernel), "tree"),
            job(f"kunit-{kernel}", (kunit.run, kernel, suites, parameters), f"kernel-{kernel}")]


def selftests(kernel):
    """The job that builds the selftests for a kernel."""
    return job(f"selftests-{kernel}", jobs.command(f"selftests-{kernel}", "lab/selftests", kernel), f"kernel-{kernel}")


def on_machine(name, kernel, seconds, *how):
    """The job of one machine's selftests; how: more arguments of cases.run()."""
    return jobs.Job(f"{name}-{kernel}", (cases.run, name, kernel, *how), seconds, (f"selftests-{kernel}",))


def command_check(args):
    runs = [(machine.name, kernel, run) for machine in map(machines.load, machines.names())
            for kernel, run in machine.check.items()]
    to_do = of_tree("quick")
    for kernel, parameters in RANDOM.items():
        to_do += of_kernel(kernel, parameters=parameters) + [selftests(kernel)]
    to_do += [on_machine(name, kernel, run.seconds, run.tests) for name, kernel, run in runs]
    to_do += [job("cases", (cases.all_run, [(name, kernel, run.tests) for name, kernel, run in runs]),
                  *(f"selftests-{kernel}" for kernel in RANDOM)),
              job("demo", jobs.command("demo", "lab/lab.py", "demo"), "kernel-plain"),
              job("demo-nvmet", jobs.command("demo-nvmet", "lab/lab.py", "demo", "--demo", "nvmet"), "selftests-plain"),
              job("upstream", (upstream.run,), "selftests-plain")]
    to = report.Report(len(to_do))
    jobs.run(to, to_do)
    to.save(guest.BUILD / "logs", "check")
    return to.end()


def command_coverage(args):
    kernel = coverage.KERNEL
    runs = []
    for machine in map(machines.load, machines.names()):
        parts = machine.check.values()
        # The tests that check runs on this machine, with any kernel
        tests = [] if any(part.is_all() for part in parts) else [test for part in parts for test in part.tests]
        runs.append(on_machine(machine.name, kernel, sum(part.seconds for part in parts), tests))
    to_do = [job("tree", jobs.command("tree", "make", "-s", "tree"))]
    to_do += of_kernel(kernel, parameters=RANDOM["debug"]) + [selftests(kernel)] + runs
    to = report.Report(len(to_do) + 1)
    jobs.run(to, to_do)
    jobs.run(to, [job("coverage", (coverage.judge, [f"kunit-{kernel}", *(run.name for run in runs)]))])
    to.save(guest.BUILD / "logs", "coverage")
    print(coverage.text(), end="")
    return to.end()


def command_soak(args):
    to_do = of_tree()
    for kernel in RANDOM:
        to_do += of_kernel(kernel) + [selftests(kernel)]
        to_do += [on_machine(name, kernel, 60, (), machines.load(name).soak.get(kernel, TIMES[kernel]))
                  for name in machines.names()]
    to_do += [job("tree-stock", jobs.command("tree-stock", "make", "-s", "tree", "KERNEL=stock"), "tree"),
              job("stock", (stock.run,), "selftests-stock")]
    to_do += [jobs.Job("questions-debug", (cases.run, "switch", "debug", ["query: query.random"], MILLION, "questions-debug"),
                       600, ("selftests-debug",)),
              jobs.Job("disks-plain", (cases.run, "hotplug", "plain", ["disk: cmb.*"], HUNDRED, "disks-plain"),
                       900, ("selftests-plain",))]
    for kernel in ("stock", "stock-debug"):
        name = f"field-{kernel}"
        to_do += [job(f"kernel-{kernel}", jobs.command(f"kernel-{kernel}", "base/6.12/kernel", kernel), "tree-stock"),
                  selftests(kernel),
                  job(name, (cases.run, "registration", kernel, cases.IN_FIELD, 1, name), f"selftests-{kernel}")]
    to_do += [jobs.Job(f"{name}-stock", (cases.run, name, "stock", cases.PREDICTION, 1, f"{name}-predicted"), 30,
                       ("selftests-stock",)) for name in machines.names()]
    to_do += [jobs.Job("fabrics-plain", (kunit.run, "plain", "p2pdma_random", MANY_FABRICS, "fabrics-plain",
                                         MANY_SECONDS), 5400, ("kunit-plain",))]
    to_do += of_kernel("kcsan", parameters=FOR_RACES)
    to_do += [job("races-kcsan", (kunit.run, "kcsan", "p2pdma_race", WATCHED, "races-kcsan"), "kunit-kcsan")]
    to = report.Report(len(to_do) + 1)
    jobs.run(to, to_do)
    # Alone, as it measures time on two CPUs
    jobs.run(to, [job("bench", jobs.command("bench", "make", "-s", "bench"))])
    to.save(guest.BUILD / "logs", "soak")
    return to.end()

# SPDX-License-Identifier: GPL-2.0
"""Runs the reproducers of base/6.12/upstream, which destroy disks, in a guest: our kernel must not have the defects."""
import guest
import machine as machines
import report

MACHINE, KERNEL = "stacks", "plain"
MIRROR = guest.REPO / "base/6.12/upstream/md-mirror.py"

# The legs, and what md-mirror.py must say of the write. With both in reach the array
# takes the memory; or a refusal would tell nothing.
LEGS = {"one leg out of reach": ("$far $near", "refused (EREMOTEIO), mirror unchanged"),
        "both in reach": ("$near $other", "written to both legs")}
CASES = {f"md-mirror: raid{level}, {what}": (f"{MIRROR} --level {level} $P2PDMA_PROVIDER {legs}",
                                             f"raid{level}, write: {says}")
         for level in (1, 10) for what, (legs, says) in LEGS.items()}

PROGRAM = "\n".join([
    'modprobe -d "$P2PDMA_MODULES" -a raid1 raid10',
    "set -- $P2PDMA_SCRATCH $P2PDMA_FAR",
    "near=$1 other=$2",
    "eval far=\\${$#}",
    *(f"echo '{name}'; {command}; echo \"exit status $?\"" for name, (command, _) in CASES.items())])


def judge(name, said):
    """The case, by the lines that its reproducer printed."""
    good = CASES[name][1] in said and said[-1] == "exit status 0"
    return report.Case(name, report.PASS if good else report.FAIL, [] if good else [f"not '{CASES[name][1]}':", *said])


def run():
    """Returns what Report.group() wants."""
    box = guest.Guest(machines.load(MACHINE), KERNEL, PROGRAM, 300, name=f"upstream-{KERNEL}")
    box.prepare()
    box.run()
    (box.log_dir / "verdict.txt").write_text("\n".join(box.verdict) + "\n")
    said = {}
    for line in box.verdict:
        if line in CASES:
            said[line] = []
        elif said:
            said[list(said)[-1]].append(line)
    found = [judge(name, said.get(name) or ["nothing"]) for name in CASES]
    if box.problem:
        found.append(report.Case("verdict", report.FAIL, [box.problem]))
    found += report.console_cases(box.console, False, ())
    return "defects of later kernels, which ours must not have", found, f"logs in {box.log_dir.relative_to(guest.REPO)}"

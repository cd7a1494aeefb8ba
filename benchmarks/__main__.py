"""Runs every benchmark, one process after the other: `python benchmarks [--json]`.

The last line names what falls short. That is no error: the exit code tells whether all were run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec
from measure import Report, render, verdict


def run() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object a benchmark")
    parser.add_argument("--folder", help="measure on this folder's disk (default: $TMPDIR)")
    args = parser.parse_args()
    folder = ["--folder", args.folder] if args.folder else []
    reports: list[Report] = []
    failed = 0
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        command = [sys.executable, str(script), "--json", *folder]
        done = subprocess.run(command, stdout=subprocess.PIPE)
        if done.returncode:
            failed = 1
            print(f"{script.name} failed", file=sys.stderr)
            continue
        report = msgspec.json.decode(done.stdout, type=Report)
        reports.append(report)
        print(done.stdout.decode().strip() if args.json else f"{render(report)}\n", flush=True)
    if not args.json:
        print(verdict(reports))
    return failed


if __name__ == "__main__":
    sys.exit(run())

"""What ``import nbdock`` costs, and which modules it costs it for.

python benchmarks/import_time.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from targets import Targets

RUNS = 7


def main() -> None:
    targets = Targets("import_time")
    for what in ("import nbdock", "from nbdock import build_layered_image, directory"):
        program = f"import time; t = time.perf_counter(); {what}; print(time.perf_counter() - t)"
        command = [sys.executable, "-c", program]
        # Bytecode is there, as after an installation; the first run writes what is missing.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        times = [float(subprocess.check_output(command, env=environment)) for _ in range(RUNS + 1)]
        targets.at_most(what, [seconds * 1000 for seconds in times[1:]], 200, "ms")
    command = [sys.executable, "-X", "importtime", "-c", "import nbdock"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \| (.*)", done.stderr)
    for own, _, name in sorted(rows, key=lambda row: -int(row[0]))[:10]:
        print(f"  {int(own) / 1000:6.1f} ms  {name.strip()}")


if __name__ == "__main__":
    main()

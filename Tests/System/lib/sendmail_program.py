"""Replaces sendmail: keeps its input in a folder, and exits with a status from the file `statuses` in that folder.

    sendmail_program.py FOLDER ARGUMENT …

Each run removes one line from `statuses`, and exits with 0 if there is none.
"""

import fcntl
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
text = sys.stdin.buffer.read().decode("latin-1")
with (folder / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    statuses = folder / "statuses"
    first, *rest = statuses.read_text().splitlines() if statuses.exists() else ["0"]
    if rest:
        statuses.write_text("\n".join(rest))
    else:
        statuses.unlink(missing_ok=True)
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps({"arguments": sys.argv[2:], "text": text, "status": int(first)}) + "\n")
sys.exit(int(first))

"""Stands in for sendmail: keeps what it is given in a folder, and ends as the folder's file `statuses` says.

    sendmail_program.py FOLDER ARGUMENT …

Each run takes one line from `statuses`; without one it ends well.
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

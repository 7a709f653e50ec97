"""Opens a store, which brings it to the present version, and says so: `python -m tests.log.until_migrated FILE`."""

import sys
from pathlib import Path

from demesh.log.store import Store
from tests.log.builders import MESH

if __name__ == "__main__":
    print("opening", flush=True)
    Store(Path(sys.argv[1]), mesh_id=MESH).close()
    print("opened", flush=True)

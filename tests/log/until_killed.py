"""Appends to an own log until it is killed, and tells of an entry only once the store has it:
`python -m tests.log.until_killed FILE [KEEP]`. With KEEP, all but so many of the newest entries are pruned on the way. See
`test_kill.py`.
"""

import sys
from pathlib import Path

from nacl.signing import SigningKey

from demesh.log.entry import Kind, log_id
from demesh.log.hello import Hello
from demesh.log.results import Results
from demesh.log.store import Store
from demesh.log.writer import Writer

MESH = bytes(16)


def main(path: Path, keep: int | None) -> None:
    key = SigningKey(bytes(32))
    hello = Hello(bytes(key.verify_key), bytes(8), "a", "0.1.0")
    log = log_id(hello.public_key, hello.epoch_nonce)
    with Store(path, mesh_id=MESH) as store:
        own = store.own_log()
        writer = Writer(key, MESH, bytes(8), log, own[1] if own else None)
        while True:
            contents = [(Kind.RESULTS, Results(0, ()).payload(0))] * (1 + writer.next_seq % 3)
            if writer.next_seq == 0:
                contents = [(Kind.HELLO, hello.payload())]
            batch = [writer.write(kind, payload, wall_ms=0, up_ms=0, next_ms=1) for kind, payload in contents]
            store.commit(batch, public_keys={log: hello.public_key}, own=True)
            for entry in batch:
                print(entry.seq, entry.hash.hex(), flush=True)
            if keep is not None:
                store.prune(log, writer.next_seq - keep, [Kind.HELLO], rows_max=2)
                store.release(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)

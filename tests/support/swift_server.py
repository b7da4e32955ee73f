"""OpenStack Swift, a real object store with an S3 API, in one process: the S3 server of the tests.

    python swift_server.py FOLDER PORT

It stores its objects in FOLDER, which must support extended attributes, and writes `ready` once it serves. Its one
user is `test:tester` with the key `testing`. Not imported by tests: eventlet changes the whole process that it runs in.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import eventlet  # noqa: E402

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

BACKENDS = ("account", "container", "object")

BACKEND = """\
[DEFAULT]
devices = {root}/devices
swift_dir = {root}
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """\
[DEFAULT]
swift_dir = {root}
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
"""


def main(root: Path, port: int) -> None:
    """Serves until the process is ended."""
    (root / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    (root / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    utils.set_swift_dir(str(root))
    for kind in BACKENDS:
        listener = eventlet.listen(("127.0.0.1", 0))
        ring = RingBuilder(1, 1, 0)
        place = {
            "region": 1,
            "zone": 1,
            "ip": "127.0.0.1",
            "port": listener.getsockname()[1],
            "device": "disk",
        }
        ring.add_dev({"id": 0, "weight": 1.0, **place})
        ring.rebalance()
        ring.get_ring().save(str(root / f"{kind}.ring.gz"))
        (root / f"{kind}.conf").write_text(BACKEND.format(root=root, kind=kind))
        eventlet.spawn(serve, root / f"{kind}.conf", listener)
    (root / "proxy.conf").write_text(PROXY.format(root=root))
    listener = eventlet.listen(("127.0.0.1", port))
    print("ready", flush=True)
    serve(root / "proxy.conf", listener)


def serve(configuration: Path, listener: object) -> None:
    """Serves one part of Swift on a socket."""
    app = loadapp(str(configuration), global_conf={"log_name": configuration.stem})
    with open(os.devnull, "w") as nowhere:
        wsgi.server(listener, app, log=nowhere, protocol=SwiftHttpProtocol, log_output=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

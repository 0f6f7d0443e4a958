"""An S3 server for tests: OpenStack Swift, all of it in one process, on 127.0.0.1, in a directory of its own.

Arguments: ACCESS_KEY SECRET_KEY BUCKET... with an access key like account:user. Makes the buckets, and prints
"listening PORT" when it takes requests; ends with its standard input, and the directory goes, too.

What answers is what runs in Swift's clusters: proxy with its S3 layer, account, container and object servers. Only that
they share a process is peculiar.
"""
import os
import shutil
import sys
import tempfile

import eventlet
import eventlet.patcher
import eventlet.wsgi

eventlet.patcher.monkey_patch()

access_key, secret = sys.argv[1:3]
tenant, user = access_key.split(":")


def home():
    """In memory if Swift's attributes can be kept there: everything it stores it also syncs."""
    directory = tempfile.mkdtemp(dir="/dev/shm")
    try:
        os.setxattr(directory, "user.swift.test", b"1")
        return directory
    except OSError:
        os.rmdir(directory)
        return tempfile.mkdtemp()


directory = home()


def write(name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as out:
        out.write(text)
    return path


os.makedirs(os.path.join(directory, "disks", "disk"))
write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = test\n[storage-policy:0]\nname = one\ndefault = yes\n")

from swift.common import storage_policy, swob, utils  # noqa: E402

utils.set_swift_dir(directory)
utils.HASH_PATH_SUFFIX = b"test"
storage_policy.reload_storage_policies()

from swift.common import wsgi  # noqa: E402
from swift.common.ring.builder import RingBuilder  # noqa: E402

STORAGE = """[DEFAULT]
swift_dir = {directory}
devices = {directory}/disks
mount_check = false
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """[DEFAULT]
swift_dir = {directory}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
allow_no_owner = true
storage_domain = localhost
[filter:tempauth]
use = egg:swift#tempauth
user_{tenant}_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


class NoMemory:
    """In place of memcached, which Swift wants: it has forgotten everything."""

    def get(self, *_, **__):
        return None

    def set(self, *_, **__):
        pass

    delete = incr = decr = set


def listen(name, template):
    """Listens, and gives the port, and what makes the application: that is called when all rings are written."""
    socket = eventlet.listen(("127.0.0.1", 0))
    values = {"directory": directory, "name": name, "tenant": tenant, "user": user, "secret": secret}
    conf = write(name + ".conf", template.format(**values))

    def start():
        inner = wsgi.loadapp(conf, global_conf={"log_name": name})

        def app(environ, start_response):
            environ["swift.cache"] = NoMemory()
            return inner(environ, start_response)

        eventlet.spawn(
            eventlet.wsgi.server, socket, app, open(os.devnull, "w"),
            # Clients of S3 want "ETag", not "Etag".
            protocol=wsgi.SwiftHttpProtocol, capitalize_response_headers=False,
        )
        return app

    return socket.getsockname()[1], start


def ring(name, port):
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"})
    builder.rebalance(seed=1)
    builder.get_ring().save(os.path.join(directory, name + ".ring.gz"))


starters = []
for name in ["account", "container", "object"]:
    port, start = listen(name, STORAGE)
    ring(name, port)
    starters.append(start)
port, start = listen("proxy", PROXY)
app = [starter() for starter in starters + [start]][-1]
for bucket in sys.argv[3:]:
    made = swob.Request.blank(
        f"/v1/AUTH_{tenant}/{bucket}", method="PUT", environ={"swift.authorize_override": True}
    ).get_response(app)
    assert made.is_success, made.status
print("listening", port, flush=True)
eventlet.tpool.execute(sys.stdin.read)
shutil.rmtree(directory, ignore_errors=True)
os._exit(0)

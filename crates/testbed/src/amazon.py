"""Amazon's services for tests: object store, token service and instance metadata of moto, on 127.0.0.1, in memory.

Arguments: ACCESS_KEY SECRET_KEY BUCKET... Makes the buckets, and prints "listening PORT" when it takes requests; ends with
its standard input.

moto takes every signature. So each request is checked before it: signatures by botocore, which is Amazon's own, against the
given key and those that the token service has handed out; clock and region as Amazon does. The metadata service wants the
token of its second version. An object store is at http://127.0.0.1:PORT/BUCKET and at http://BUCKET.localhost:PORT.
"""
import datetime
import os
import sys
import threading
from urllib.parse import parse_qsl, unquote

os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", MOTO_ALLOW_NONEXISTENT_REGION="true")

from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = sys.argv[1:3]
REGION = "us-east-1"
SESSION = "a-session-of-the-second-version"


class Refused(Exception):
    """status, code, message, further elements"""


def credentials(key):
    """What is known of an access key."""
    if key == KEY:
        return Credentials(KEY, SECRET)
    if key == "test-key":
        # What moto's metadata service hands out.
        return Credentials("test-key", "test-secret-key", "test-session-token")
    for account in get_backend("sts").values():
        for backend in account.values():
            for role in backend.assumed_roles:
                if role.access_key_id == key:
                    if role.expiration.replace(tzinfo=None) < now():
                        raise Refused(400, "ExpiredToken", "The provided token has expired.")
                    return Credentials(key, role.secret_access_key, role.session_token)
    raise Refused(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class Asked:
    """A signed request, put together anew from what came."""

    def __init__(self, environ, authorization, scope, names, time, signature, token):
        self.key, _, self.region, self.service, _ = scope.rsplit("/", 4)
        self.names, self.time, self.signature, self.token = names.split(";"), time, signature, token
        self.environ, self.presigned = environ, authorization is None

    def header(self, name):
        plain = {"host": "HTTP_HOST", "content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
        return self.environ.get(plain.get(name, "HTTP_" + name.upper().replace("-", "_")), "")

    def check(self):
        when = datetime.datetime.strptime(self.time, "%Y%m%dT%H%M%SZ")
        if abs((now() - when).total_seconds()) > 15 * 60:
            message = "The difference between the request time and the current time is too large."
            raise Refused(403, "RequestTimeTooSkewed", message)
        known = credentials(self.key)
        if (known.token or "") != self.token:
            raise Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if self.region != REGION:
            code = "AuthorizationQueryParametersError" if self.presigned else "SignatureDoesNotMatch"
            raise Refused(400, code, f"the region '{self.region}' is wrong; expecting '{REGION}'", f"<Region>{REGION}</Region>")
        kind = S3SigV4QueryAuth if self.presigned else SigV4Auth
        auth = kind(known, self.service, self.region)
        url, body = "http://" + self.environ["HTTP_HOST"] + self.environ["RAW_URI"], b""
        if self.presigned:
            path, query = url.split("?", 1)
            url = path + "?" + "&".join(part for part in query.split("&") if not part.startswith("X-Amz-Signature="))
        else:
            body = read(self.environ)
        headers = {name: self.header(name) for name in self.names}
        request = AWSRequest(self.environ["REQUEST_METHOD"], url, headers, data=body)
        request.context["timestamp"] = self.time
        canonical = auth.canonical_request(request)
        if auth.signature(auth.string_to_sign(request, canonical), request) != self.signature:
            message = "The request signature we calculated does not match the signature you provided."
            raise Refused(403, "SignatureDoesNotMatch", message)


def read(environ):
    """A small body, which can be read once more."""
    import io

    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def asked(environ):
    """None: it is not signed."""
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if "X-Amz-Signature" in query:
        token = query.get("X-Amz-Security-Token", "")
        names, scope = query["X-Amz-SignedHeaders"], query["X-Amz-Credential"]
        return Asked(environ, None, scope, names, query["X-Amz-Date"], query["X-Amz-Signature"], token)
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization.startswith("AWS4-HMAC-SHA256 "):
        parts = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
        time, token = environ["HTTP_X_AMZ_DATE"], environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        return Asked(environ, authorization, parts["Credential"], parts["SignedHeaders"], time, parts["Signature"], token)
    return None


def check(environ):
    path = environ["PATH_INFO"]
    if path.startswith("/latest/"):
        if path != "/latest/api/token" and environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != SESSION:
            raise Refused(401, "Unauthorized", "a session token of the second version is wanted")
        return
    request = asked(environ)
    if request:
        return request.check()
    form = dict(parse_qsl(read(environ).decode())) if environ["REQUEST_METHOD"] == "POST" else {}
    if form.get("Action") != "AssumeRoleWithWebIdentity":
        raise Refused(403, "AccessDenied", "Access Denied")
    if form.get("WebIdentityToken") != "of-this-cluster":
        raise Refused(400, "InvalidIdentityToken", "The token is not of this cluster")


class Checked:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        try:
            check(environ)
        except Refused as refused:
            status, code, message, *more = refused.args
            body = f"<Error><Code>{code}</Code><Message>{message}</Message>{''.join(more)}</Error>".encode()
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("Connection", "close")]
            start_response(f"{status} Refused", headers)
            return [body] if environ["REQUEST_METHOD"] != "HEAD" else []
        if environ["PATH_INFO"] == "/latest/api/token":
            start_response("200 OK", [("Content-Length", str(len(SESSION)))])
            return [SESSION.encode()]
        return self.inner(environ, start_response)


class Handler(WSGIRequestHandler):
    def log(self, *_):
        pass


inner = DomainDispatcherApplication(create_backend_app)
s3 = get_backend("s3")["123456789012"]["aws"]
for bucket in sys.argv[3:]:
    s3.create_bucket(bucket, REGION)
server = make_server("127.0.0.1", 0, Checked(inner), threaded=True, request_handler=Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("listening", server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)

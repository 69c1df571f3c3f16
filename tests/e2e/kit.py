"""What the end-to-end tests share: a private PostgreSQL, the real binary, its processes, and a pipeline that trains in
milliseconds. Standard library only.

    with kit.World() as w:            # cluster, migrated database, store, orch.yaml and pipelines/quick applied
        w.serve(); w.worker()
        proposal = w.orch_json("propose", "quick", "--reason", "first")["proposal"]
"""
import base64
import fcntl
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pty
import pwd
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import urllib.parse

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/dev/orch"))
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"

PIPELINE = """\
pipeline: {name}
owner: test-team
oncall: "#test"
data:
  - {{name: rows, file: rows.csv}}
config: {{accuracy: 0.9}}
steps:
  - name: train
    run: [/bin/sh, train.sh]
    timeout: 60s
    retry: {{limit: 20, backoff: 1s, max: 2s}}
  - name: evaluate
    run: [/bin/sh, evaluate.sh]
    role: evaluate
    needs: [train]
    timeout: 60s
    retry: {{limit: 20, backoff: 1s, max: 2s}}
monitors:
  - {{name: inputs, kind: drift, columns: [x], window: 200 rows}}
# No cooldown: a test's first signal may come right after its promotion.
retrain: {{cooldown: 0s, budget: 1000 per day}}
checks:
  - {{metric: accuracy, min: 0.5, vs_champion: -0.2}}
gates:
  promote:
    require: [{{group: ml-owners, approvals: 1}}]
    expires: 1h
rollout:
  driver: {{symlink: {{path: live/{name}}}}}
keep: 5
"""
TRAIN = """\
set -e
cp "$ORCH_DATA_ROWS" "$ORCH_OUTPUT/profile.csv"
echo "model of proposal $ORCH_PROPOSAL version $ORCH_VERSION seed $ORCH_SEED" > "$ORCH_OUTPUT/model.txt"
echo "orch:progress 0.5 half way"
echo '{"rows": 1000}' > "$ORCH_OUTPUT/metrics.json"
"""
EVALUATE = """\
set -e
test -r "$ORCH_MODEL/model.txt"
echo '{"accuracy": 0.9}' > "$ORCH_OUTPUT/metrics.json"
"""
CONFIG = {
    "reviewers": [
        {"name": "dana", "email": "dana@example.com", "slack": "T0001/U0001", "groups": ["ml-owners"]},
        {"name": "erik", "email": "erik@example.com", "slack": "T0001/U0002", "groups": ["ml-owners", "risk"]},
    ],
    "callbacks": [{"name": "portal", "secret_env": "ORCH_WEBHOOK_SECRET", "may_speak_for": ["ml-owners", "risk"]}],
}


def pg_bin():
    """Debian's newest installation, or the one that ORCH_PG_HOME names."""
    if os.environ.get("ORCH_PG_HOME"):
        return os.path.join(os.environ["ORCH_PG_HOME"], "bin")
    root = "/usr/lib/postgresql"
    return os.path.join(root, sorted(os.listdir(root), key=float)[-1], "bin")


def wait_for(what, check, seconds=30.0, pause=0.05):
    """Polls until check() is true and returns its value; what it waited for is in the failure's text."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {seconds} s waiting for {what}")
        time.sleep(pause)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gauge:
    """What Prometheus scrapes: one gauge `model_auc`, whose value the test sets.

        with kit.Gauge() as gauge: ... gauge.port ... gauge.value = 0.5
    """

    def __init__(self, value=0.9, labels=""):
        self.value = value

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):  # noqa: N802, N805
                body = f"# TYPE model_auc gauge\nmodel_auc{labels} {self.value}\n".encode()
                handler.send_response(200)
                handler.send_header("Content-Type", "text/plain; version=0.0.4")
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_):  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class World:
    """A folder with everything in it, removed at the end."""

    def __init__(self, config=None, pipelines=("quick",), env=None, train=TRAIN):
        self.config = config or CONFIG
        self.pipelines = pipelines
        self.extra_env = env or {}
        self.train = train
        self.processes = []
        self.port = free_port()
        self.logs = 0

    # ---- life

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="orch-e2e-")
        os.chmod(self.dir, 0o711)  # the database's user must reach its folder
        try:
            self._cluster_start()
            self.env = {
                "PATH": "/usr/bin:/bin", "HOME": self.dir, "LC_ALL": "C.UTF-8", "NO_COLOR": "1",
                "ORCH_DATABASE_URL": self.url("orch"), "ORCH_STORE": os.path.join(self.dir, "store"),
                "ORCH_LISTEN": f"127.0.0.1:{self.port}", "ORCH_WEBHOOK_SECRET": WEBHOOK_SECRET,
                "ORCH_SLACK_SIGNING_SECRET": SLACK_SECRET, **self.extra_env,
            }
            for name, value in os.environ.items():  # sanitizers' options
                if name.endswith("SAN_OPTIONS"):
                    self.env[name] = value
            self.sql("create database orch", database="postgres")
            self.orch("migrate")
            self._write_files()
            self.orch("apply", "orch.yaml", *[f"pipelines/{p}" for p in self.pipelines])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        if hasattr(self, "pg_data"):
            subprocess.run([*self.as_pg, os.path.join(pg_bin(), "pg_ctl"), "-D", self.pg_data, "-m", "immediate", "stop"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def _cluster_start(self):
        self.as_pg = []
        run = os.path.join(self.dir, "pg")
        os.mkdir(run)
        if os.geteuid() == 0:  # PostgreSQL refuses root
            user = "postgres" if any(p.pw_name == "postgres" for p in pwd.getpwall()) else "nobody"
            shutil.chown(run, user)
            self.as_pg = ["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"]
        self.pg_run, data = run, os.path.join(run, "data")
        quiet = {"stdout": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run([*self.as_pg, os.path.join(pg_bin(), "initdb"), "-D", data, "-A", "trust", "-U", "orch", "-E", "UTF8",
                        "--locale=C.UTF-8"], check=True, **quiet)
        self.pg_data = data
        self._pg_ctl_start()

    def _pg_ctl_start(self):
        subprocess.run([*self.as_pg, os.path.join(pg_bin(), "pg_ctl"), "-D", self.pg_data, "-w", "-l",
                        os.path.join(self.pg_run, "log"), "-o",
                        f"-c listen_addresses='' -c unix_socket_directories={self.pg_run} -c max_connections=60", "start"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _write_files(self):
        with open(os.path.join(self.dir, "orch.yaml"), "w", encoding="utf-8") as f:
            json.dump(self.config, f)  # JSON is YAML
        for name in self.pipelines:
            folder = os.path.join(self.dir, "pipelines", name)
            os.makedirs(folder)
            for file, text in (("pipeline.yaml", PIPELINE.format(name=name)), ("train.sh", self.train), ("evaluate.sh", EVALUATE),
                               ("rows.csv", "x\n" + "".join(f"{(i * 7919) % 1000}\n" for i in range(1000)))):
                with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
                    f.write(text)

    # ---- database

    def url(self, database):
        return f"postgresql:///{database}?host={urllib.parse.quote(self.pg_run, safe='')}&user=orch"

    def sql(self, text, database="orch"):
        """The first column of every row, as text."""
        out = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text],
                             check=True, capture_output=True, text=True)
        return [line.split("|")[0] for line in out.stdout.splitlines()]

    def sql_through_restarts(self, text):
        """sql() for a database that may be restarting."""
        for _ in range(200):
            try:
                return self.sql(text)
            except subprocess.CalledProcessError:
                time.sleep(0.05)
        raise AssertionError("the database did not come back")

    # ---- processes

    def orch(self, *args, env=None, check=True, stdin=None):
        done = subprocess.run([ORCH, *args], cwd=self.dir, env={**self.env, **(env or {})}, capture_output=True, text=True,
                              timeout=120, input=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"orch {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def screen(self, *words, until, env=None, columns=120, rows=40):
        """What a terminal shows once `until` has come; then Ctrl-C, which ends what still runs."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            environment = {k: v for k, v in self.env.items() if k != "NO_COLOR"}
            os.execve(ORCH, [ORCH, *words], {**environment, "TERM": "xterm", **(env or {})})
        out, end = b"", time.monotonic() + 60
        try:
            while until not in out.decode(errors="replace") and time.monotonic() < end:
                if select.select([master], [], [], 1)[0]:
                    out += os.read(master, 65536)
            os.write(master, b"\x03")
            while select.select([master], [], [], 10)[0] and (got := os.read(master, 65536)):
                out += got
        except OSError:
            pass  # the other side is closed
        os.close(master)
        os.waitpid(pid, 0)
        return out.decode()

    def orch_json(self, *args, **kw):
        return json.loads(self.orch(*args, "--json", **kw).stdout)

    def start(self, *args, env=None):
        self.logs += 1
        log = open(os.path.join(self.dir, f"{self.logs:03d}-{args[0]}.log"), "ab")
        process = subprocess.Popen([ORCH, *args], cwd=self.dir, env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
        log.close()
        process.log = log.name
        self.processes.append(process)
        return process

    def serve(self, wait=True, **kw):
        process = self.start("serve", **kw)
        if wait:
            self.wait_ready()
        return process

    def worker(self, *args):
        return self.start("worker", "--lease", "2s", "--work", os.path.join(self.dir, "work"), *args)

    def wait_ready(self):
        def ready():
            try:
                return self.http("GET", "/readyz")[0] == 200
            except OSError:
                return False
        wait_for("the server to be ready", ready, 20)

    # ---- HTTP

    def http(self, method, path, body=None, headers=None, timeout=20):
        """-> (status, document or text, headers)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.loads(data) if "json" in kind and data else data.decode(), answer.headers
        finally:
            connection.close()

    def callback(self, gate, verdict="approve", reviewer="dana", comment="looks good", digest=None, message_id=None,
                 secret=WEBHOOK_SECRET, now=None):
        """A decision signed by Standard Webhooks."""
        digest = digest or self.sql(f"select digest from orch.gate where id = {int(gate)}")[0]
        body = json.dumps({"type": "gate.decision", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "data": {
            "gate": gate, "verdict": verdict, "reviewer": reviewer, "comment": comment, "digest": digest}}).encode()
        message_id = message_id or "msg_" + os.urandom(12).hex()
        stamp = str(int(now if now is not None else time.time()))
        key = base64.b64decode(secret[len("whsec_"):])
        mac = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        return self.http("POST", "/v1/callbacks/webhook", body, {
            "Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(mac).decode()})

    def token(self, name, scopes, reviewer=None):
        args = ["token", "create", name, "--scope", scopes]
        if reviewer:
            args += ["--reviewer", reviewer]
        return self.orch_json(*args)["secret"]

    def add_monitor(self, pipeline, monitor):
        """Puts one more monitor, as YAML, into a pipeline's file and applies it."""
        path = os.path.join(self.dir, "pipelines", pipeline, "pipeline.yaml")
        text = read(path)
        assert "monitors:\n" in text
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("monitors:\n", f"monitors:\n  - {monitor}\n"))
        self.orch("apply", f"pipelines/{pipeline}")

    def set_monitors(self, pipeline, monitors):
        """Puts these monitors, a list of YAML, in place of a pipeline's own and applies it."""
        path = os.path.join(self.dir, "pipelines", pipeline, "pipeline.yaml")
        text = read(path)
        start, end = text.index("monitors:"), text.index("retrain:")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text[:start] + "monitors:\n" + "".join(f"  - {m}\n" for m in monitors) + text[end:])
        self.orch("apply", f"pipelines/{pipeline}")

    # ---- steps of the story

    def state(self, proposal):
        return self.sql(f"select state from orch.proposal where id = {int(proposal)}")[0]

    def wait_state(self, proposal, *states, seconds=60):
        return wait_for(f"proposal {proposal} to be {' or '.join(states)} (it is {self.state(proposal)})",
                        lambda: self.state(proposal) in states and self.state(proposal), seconds)

    def gate_of(self, proposal):
        return int(self.sql(f"select id from orch.gate where proposal_id = {int(proposal)} order by id desc limit 1")[0])

    def promote(self, pipeline="quick", reason="because"):
        """Proposes, trains, approves by callback, waits until live -> proposal id."""
        proposal = self.orch_json("propose", pipeline, "--reason", reason)["proposal"]
        self.wait_state(proposal, "awaiting_approval")
        status, document, _ = self.callback(self.gate_of(proposal))
        assert status == 200, document
        self.wait_state(proposal, "promoted")
        return proposal

    def live(self, pipeline="quick"):
        rows = self.sql("select v.number from orch.pipeline p join orch.version v on v.id = p.champion_id "
                        f"where p.name = '{pipeline}'")
        return int(rows[0]) if rows else None

    def pointer(self, pipeline="quick"):
        """What the symlink points to: the model file's text."""
        with open(os.path.join(self.dir, "live", pipeline, "model.txt"), encoding="utf-8") as f:
            return f.read().strip()


def kill9(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()

"""Signals, Alertmanager's real bodies and observations over HTTP: the real server, a real PostgreSQL."""

import base64
import hashlib
import http.client
import json
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/dev/orch"))
WIRE = os.path.join(TOP, "tests/data/wire")
TOKEN = "orch_" + "t" * 43
SPEC = {
    "owner": "o", "oncall": "#o", "profile": "experimental", "serving": "batch", "data": [], "config": {},
    "steps": [{"name": "train", "run": ["x"], "role": "train", "needs": [], "timeout_ms": 60000, "executor": "process",
               "retry": {"limit": 0, "backoff_ms": 10, "max_ms": 100}, "secrets": [],
               "resources": {"cpu": 1, "memory_bytes": None, "gpu": 0, "labels": []}}],
    "monitors": [], "retrain": {"cooldown_ms": 1, "budget": None}, "checks": [],
    "gates": {"promote": {"require": [{"group": "g", "approvals": 1}], "expires_ms": 1000000, "own_proposals": False}},
    "rollout": {"driver": {"symlink": {"path": "live"}}}, "keep": 5}


def step(name, role, needs):
    return dict(SPEC["steps"][0], name=name, role=role, needs=needs)


DRIFTING = dict(
    SPEC, pipeline="drifting", steps=[step("train", "train", []), step("evaluate", "evaluate", ["train"])],
    monitors=[{"name": "inputs", "kind": "drift", "columns": ["a"], "window_rows": 200, "min_rows": 200, "psi": 0.2,
               "p_value": 0.001, "for": {"hits": 2, "of": 3}, "null_jump": 0.1}])
# Two jobs, one approval, one deployment: version 1 is live.
GO_LIVE = """DO $$ DECLARE g orch.job_grant; d record; w bigint :=
  (orch.worker_register('w', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> 'worker')::bigint;
BEGIN
  FOR i IN 1 .. 5 LOOP FOR g IN SELECT * FROM orch.job_claim(w, 16, NULL) LOOP
    PERFORM orch.job_finish(w, g.job, g.lease, 'succeeded', CASE WHEN g.role = 'evaluate'
      THEN '{"metrics": {"accuracy": 0.8}}'::jsonb
      ELSE jsonb_build_object('output', 'sha256:' || repeat('a', 64), 'profile', 'PROFILE') END);
  END LOOP; END LOOP;
  PERFORM orch.gate_decide(id, jsonb_build_object('verdict', 'approve', 'comment', 'fine', 'via', 'api', 'reviewer',
    'dana', 'digest', digest)) FROM orch.gate WHERE state = 'open';
  SELECT * INTO d FROM orch.deployment_claim('test', 10000);
  PERFORM orch.deployment_finish(d.id, d.lease, true, '{}');
END $$"""


def profile_of_a():
    """The documented bytes of a profile: column "a", 400 values of which each quarter lies in one bin."""
    edges, counts = (1.0, 2.0, 3.0), (100, 100, 100, 100)
    sketch = struct.pack("<BBHBBH3d3B6Q4d4Q4d", 1, 1, 3, 3, 0, 0, *edges, 0, 1, 2, 400, 0, 0, 0, 0, 0,
                         2.0, 500.0, 0.5, 3.5, *counts, *(100 * (i + 0.5) for i in range(4)))
    return base64.b64encode(struct.pack("<8sHHIQH1s", b"ORCHPROF", 1, 0, 1, 400, 1, b"a") + sketch).decode()


class Cluster:
    """A private PostgreSQL, made by tests/lib/cluster.sh; it goes when the shell's standard input closes."""

    def __init__(self):
        script = f". {TOP}/tests/lib/cluster.sh; trap cluster_stop EXIT; cluster_start && echo $PGHOST $PGUSER && cat >&2"
        self.shell = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.host, self.user = self.shell.stdout.readline().split()
        self.url = f"host={self.host} user={self.user} dbname=postgres"

    def sql(self, text):
        done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", text],
                              capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def stop(self):
        self.shell.stdin.close()
        self.shell.wait(60)
        self.shell.stdout.close()


class SignalsInTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.server = None
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.addClassCleanup(cls.cluster.stop)
        subprocess.run([ORCH, "--database", cls.cluster.url, "migrate"], check=True, capture_output=True, timeout=60)
        digest = "sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()
        cls.cluster.sql("""SELECT orch.server_apply('{"reviewers": [{"name": "dana", "groups": ["g"]}]}', 'user:t')""")
        cls.cluster.sql(f"SELECT orch.token_create('t', '{digest}', '{{signal,observe}}', NULL, 'user:t')")
        spec = json.dumps(DRIFTING)
        cls.cluster.sql(f"SELECT orch.pipeline_apply('{spec}', 'x', 'sha256:{8:064d}', 'sha256:{7:064d}', NULL, NULL, "
                         "'user:t'), orch.proposal_create('drifting', 'first', 'keep', 'user:t', NULL, NULL)")
        cls.cluster.sql(GO_LIVE.replace("PROFILE", profile_of_a()))
        for number, name in enumerate(("housing", "churn-retrain", "churn", "watched")):
            spec = json.dumps(dict(SPEC, pipeline=name))
            cls.cluster.sql(f"SELECT orch.pipeline_apply('{spec}', 'x', 'sha256:{number:064d}', 'sha256:{7:064d}', "
                            "NULL, NULL, 'user:t')")
        cls.start_server()
        cls.addClassCleanup(cls.stop_server)

    @classmethod
    def start_server(cls):
        log = os.path.join(cls.scratch.name, "log")
        with open(log, "wb") as file:
            cls.server = subprocess.Popen(
                [ORCH, "serve", "--json", "--listen", "127.0.0.1:0", "--database", cls.cluster.url], stderr=file,
                cwd=cls.scratch.name, env={"PATH": os.environ["PATH"], "HOME": cls.scratch.name})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and cls.server.poll() is None:
            with open(log, encoding="utf-8") as file:
                for line in file:
                    if '"serve.started"' in line:
                        cls.base = "http://" + json.loads(line)["address"]
                        return
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    @classmethod
    def stop_server(cls, how=signal.SIGTERM):
        if cls.server.poll() is None:
            cls.server.send_signal(how)
        cls.server.wait(30)

    def post(self, path, body, kind="application/json", token=TOKEN, **headers):
        """-> (status, document)"""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=body, method="POST")
        if kind:
            request.add_header("Content-Type", kind)
        if token:
            request.add_header("Authorization", "Bearer " + token)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def declare(self, path, length):
        """The status that a body of this length gets before a byte of it was sent."""
        connection = http.client.HTTPConnection(self.base.removeprefix("http://"), timeout=30)
        connection.putrequest("POST", path)
        for name, value in (("Content-Type", "application/json"), ("Authorization", "Bearer " + TOKEN),
                            ("Content-Length", str(length))):
            connection.putheader(name, value)
        connection.endheaders()
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    def observe(self, body, pipeline="watched", **headers):
        return self.post(f"/v1/pipelines/{pipeline}/observations", body, "application/x-ndjson", **headers)

    def alertmanager(self, name, query=""):
        with open(os.path.join(WIRE, name), "rb") as file:
            return self.post("/v1/signals/alertmanager" + query, file.read())

    def rows(self):
        return int(self.cluster.sql("SELECT coalesce(sum(n_rows), 0) FROM orch.observation_batch b "
                                    "JOIN orch.pipeline p ON p.id = b.pipeline_id WHERE name = 'watched'"))

    # ---- signals

    def test_a_signal_proposes_once(self):
        body = {"pipeline": "housing", "title": "accuracy fell", "source": "report", "fingerprint": "acc",
                "detail": {"accuracy": 0.61}}
        status, first = self.post("/v1/signals", body)
        self.assertEqual((status, first["disposition"]), (200, "proposed"))
        status, again = self.post("/v1/signals", body)
        self.assertEqual((status, again["disposition"]), (200, "duplicate"))
        self.assertEqual(again["signal"], first["signal"])
        status, other = self.post("/v1/signals", dict(body, fingerprint="f1"))
        self.assertEqual((status, other["disposition"], other["proposal"]), (200, "folded", first["proposal"]))
        status, ended = self.post("/v1/signals", dict(body, status="resolved"))
        self.assertEqual((status, ended["disposition"]), (200, "resolved"))
        self.assertEqual(self.cluster.sql(f"SELECT count FROM orch.signal WHERE id = {first['signal']}"), "2")

    def test_signals_refused(self):
        good = {"pipeline": "housing"}
        for status, body, more in (
                (401, good, {"token": None}), (415, good, {"kind": "text/plain"}), (415, good, {"kind": None}),
                (400, b"{", {}), (422, {}, {}), (422, dict(good, kind="manual"), {}), (422, dict(good, colour=1), {}),
                (404, {"pipeline": "nobody"}, {})):
            got, document = self.post("/v1/signals", body, **more)
            self.assertEqual(got, status, document)
            self.assertEqual(document["status"], status)
            self.assertTrue(document["type"].startswith("urn:orch:problem:"))

    # ---- Alertmanager

    def test_captured_alerts(self):
        status, answer = self.alertmanager("alertmanager-real-firing.json")
        self.assertEqual((status, answer["taken"], answer["truncated_alerts"]), (200, 1, 0))
        alert = answer["alerts"][0]
        self.assertEqual((alert["pipeline"], alert["disposition"]), ("churn-retrain", "proposed"))
        _, answer = self.alertmanager("alertmanager-real-firing.json")
        self.assertEqual(answer["alerts"][0]["disposition"], "duplicate")
        _, answer = self.alertmanager("alertmanager-real-resolved.json")
        self.assertEqual(answer["alerts"][0]["disposition"], "resolved")
        _, answer = self.alertmanager("alertmanager-real-firing.json")  # late, of an episode that has ended
        self.assertEqual(answer["alerts"][0]["disposition"], "duplicate")

    def test_alerts_by_their_own_status(self):
        _, first = self.alertmanager("alertmanager_v4_firing.json", "?pipeline=churn")
        self.assertEqual([a["disposition"] for a in first["alerts"]], ["proposed", "folded"])
        _, same = self.alertmanager("alertmanager_v4_repeat_identical.json", "?pipeline=churn")
        self.assertEqual([a["disposition"] for a in same["alerts"]], ["duplicate", "duplicate"])
        _, mixed = self.alertmanager("alertmanager_v4_mixed.json", "?pipeline=churn")
        self.assertEqual([(a["status"], a["disposition"]) for a in mixed["alerts"]],
                         [("firing", "duplicate"), ("resolved", "resolved")])
        _, anew = self.alertmanager("alertmanager_v4_refire_new_episode.json", "?pipeline=churn")
        self.assertEqual(anew["alerts"][0]["disposition"], "folded")
        _, cut = self.alertmanager("alertmanager_v4_truncated.json", "?pipeline=churn")
        self.assertEqual((cut["taken"], cut["truncated_alerts"]), (1, 37))

    def test_alerts_of_nobody(self):
        status, answer = self.alertmanager("alertmanager_v4_firing.json")
        self.assertEqual((status, answer["taken"], answer["refused"]), (422, 0, 2))
        self.assertIn("orch_pipeline", answer["alerts"][0]["error"])
        status, answer = self.alertmanager("alertmanager_v4_firing.json", "?pipeline=nobody")
        self.assertEqual(status, 422)
        self.assertIn("nobody", answer["alerts"][0]["error"])
        status, answer = self.post("/v1/signals/alertmanager", {"hello": 1})
        self.assertEqual(status, 422)

    def test_too_large(self):
        self.assertEqual(self.declare("/v1/signals", (1 << 20) + 1), 413)
        self.assertEqual(self.declare("/v1/signals/alertmanager", (1 << 20) + 1), 413)
        self.assertEqual(self.declare("/v1/pipelines/watched/observations", (8 << 20) + 1), 413)

    # ---- observations

    def test_a_bad_line_spoils_nothing(self):
        before = self.rows()
        status, answer = self.observe(b'{"a": 1}\n{"a": }\n\n{"a": 3}')
        self.assertEqual((status, answer["accepted"], answer["rejected_count"]), (202, 2, 1))
        self.assertEqual(answer["rejected"][0]["line"], 2)
        self.assertEqual(self.rows(), before + 2)
        status, answer = self.observe(b"[1]\nx\n")
        self.assertEqual((status, answer["accepted"], len(answer["rejected"])), (422, 0, 2))
        for status, body, more in ((422, b"", {}), (422, b"\n \n", {}), (404, b'{"a":1}', {"pipeline": "nobody"}),
                                   (401, b'{"a":1}', {"token": None}),
                                   (415, b'{"a":1}', {"Content_Encoding": "br"})):
            self.assertEqual(self.observe(body, **more)[0], status)
        self.assertEqual(self.rows(), before + 2)

    def test_the_same_batch_twice(self):
        before = self.rows()
        for _ in range(3):
            status, answer = self.observe(b'{"a": 1}\n{"a": 2}\n', Idempotency_Key="batch-7")
            self.assertEqual((status, answer["accepted"]), (202, 2))
        self.assertEqual(self.rows(), before + 2)

    def test_z_accepted_rows_survive_a_kill(self):
        """Every 202 stands for rows in the database, also when the server dies right behind it."""
        before = self.rows()
        accepted = 0
        for turn in range(5):
            for _ in range(turn + 1):
                status, answer = self.observe(b'{"a": 1}\n' * 100)
                self.assertEqual(status, 202)
                accepted += answer["accepted"]
            self.stop_server(signal.SIGKILL)
            self.assertEqual(self.rows(), before + accepted)
            self.start_server()
        numbers = self.cluster.sql("SELECT bool_and(first_row = coalesce(before, 0)) FROM (SELECT first_row, "
                                   "lag(first_row + n_rows) OVER (ORDER BY first_row) AS before "
                                   "FROM orch.observation_batch b JOIN orch.pipeline p ON p.id = b.pipeline_id "
                                   "WHERE name = 'watched') b")
        self.assertEqual(numbers, "t")

    def test_zz_drift_over_http_survives_kills(self):
        """Rows that drift become one proposal, with the server killed behind every batch."""
        self.assertEqual(self.cluster.sql("SELECT number FROM orch.version v JOIN orch.pipeline p ON p.champion_id = v.id "
                                          "WHERE name = 'drifting'"), "1")
        rows = [f'{{"a": {0.5 + i % 4}}}' for i in range(200)] + [f'{{"a": {2.2 + i % 2}}}' for i in range(400)]
        for at in range(0, 600, 60):
            status, _ = self.observe("\n".join(rows[at:at + 60]).encode(), "drifting")
            self.assertEqual(status, 202)
            self.stop_server(signal.SIGKILL)
            self.start_server()
        deadline = time.monotonic() + 60  # what died with a window is taken over when its lease has ended
        while time.monotonic() < deadline and self.cluster.sql("SELECT count(*) FROM orch.monitor_window") != "3":
            time.sleep(0.2)
        self.assertEqual(self.cluster.sql("SELECT string_agg(from_row || ' ' || verdict, ', ' ORDER BY from_row) "
                                          "FROM orch.monitor_window"), "0 ok, 200 ok, 400 drift")
        self.assertEqual(self.cluster.sql("SELECT kind || ' ' || disposition || ' ' || (detail ->> 'since_row') "
                                          "FROM orch.signal WHERE source = 'monitor:inputs'"), "drift proposed 200")
        self.assertEqual(self.cluster.sql("SELECT count(*) FROM orch.proposal p JOIN orch.pipeline q ON q.id = "
                                          "p.pipeline_id WHERE q.name = 'drifting'"), "2")


if __name__ == "__main__":
    unittest.main()

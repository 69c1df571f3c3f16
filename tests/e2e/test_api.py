"""The HTTP interface over a real database: readiness, tokens, deciding, asking, holding, paging, lost connections."""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from test_signals_in import DRIFTING, GO_LIVE, ORCH, SPEC, Cluster, profile_of_a

TOKENS = {"reader": ("read", None), "robot": ("admin", None), "dana": ("read,decide,propose", "dana"),
          "operator": ("read,operate,propose", None)}
# As far as the gate: the decision is what is tested here.
TO_THE_GATE = GO_LIVE.split("  PERFORM orch.gate_decide")[0] + "END $$"


def token(name):
    return "orch_" + (name + "_" * 43)[:43]


class ApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)
        cls.start_server()
        cls.addClassCleanup(cls.server.kill)

    @classmethod
    def start_server(cls):
        cls.log = os.path.join(cls.scratch.name, "log")
        with open(cls.log, "wb") as file:
            cls.server = subprocess.Popen(
                [ORCH, "serve", "--json", "--listen", "127.0.0.1:0", "--database", cls.cluster.url], stderr=file,
                cwd=cls.scratch.name, env={"PATH": os.environ["PATH"], "HOME": cls.scratch.name})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and cls.server.poll() is None:
            with open(cls.log, encoding="utf-8") as file:
                for line in file:
                    if '"serve.started"' in line:
                        cls.base = "http://" + json.loads(line)["address"]
                        return
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    def ask(self, path, body=None, who="reader", method=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            headers["Authorization"] = "Bearer " + token(who)
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null"), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                raw = error.read()
                if error.status >= 400:
                    self.assertEqual(error.headers["Content-Type"], "application/problem+json")
                return error.status, json.loads(raw or b"null"), error.headers

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            status, answer, _ = self.ask("/readyz", who=None)
            if status == 200:
                return
            time.sleep(0.1)
        self.fail(answer)

    def test_1_ready_once_migrated(self):
        status, answer, _ = self.ask("/readyz", who=None)
        self.assertEqual(status, 503)
        self.assertEqual(answer["hint"], "run: orch migrate")
        subprocess.run([ORCH, "--database", self.cluster.url, "migrate"], check=True, capture_output=True, timeout=60)
        self.wait_ready()
        sql = self.cluster.sql
        sql("""SELECT orch.server_apply('{"reviewers": [{"name": "dana", "groups": ["g"]}]}', 'user:t')""")
        for name, (scopes, reviewer) in TOKENS.items():
            digest = "sha256:" + hashlib.sha256(token(name).encode()).hexdigest()
            whose = f"'{reviewer}'" if reviewer else "NULL"
            sql(f"SELECT orch.token_create('{name}', '{digest}', '{{{scopes}}}', {whose}, 'user:t')")
        for number, spec in enumerate((dict(DRIFTING, pipeline="gated"), dict(SPEC, pipeline="plain"))):
            sql(f"SELECT orch.pipeline_apply('{json.dumps(spec)}', 'x', 'sha256:{number:064d}', 'sha256:{7:064d}', NULL, "
                "NULL, 'user:t')")
        sql("SELECT orch.proposal_create('gated', 'first', 'keep', 'user:t', NULL, NULL)")
        sql(TO_THE_GATE.replace("PROFILE", profile_of_a()))

    def test_2_tokens(self):
        self.assertEqual(self.ask("/v1/pipelines", who=None)[0], 401)
        self.assertEqual(self.ask("/v1/pipelines", who="nobody")[0], 401)
        status, answer, _ = self.ask("/v1/pipelines")
        self.assertEqual(status, 200)
        self.assertEqual([p["pipeline"] for p in answer["pipelines"]], ["gated", "plain"])
        self.assertEqual(self.ask("/v1/pipelines/plain/hold", {"reason": "x"})[0], 403)
        self.cluster.sql("SELECT orch.token_create('brief', 'sha256:" +
                         hashlib.sha256(token("brief").encode()).hexdigest() + "', '{read}', NULL, 'user:t')")
        self.assertEqual(self.ask("/v1/pipelines", who="brief")[0], 200)
        self.cluster.sql("SELECT orch.token_revoke('brief', 'user:t')")
        self.assertEqual(self.ask("/v1/pipelines", who="brief")[0], 401)  # at once: nothing is cached

    def test_3_deciding(self):
        gate = self.cluster.sql("SELECT id FROM orch.gate WHERE state = 'open'")
        path = f"/v1/gates/{gate}/decisions"
        digest = self.ask(f"/v1/gates/{gate}")[1]["digest"]
        yes = {"verdict": "approve", "comment": "the numbers hold", "digest": digest}
        self.assertEqual(self.ask(path, yes, who="reader")[0], 403)
        self.assertEqual(self.ask(path, yes, who="robot")[0], 403)  # a token of nobody's
        self.assertEqual(self.ask(path, dict(yes, verdict="perhaps"), who="dana")[0], 422)
        self.assertEqual(self.ask(path, dict(yes, reviewer="erik"), who="dana")[0], 422)  # not the body decides who
        status, answer, _ = self.ask(path, dict(yes, digest="sha256:" + "0" * 64), who="dana")
        self.assertEqual((status, answer["type"]), (409, "urn:orch:problem:stale"))
        status, answer, _ = self.ask(path, dict(yes, verdict="reject", comment=""), who="dana")
        self.assertEqual(status, 409)
        self.assertEqual(self.ask(path, who="dana")[0], 405)  # GET never decides
        self.assertEqual(self.ask(f"/v1/gates/{gate}")[1]["state"], "open")
        status, answer, _ = self.ask(path, yes, who="dana", Idempotency_Key="k1")
        self.assertEqual((status, answer["outcome"], answer["reviewer"]), (200, "accepted", "dana"))
        status, again, _ = self.ask(path, yes, who="dana", Idempotency_Key="k1")
        self.assertEqual((status, again["outcome"], again["repeated"]), (200, "accepted", True))
        self.assertEqual(self.ask(f"/v1/gates/{gate}")[1]["state"], "approved")
        self.assertEqual(self.cluster.sql(f"SELECT count(*) FROM orch.decision WHERE gate_id = {gate}"), "1")

    def test_4_asking_and_stopping(self):
        wish = {"pipeline": "plain", "reason": "new data"}
        status, answer, _ = self.ask("/v1/proposals", wish, who="operator", Idempotency_Key="p1")
        self.assertEqual((status, answer["disposition"]), (200, "opened"))
        proposal = answer["proposal"]
        again = self.ask("/v1/proposals", wish, who="operator", Idempotency_Key="p1")[1]
        self.assertEqual((again["proposal"], again["disposition"]), (proposal, "repeated"))
        for bad in ({"pipeline": "plain"}, dict(wish, mode="x"), dict(wish, as_of="yesterday"), dict(wish, odd=1),
                    dict(wish, reason="\u0001"), dict(wish, pipeline="x" * 64), [1]):
            self.assertEqual(self.ask("/v1/proposals", bad, who="operator")[0], 422, bad)
        self.assertEqual(self.ask("/v1/proposals", dict(wish, pipeline="nothing"), who="operator")[0], 404)
        path = f"/v1/proposals/{proposal}/cancel"
        self.assertEqual(self.ask(path, {"reason": "never mind"}, who="operator")[0], 200)
        self.assertEqual(self.ask(f"/v1/proposals/{proposal}")[1]["state"], "cancelled")
        self.assertEqual(self.ask("/v1/proposals/99999999999999999999")[0], 404)

    def test_5_holding(self):
        self.assertEqual(self.ask("/v1/pipelines/plain/hold", {"reason": "audit"}, who="operator")[0], 200)
        self.assertEqual(self.ask("/v1/pipelines/plain")[1]["hold"]["reason"], "audit")
        status, answer, _ = self.ask("/v1/proposals", {"pipeline": "plain", "reason": "r"}, who="operator")
        self.assertEqual(status, 409)
        self.assertIn("on hold", answer["detail"])
        self.assertEqual(self.ask("/v1/pipelines/plain/release", {"reason": "over"}, who="operator")[0], 200)
        self.assertIsNone(self.ask("/v1/pipelines/plain")[1]["hold"])

    def test_6_reading(self):
        first = self.ask("/v1/proposals?limit=1")[1]
        self.assertEqual(len(first["proposals"]), 1)
        second = self.ask(f"/v1/proposals?limit=1&after={first['next']}")[1]
        self.assertNotEqual(first["proposals"][0]["proposal"], second["proposals"][0]["proposal"])
        status, _, headers = self.ask("/v1/pipelines/plain/live")
        self.assertEqual(status, 200)
        self.assertEqual(self.ask("/v1/pipelines/plain/live", If_None_Match=headers["ETag"])[0], 304)
        self.assertEqual(self.ask("/v1/pipelines/plain/live", If_None_Match='"other"')[0], 200)
        for path in ("/v1/status", "/v1/pipelines/gated", "/v1/pipelines/gated/history", "/v1/versions/gated",
                     "/v1/versions/gated/1", "/v1/versions/gated/1/lineage", "/v1/signals?pipeline=gated",
                     "/v1/audit?pipeline=gated&limit=2", "/v1/outbox?state=pending"):
            self.assertEqual(self.ask(path)[0], 200, path)
        for path in ("/v1/pipelines/nothing", "/v1/versions/gated/77", "/v1/versions/gated/99999999999", "/v1/gates/777",
                     "/v1/pipelines/nothing/live", "/v1/proposals?pipeline=nothing"):
            self.assertEqual(self.ask(path)[0], 404, path)
        for path in ("/v1/proposals?limit=0", "/v1/proposals?limit=x", "/v1/proposals?after=-1", "/v1/audit?odd=1"):
            self.assertEqual(self.ask(path)[0], 400, path)

    def test_6_waiting_for_a_change(self):
        path = "/v1/pipelines/swift/live"
        spec = json.dumps(dict(DRIFTING, pipeline="swift"))
        self.cluster.sql(f"SELECT orch.pipeline_apply('{spec}', 'x', 'sha256:{5:064d}', 'sha256:{7:064d}', NULL, NULL, "
                         "'user:t'), orch.proposal_create('swift', 'first', 'keep', 'user:t', NULL, NULL)")
        etag = self.ask(path)[2]["ETag"]
        self.assertEqual(self.ask(path + "?wait=1s", If_None_Match=etag)[0], 304)
        self.assertEqual(self.ask(path + "?wait=20s", If_None_Match='"other"')[0], 200)  # at once
        self.assertEqual(self.ask(path + "?wait=1h", If_None_Match=etag)[0], 400)
        answers = []
        waiter = threading.Thread(
            target=lambda: answers.append(self.ask(path + "?wait=25s", If_None_Match=etag)), daemon=True)
        waiter.start()
        time.sleep(0.3)
        self.assertEqual(answers, [])
        self.cluster.sql(GO_LIVE.replace("PROFILE", profile_of_a()))  # one transaction: no server gets in between
        waiter.join(25)
        status, answer, headers = answers[0]
        self.assertEqual((status, answer["version"]), (200, 1))
        self.assertNotEqual(headers["ETag"], etag)

    def test_6_numbers(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # the database's numbers are cached for some seconds
            with urllib.request.urlopen(self.base + "/metrics", timeout=30) as answer:
                numbers = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
            # Flows start a moment after the server is ready, duties among them.
            if float(numbers.get("orch_claim_latency_jobs", 0)) > 0 and 'orch_duty_failures_total{duty="gates_expire"}' in numbers:
                break
            time.sleep(0.5)
        self.assertEqual(numbers["orch_claim_latency_jobs"], "2")
        self.assertGreaterEqual(float(numbers["orch_claim_latency_p99_seconds"]), 0)
        self.assertEqual(numbers["orch_database_up"], "1")
        self.assertEqual(numbers["orch_gates_open"], "0")
        self.assertEqual(numbers['orch_duty_failures_total{duty="gates_expire"}'], "0")
        self.assertIn('orch_proposals{state="cancelled"}', numbers)

    def test_6_what_happens_wakes_whom_it_concerns(self):
        """Events wake those who send messages, but nobody has to look for windows because of them: rows do that."""
        sql = self.cluster.sql
        sql("alter system set track_functions = 'all'")
        sql("select pg_reload_conf()")
        time.sleep(1.2)
        sql("select pg_stat_reset()")
        for _ in range(40):
            sql("select orch.emit('test.event', null, null, '{}')")
            time.sleep(0.03)
        calls, deadline = {}, time.monotonic() + 15
        while calls.get("outbox_claim", 0) < 20 and time.monotonic() < deadline:
            time.sleep(0.2)
            calls = {line.split()[0]: int(line.split()[1]) for line in
                     sql("select funcname || ' ' || calls from pg_stat_user_functions").splitlines()}
        self.assertGreaterEqual(calls.get("outbox_claim", 0), 20)
        # Their timers alone; without the distinction they would look as often as the others.
        self.assertLess(calls.get("windows_claim", 0), calls["outbox_claim"] / 2)
        self.assertLess(calls.get("probe_claim", 0), calls["outbox_claim"] / 2)

    def test_7_lost_connections(self):
        for _ in range(5):
            self.cluster.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                             "WHERE application_name LIKE 'orch serve%'")
            self.assertEqual(self.ask("/v1/pipelines")[0], 200)
        self.wait_ready()

    def test_8_stops_gracefully(self):
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(20), 0)
        with open(self.log, encoding="utf-8") as file:
            text = file.read()
        self.assertIn('"serve.stopped"', text)
        self.assertNotIn(token("dana"), text)
        self.assertEqual(self.cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'orch serve%'"),
                         "0")


if __name__ == "__main__":
    unittest.main()

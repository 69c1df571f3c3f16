"""Why a proposal is there, the same on every surface; and several pipelines at once, answered by a person."""
import json
import os
import re
import subprocess
import sys
import unittest

import kit

NAMES = ("a", "b", "c")


def moved(pipeline, column="inventory", **more):
    quantiles = {"levels": [0.05, 0.25, 0.5, 0.75, 0.95], "ref": [2, 4, 6.1, 8, 9], "now": [3, 6, 8.9, 10, 12]}
    columns = [{"name": column, "kind": "numeric", "direction": "up", "psi": 0.41, "effect": 0.41, "p_adjusted": 1e-6, "n_ref": 1328,
                "n_now": 250, "quantiles": quantiles, "why": "PSI 0.41 is over 0.2"},
               {"name": "sales \x1b[31m", "direction": "down", "psi": 0.25, "effect": 0.25, "importance": 0.5}]
    return {"pipeline": pipeline, "source": "drift-tool", "kind": "drift", "title": f"{column} drifted", "fingerprint": column,
            "detail": {"since_at": "2009-01-01T00:00:00Z", "since_row": 500, "columns": columns}, **more}


class Why(unittest.TestCase):
    def setUp(self):
        port = kit.free_port()
        config = {**kit.CONFIG, "chat": {"slack": {"channel": "C05MLOPS9K"}}}
        self.slack = f"http://127.0.0.1:{port}"
        self.w = kit.World(config=config, pipelines=NAMES,
                           env={"ORCH_SLACK_API_URL": f"{self.slack}/api/", "ORCH_SLACK_BOT_TOKEN": "xoxb-test"})
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)
        with open(os.path.join(self.w.dir, "slack.log"), "wb") as log:
            receiver = subprocess.Popen([sys.executable, os.path.join(kit.TOP, "tests/e2e/fake_slack.py"), "serve", "--port", str(port),
                                         "--token", "xoxb-test", "--signing-secret", kit.SLACK_SECRET, "--callback",
                                         f"http://127.0.0.1:{self.w.port}"], stdout=log, stderr=log)
        self.addCleanup(receiver.wait)
        self.addCleanup(receiver.kill)
        self.w.serve()
        self.token = self.w.token("tool", "signal,read,operate")

    def http(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        status, document, _ = self.w.http(method, path, None if body is None else json.dumps(body), headers)
        return status, document

    def post(self, signal):
        status, answer = self.http("POST", "/v1/signals", signal)
        self.assertEqual(200, status, answer)
        return answer

    def in_chat(self, text):
        done = subprocess.run([sys.executable, os.path.join(kit.TOP, "tests/e2e/fake_slack.py"), "wait", "--url", self.slack, "--contains", text],
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(0, done.returncode, f"{text}: {done.stdout}{done.stderr}")

    def test_one_diagnosis_everywhere(self):
        w = self.w
        w.worker()
        proposal = self.post(moved("a"))["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        said = ("inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01, and sales \x1b[31m moved too; "
                "it looks like drift, not like broken data")
        document = w.orch_json("show", str(proposal))
        self.assertEqual(said, document["diagnosis"]["summary"])
        self.assertEqual("drift", document["diagnosis"]["verdict"])
        self.assertEqual([0.41, 0.125], [c["weight"] for c in document["diagnosis"]["columns"]])
        self.assertEqual(document["diagnosis"], self.http("GET", f"/v1/proposals/{proposal}")[1]["diagnosis"])
        gate = self.http("GET", f"/v1/gates/{document['gate']['gate']}")[1]
        self.assertEqual(document["diagnosis"], gate["evidence"]["diagnosis"])
        events = w.sql("select data #>> '{evidence,diagnosis,summary}' from orch.event where type = 'gate.opened' union all "
                       "select data #>> '{diagnosis,summary}' from orch.event where type = 'proposal.created'")
        self.assertEqual([said] * 2, events)
        shown = w.orch("show", str(proposal)).stdout
        self.assertNotIn("\x1b", shown)  # what came from outside cannot paint the terminal
        self.assertIn("drift: inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01", shown)
        self.assertRegex(shown, r"inventory +up +6\.1 \(4\.\.8\) -> 8\.9 \(6\.\.10\) +0\.41 +0\.41 +2009-01-01 +1328/250 +PSI 0\.41 is over 0\.2")
        narrow = w.screen("show", str(proposal), until="orch reject", env={"NO_COLOR": "1"}, columns=80, rows=60).replace("\r", "")
        self.assertLessEqual(max(len(line) for line in narrow.split("\nSignals")[0].splitlines()), 80, narrow)
        self.assertRegex(narrow, r"\n  inventory up, PSI 0\.41, weight 0\.41, since 2009-01-01, 1328/250 rows\n    6\.1 \(4\.\.8\) -> 8\.9 \(6\.\.10\)\n"
                                 r"    PSI 0\.41 is over 0\.2\n")
        self.in_chat("inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01")

    def test_several_at_once(self):
        w = self.w
        for name in "ab":
            self.assertEqual("proposed", self.post(moved(name))["disposition"])
        answer = self.post(moved("c"))
        self.assertEqual(("held", None), (answer["disposition"], answer["proposal"]))
        self.in_chat("3 pipelines that watch inventory fired within 1 h")
        listed = w.orch_json("incidents", "--state", "open")["incidents"]
        self.assertEqual([("column", "inventory", 1)], [(i["share"], i["value"], i["waiting"]) for i in listed])
        number = str(listed[0]["incident"])
        self.assertEqual(listed, self.http("GET", "/v1/incidents?state=open")[1]["incidents"])
        status = w.orch("status").stdout
        self.assertIn(f"incident {number}  waits for test-team", status)
        self.assertRegex(status, rf"c +nothing +- +1 +incident {number} +test-team")
        self.assertIn("waits in incident", w.orch("signals", "c").stdout)
        shown = w.orch("incident", number).stdout
        for words in ("3 pipelines that watch inventory", "waits here", "#1 training", f"orch incident release {number}"):
            self.assertIn(words, shown)
        self.assertEqual(3, len(w.orch_json("incident", number)["members"]))
        # Answers: with a reason, once, by who may.
        self.assertEqual(2, w.orch("incident", "release", number, check=False).returncode)
        self.assertEqual(3, w.orch("incident", "99", check=False).returncode)
        self.assertEqual(422, self.http("POST", f"/v1/incidents/{number}/release", {})[0])
        status, closed = self.http("POST", f"/v1/incidents/{number}/release", {"reason": "the season"})
        self.assertEqual((200, "released", "token:tool"), (status, closed["state"], closed["closed_by"]))
        again = w.orch("incident", "dismiss", number, "--reason", "x", check=False)
        self.assertEqual(4, again.returncode)
        self.assertIn("was released by token:tool", again.stderr)
        kit.wait_for("the third to propose", lambda: w.sql("select 1 from orch.proposal p join orch.pipeline q on q.id = p.pipeline_id where q.name = 'c'"))
        self.in_chat("the season")
        self.assertIn("released", w.orch("incidents").stdout)
        also = w.orch_json("show", "3")["diagnosis"]["also"]
        self.assertEqual([("a", 1), ("b", 1)], [(s["pipeline"], s["incident"]) for s in also])

    def test_told_and_dismissed(self):
        w = self.w
        w.orch("apply", "orch.yaml")
        answer = self.post({"pipeline": "a", "kind": "latency", "title": "p99 is 80 ms"})
        self.assertEqual("recorded", answer["disposition"])
        self.in_chat("p99 is 80 ms")
        self.assertIn("latency", w.orch("signals", "--kind", "latency").stdout)
        self.assertEqual([], w.orch_json("signals", "--kind", "volume")["signals"])
        for name in NAMES:
            self.post(moved(name))
        told = w.orch("incident", "dismiss", "1", "--reason", "the feed sent cents").stdout
        self.assertIn("proposes nothing until it fires anew", told)
        self.assertEqual("duplicate", self.post(moved("c"))["disposition"])
        self.assertEqual(["recorded"], w.sql("select disposition from orch.signal s join orch.pipeline p on p.id = s.pipeline_id where name = 'c'"))
        self.assertEqual(["t"], w.sql("select orch.audit_verify(null) ->> 'ok' = 'true'"))


MONITORS = """\
monitors:
  - {name: inputs, kind: drift, columns: [x], window: 200 rows}
  - {name: accuracy, kind: performance, metric: accuracy, min: 0.75, window: 100 labels, for: 1 of 1}
  - {name: silence, kind: volume, silence: 30m}
  - {name: weekly, kind: schedule, cron: "0 3 * * 1 Europe/Berlin"}
"""


class FromRows(unittest.TestCase):
    def setUp(self):
        self.w = kit.World()
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)
        path = os.path.join(self.w.dir, "pipelines/quick/pipeline.yaml")
        text = re.sub(r"monitors:\n( .*\n)+", MONITORS, kit.read(path))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.w.orch("apply", "pipelines/quick")

    def send(self, what, rows):
        body = "".join(json.dumps(row) + "\n" for row in rows)
        status, answer, _ = self.w.http("POST", f"/v1/pipelines/quick/{what}", body, {"Authorization": f"Bearer {self.token}",
                                                                                   "Content-Type": "application/x-ndjson"})
        self.assertEqual(202, status, answer)

    def test_drift_and_what_it_did_to_the_model(self):
        w = self.w
        w.serve()
        w.worker()
        w.promote()
        self.token = w.token("feed", "observe")
        for day in range(1, 5):  # from the second day on x is smaller, and the model less often right
            ids = [f"{day}-{i}" for i in range(200)]
            self.send("observations", [{"id": ids[i], "at": f"2026-01-0{day}T{i // 10:02}:00:00Z", "prediction": "a",
                                        "x": (i * 7919) % 1000 ** (1 if day < 2 else 0.9)} for i in range(200)])
            self.send("labels", [{"id": ids[i], "label": "a" if i % 10 < 11 - 2 * day else "b"} for i in range(200)])
        kit.wait_for("drift and low accuracy", lambda: len(w.sql(
            "select 1 from orch.signal where kind in ('drift', 'performance') and proposal_id is not null")) == 2, 60)
        kit.wait_for("the last labels", lambda: w.sql("select 1 from orch.monitor_window w join orch.monitor m on m.id = w.monitor_id "
                                                     "where m.name = 'accuracy' and w.number = 8"), 60)
        proposal = int(w.sql("select max(id) from orch.proposal")[0])
        w.wait_state(proposal, "awaiting_approval")
        diagnosis = w.orch_json("show", str(proposal))["diagnosis"]
        self.assertRegex(diagnosis["summary"], r"^x fell from a median of \S+ to \S+ \(PSI \d\.\d\d\) since 2026-01-02, over \d windows of 200 rows; "
                                               r"it looks like drift, not like broken data; accuracy fell from 0\.9 at promotion to 0\.")
        self.assertEqual(("mixed", "down"), (diagnosis["verdict"], diagnosis["columns"][0]["direction"]))
        self.assertEqual(("2026-01-02T00:00:00.000Z", 200), (diagnosis["since"]["at"], diagnosis["since"]["row"]))
        live = diagnosis["live_metric"]
        self.assertEqual((0.9, 0.75, 0.9), (live["at_promotion"], live["threshold"], live["series"][0]["value"]))
        self.assertEqual("2026-01-01", live["series"][0]["at"][:10])
        self.assertRegex(diagnosis["if_ignored"], r"^since then the live model went from 0\.9 to 0\.\d in accuracy over \d windows?: left alone")
        self.assertEqual(12, len(diagnosis["columns"][0]["histogram"]["ref"]))

    def test_a_schedule_fires_once_for_all_servers(self):
        w = self.w
        self.assertEqual(["t"], w.sql("select due_at > now() from orch.monitor where name = 'weekly'"))
        for _ in range(3):
            w.serve(wait=False, env={"ORCH_LISTEN": f"127.0.0.1:{kit.free_port()}"})
        w.serve()
        w.sql("update orch.monitor set due_at = now() - interval '3 weeks' where name = 'weekly'")
        kit.wait_for("the schedule to fire", lambda: w.sql("select 1 from orch.signal where kind = 'schedule'"), 60)
        self.assertEqual(["t"], w.sql("select due_at > now() from orch.monitor where name = 'weekly'"))
        self.assertEqual(["1"], w.sql("select count(*) from orch.signal"))
        shown = w.orch_json("show", "1")
        self.assertEqual("schedule", shown["diagnosis"]["verdict"])
        self.assertIn('the schedule "0 3 * * 1 Europe/Berlin" asks for it', shown["reason"])


if __name__ == "__main__":
    unittest.main()

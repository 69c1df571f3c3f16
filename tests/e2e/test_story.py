"""The main job, end to end: observations drift, a proposal trains, a gate waits, people decide, the pointer moves and moves back."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

import kit

def rows(n, shift=0, missing=0.0, seed=1):
    dice = random.Random(seed)
    return "".join("{\"x\": null}\n" if dice.random() < missing else json.dumps({"x": dice.randrange(1000) + shift}) + "\n" for _ in range(n))


class Story(unittest.TestCase):
    def setUp(self):
        self.w = kit.World()
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)

    def observe(self, token, body):
        status, document, _ = self.w.http("POST", "/v1/pipelines/quick/observations", body, {
            "Content-Type": "application/x-ndjson", "Authorization": f"Bearer {token}"})
        self.assertEqual(202, status, document)
        return document

    def test_drift_to_live_and_back(self):
        w = self.w
        w.serve()
        w.worker()
        first = w.promote(reason="first version")
        self.assertEqual(1, w.live())
        self.assertTrue(w.pointer().startswith(f"model of proposal {first} version 1 "))
        time.sleep(1.1)  # the cooldown of the first proposal

        # Live rows like the training data propose nothing; moved ones do, in words and numbers.
        token = w.token("feeder", "observe")
        self.observe(token, rows(600))
        kit.wait_for("three quiet windows", lambda: w.sql("select count(*) from orch.monitor_window where verdict = 'ok'") == ["3"])
        self.assertEqual(["0"], w.sql("select count(*) from orch.signal where kind = 'drift'"))
        self.observe(token, rows(600, shift=700))
        second = kit.wait_for("a proposal", lambda: [int(p) for p in w.sql("select max(id) from orch.proposal") if int(p) > first])[0]
        self.assertEqual(["monitor:inputs"], w.sql(f"select opened_by from orch.proposal where id = {second}"))
        reason = w.sql(f"select reason from orch.proposal where id = {second}")[0]
        self.assertRegex(reason, r"\bx\b")
        self.assertRegex(reason, r"[0-9]\.[0-9]")

        # dana joins the proposal: she cannot approve it, on any path.
        dana = w.token("dana", "decide,propose", "dana")
        joined = w.orch_json("propose", "quick", "--reason", "I saw it too", env={"ORCH_TOKEN": dana})
        self.assertEqual(("joined", second), (joined["disposition"], joined["proposal"]))
        w.wait_state(second, "awaiting_approval")
        gate = w.gate_of(second)
        refused = w.orch("approve", str(second), env={"ORCH_TOKEN": dana}, check=False)
        self.assertEqual(4, refused.returncode, refused.stderr)
        self.assertIn("somebody else must approve", refused.stderr)
        status, document, _ = w.callback(gate, reviewer="dana")
        self.assertTrue(document["type"].endswith(":own_proposal"), document)
        status, document, _ = w.http("POST", f"/v1/gates/{gate}/decisions", json.dumps({
            "verdict": "approve", "comment": "x", "digest": w.sql(f"select digest from orch.gate where id = {gate}")[0]}),
            {"Authorization": f"Bearer {dana}", "Content-Type": "application/json"})
        self.assertGreaterEqual(status, 400, document)
        self.assertEqual(1, w.live())

        # erik may: by a signed callback, once, and only with the right signature, time and digest.
        for wrong in ({"secret": kit.WEBHOOK_SECRET[:-8] + "AAAAAAA="}, {"now": time.time() - 400}, {"now": time.time() + 400}):
            status, document, _ = w.callback(gate, reviewer="erik", **wrong)
            self.assertIn(status, (400, 401, 403), document)
        status, document, _ = w.callback(gate, reviewer="erik", digest="sha256:" + "0" * 64)
        self.assertTrue(document["type"].endswith(":stale"), document)
        status, document, _ = w.callback(gate, reviewer="erik", message_id="msg_erik")
        self.assertEqual((200, "accepted"), (status, document["outcome"]))
        status, document, _ = w.callback(gate, reviewer="erik", message_id="msg_erik")
        self.assertEqual(200, status, document)
        self.assertEqual(["1"], w.sql(f"select count(*) from orch.decision where gate_id = {gate}"))
        w.wait_state(second, "promoted")
        self.assertEqual(2, w.live())
        self.assertTrue(w.pointer().startswith(f"model of proposal {second} version 2 "))

        # And back, with one command.
        done = w.orch_json("rollback", "quick", "--reason", "customers complain")
        self.assertEqual(1, done["version"])
        self.assertEqual(1, w.live())
        self.assertTrue(w.pointer().startswith(f"model of proposal {first} version 1 "))
        again = w.orch("rollback", "quick")
        self.assertIn("skipped", again.stdout + again.stderr)
        self.assertEqual(1, w.live())
        held = w.orch("propose", "quick", "--reason", "again", check=False)
        self.assertEqual(4, held.returncode)
        self.assertIn("hold", held.stderr)
        w.orch("release", "quick", "--reason", "fixed")
        self.assertEqual(4, w.orch("rollback", "quick", "--to", "2", check=False).returncode, "quarantined")

        # The record.
        history = w.orch_json("history", "quick")["history"]
        self.assertEqual([(1, "rollback"), (2, "promote"), (1, "promote")], [(h["version"], h["how"]) for h in history])
        lineage = w.orch_json("lineage", "quick@2")
        self.assertEqual(["rolled_back"], [d["state"] for d in lineage["deployments"] if d["kind"] == "promote"])
        self.assertIn("drift", [s["kind"] for s in lineage["signals"]])
        self.assertTrue(lineage["inputs"]["snapshots"]["rows"].startswith("sha256:"))
        self.assertTrue(w.orch_json("audit", "verify")["ok"])
        for verb in (["status"], ["pipelines"], ["proposals"], ["show", str(second)], ["versions", "quick"], ["history", "quick"],
                     ["lineage", "quick@2"], ["signals"], ["audit"], ["reviewers"], ["logs", str(second)], ["webhooks"]):
            self.assertTrue(w.orch(*verb).stdout.strip(), verb)

    def test_fault_is_reported_and_never_retrains(self):
        w = self.w
        w.serve()
        w.worker()
        w.promote()
        time.sleep(1.1)
        token = w.token("feeder", "observe")
        self.observe(token, rows(400, missing=0.3))
        kit.wait_for("the fault", lambda: w.sql("select count(*) from orch.signal where kind = 'data_fault' and status = 'firing'") == ["1"])
        self.observe(token, rows(600, shift=700, missing=0.3))
        kit.wait_for("five windows", lambda: w.sql("select count(*) from orch.monitor_window") == ["5"])
        self.assertEqual(["1"], w.sql("select count(*) from orch.proposal"))
        self.assertIn("fault", w.orch("signals", "quick").stdout)

    def test_bad_lines_do_not_spoil_a_batch(self):
        w = self.w
        w.serve()
        token = w.token("feeder", "observe")
        answer = self.observe(token, '{"x": 1}\nnonsense\n{"x": 2}\n[1]\n{"x": 1, "x": 2}\n')
        self.assertEqual((2, [2, 4, 5]), (answer["accepted"], [r["line"] for r in answer["rejected"]]))
        self.assertEqual(["2"], w.sql("select next_row from orch.observation_stream where stream = 'rows'"))
        status, _, _ = w.http("POST", "/v1/pipelines/quick/observations", "{}", {"Content-Type": "application/x-ndjson"})
        self.assertEqual(401, status)

    def test_rollback_needs_no_server(self):
        w = self.w
        server, worker = w.serve(), w.worker()
        w.promote()
        w.promote()
        for process in (server, worker):
            process.send_signal(signal.SIGTERM)
            self.assertEqual(0, process.wait(20), kit.read(process.log)[-2000:])
        done = w.orch_json("rollback", "quick", "--dry-run")
        self.assertEqual((1, True), (done["version"], done["dry_run"]))
        self.assertEqual(2, w.live())
        began = time.monotonic()
        w.orch("rollback", "quick", "--reason", "3 a.m.")
        print(f"rollback took {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
        self.assertEqual(1, w.live())
        self.assertIn("version 1 ", w.pointer())

    def test_rollback_refuses_a_damaged_artifact(self):
        w = self.w
        w.serve()
        w.worker()
        w.promote()
        w.promote()
        found = subprocess.run(["grep", "-rl", "^model of proposal .* version 1 ", w.dir], capture_output=True, text=True, check=True)
        for path in found.stdout.split():  # in the store and beside the link
            os.chmod(path, 0o644)
            with open(path, "a", encoding="utf-8") as f:
                f.write("tampered\n")
        done = w.orch("rollback", "quick", check=False)
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        self.assertEqual(2, w.live(), "the pointer stays where it was")
        self.assertIn("version 2 ", w.pointer())

    def test_a_failing_driver_leaves_the_old_version_live(self):
        w = self.w
        w.serve()
        w.worker()
        w.promote()
        os.unlink(os.path.join(w.dir, "live", "quick"))
        os.makedirs(os.path.join(w.dir, "live", "quick", "in-the-way"))
        proposal = w.orch_json("propose", "quick", "--reason", "x")["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        w.callback(w.gate_of(proposal))
        w.wait_state(proposal, "aborted")
        self.assertEqual(1, w.live())

    def test_reject_needs_a_comment_and_ends_the_proposal(self):
        w = self.w
        w.serve()
        w.worker()
        erik = w.token("erik", "decide", "erik")
        proposal = w.orch_json("propose", "quick", "--reason", "x")["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        self.assertEqual(4, w.orch("approve", str(proposal), check=False).returncode, "who you are is not proven")
        self.assertIn(w.orch("reject", str(proposal), env={"ORCH_TOKEN": erik}, check=False).returncode, (2, 4))
        w.orch("reject", str(proposal), "--comment", "not good enough", env={"ORCH_TOKEN": erik})
        self.assertEqual("rejected", w.state(proposal))
        late = w.orch("approve", str(proposal), env={"ORCH_TOKEN": erik}, check=False)
        self.assertEqual(4, late.returncode)
        self.assertIsNone(w.live())

if __name__ == "__main__":
    unittest.main()

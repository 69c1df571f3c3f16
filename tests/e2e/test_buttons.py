"""Buttons, modals and edits, against a receiver that checks and signs as Slack does."""
import json
import os
import subprocess
import sys
import time
import unittest

import kit


class Chat(unittest.TestCase):
    """Slack's side is played by fake_slack.py, which checks shapes and limits and signs as Slack does."""

    def setUp(self):
        self.slack_port = kit.free_port()
        self.slack = f"http://127.0.0.1:{self.slack_port}"
        config = {**kit.CONFIG, "chat": {"slack": {"channel": "C05MLOPS9K"}}}
        self.w = kit.World(config=config, env={"ORCH_SLACK_API_URL": f"{self.slack}/api/", "ORCH_SLACK_BOT_TOKEN": "xoxb-test"})
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)
        self.log = open(os.path.join(self.w.dir, "slack.log"), "wb")
        self.receiver = subprocess.Popen([sys.executable, os.path.join(kit.TOP, "tests/e2e/fake_slack.py"), "serve", "--port", str(self.slack_port),
                                          "--token", "xoxb-test", "--signing-secret", kit.SLACK_SECRET, "--callback",
                                          f"http://127.0.0.1:{self.w.port}"], stdout=self.log, stderr=self.log)
        self.addCleanup(self.log.close)
        self.addCleanup(self.receiver.wait)
        self.addCleanup(self.receiver.kill)
        self.w.serve()
        self.w.worker()

    def drive(self, *args, check=True):
        done = subprocess.run([sys.executable, os.path.join(kit.TOP, "tests/e2e/fake_slack.py"), args[0], "--url", self.slack, *args[1:]],
                              capture_output=True, text=True, check=False, timeout=60)
        if check:
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def test_buttons(self):
        w = self.w
        proposal = w.orch_json("propose", "quick", "--reason", "first <!channel> version")["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        self.drive("wait", "--count", "1")
        # A stranger is told privately, and the gate still waits.
        self.drive("press", "--team", "T0001", "--user", "U0666", "--button", "approve", check=False)
        self.drive("wait", "--ephemeral", "--count", "1")
        self.assertEqual("awaiting_approval", w.state(proposal))
        # Nothing moves with a wrong secret or an old timestamp.
        self.drive("press", "--team", "T0001", "--user", "U0002", "--button", "approve", "--wrong-secret", check=False)
        self.drive("press", "--team", "T0001", "--user", "U0002", "--button", "approve", "--age", "400", check=False)
        time.sleep(0.3)
        self.assertEqual("awaiting_approval", w.state(proposal))
        # The real one, twice the same bytes.
        self.drive("press", "--team", "T0001", "--user", "U0002", "--button", "approve", "--repeat", "2", check=False)
        w.wait_state(proposal, "promoted")
        self.assertEqual(["1"], w.sql("select count(*) from orch.decision"))
        self.drive("wait", "--without-buttons", "--contains", "erik")

    def test_a_rejection_asks_for_its_reason(self):
        w = self.w
        proposal = w.orch_json("propose", "quick", "--reason", "x")["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        self.drive("wait", "--count", "1")
        self.drive("press", "--team", "T0001", "--user", "U0002", "--button", "reject", "--comment", "Dallas got worse")
        w.wait_state(proposal, "rejected")
        self.drive("wait", "--without-buttons", "--contains", "Dallas got worse")

    def test_decided_elsewhere_edits_the_message(self):
        w = self.w
        self.drive("fail", "--method", "chat.postMessage", "--times", "2", "--status", "429", "--retry-after", "1")
        proposal = w.orch_json("propose", "quick", "--reason", "x")["proposal"]
        w.wait_state(proposal, "awaiting_approval")
        self.drive("wait", "--count", "1", "--timeout", "40")
        w.orch("approve", str(proposal), env={"ORCH_TOKEN": w.token("dana", "decide", "dana")})
        w.wait_state(proposal, "promoted")
        self.drive("wait", "--without-buttons", "--contains", "dana")

if __name__ == "__main__":
    unittest.main()

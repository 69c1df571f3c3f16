"""orch chat test: each thing that can be wrong with Slack is named as such."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ORCH = os.environ.get("ORCH_BIN", os.path.join(HERE, "../../build/dev/orch"))
SECRET = "4c9d1f0b7a2e4c6d8b1a3f5e7d9c0b2a"


class ChatTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        port_file = os.path.join(self.folder.name, "port")
        self.slack = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "fake_slack.py"), "serve", "--quiet", "--until-parent-exits",
             "--port", "0", "--port-file", port_file, "--signing-secret", SECRET],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline, port = time.monotonic() + 20, ""
        while not port.endswith("\n"):
            self.assertLess(time.monotonic(), deadline, "fake_slack.py does not start")
            time.sleep(0.05)
            if os.path.exists(port_file):
                with open(port_file, encoding="ascii") as file:
                    port = file.read()
        self.url = "http://127.0.0.1:" + port.strip()
        self.environment = {"PATH": os.environ["PATH"], "ORCH_SLACK_API_URL": self.url + "/api/",
                            "ORCH_SLACK_SIGNING_SECRET": SECRET, "ORCH_SLACK_BOT_TOKEN": "xoxb-test"}

    def tearDown(self):
        self.slack.terminate()
        self.slack.wait()
        self.folder.cleanup()

    def chat_test(self, *words, **environment):
        """-> (exit code, {step: (ok, text)})"""
        merged = {k: v for k, v in dict(self.environment, **environment).items() if v is not None}
        done = subprocess.run([ORCH, "chat", "test", "--json", *words], cwd=self.folder.name, env=merged,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertNotIn("xoxb-test", done.stdout + done.stderr)
        self.assertNotIn(SECRET, done.stdout + done.stderr)
        return done.returncode, {s["step"]: (s["ok"], s["text"]) for s in json.loads(done.stdout)["steps"]}

    def fail_next(self, error):
        subprocess.run([sys.executable, os.path.join(HERE, "fake_slack.py"), "fail", "--url", self.url, "--method",
                        "chat.postMessage", "--error", error], check=True, stdout=subprocess.DEVNULL)

    def test_all_is_well(self):
        with open(os.path.join(self.folder.name, "orch.yaml"), "w", encoding="utf-8") as file:
            file.write("reviewers:\n  - {name: dana, groups: [risk]}\nchat:\n  slack: {channel: C05MLOPS9K}\n")
        code, steps = self.chat_test()
        self.assertEqual(code, 0, steps)
        self.assertEqual(steps["message"], (True, "posted to C05MLOPS9K"))

    def test_a_missing_secret(self):
        code, steps = self.chat_test("--channel", "C1", ORCH_SLACK_SIGNING_SECRET=None)
        self.assertEqual(code, 1)
        self.assertEqual(steps["signing secret"], (False, "the secret ORCH_SLACK_SIGNING_SECRET is not set"))
        self.assertTrue(steps["message"][0])

    def test_a_wrong_token(self):
        token_file = os.path.join(self.folder.name, "token")
        with open(token_file, "w", encoding="utf-8") as file:
            file.write("xoxb-other\n")
        code, steps = self.chat_test("--channel", "C1", ORCH_SLACK_BOT_TOKEN=None, ORCH_SLACK_BOT_TOKEN_FILE=token_file)
        self.assertEqual(code, 1)
        self.assertFalse(steps["token"][0])
        self.assertIn("invalid_auth", steps["token"][1])
        self.assertNotIn("message", steps)

    def test_an_unknown_channel(self):
        self.fail_next("channel_not_found")
        code, steps = self.chat_test("--channel", "C1")
        self.assertEqual(code, 1)
        self.assertEqual(steps["message"], (False, "C1: channel_not_found"))

    def test_no_slack_at_all(self):
        code, steps = self.chat_test("--channel", "C1", ORCH_SLACK_API_URL="http://127.0.0.1:1/api/")
        self.assertEqual(code, 1)
        self.assertIn("connect", steps["token"][1])

    def test_a_server_that_is_not_ours(self):
        code, steps = self.chat_test("--channel", "C1", "--server", self.url)
        self.assertEqual(code, 1)
        self.assertIn("not orch serve", steps["server"][1])


if __name__ == "__main__":
    unittest.main()

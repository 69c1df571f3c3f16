"""The worker with real processes: cancellation, time-outs, hand-backs, dead workers, retries, a clean environment."""
import os
import signal
import unittest

import kit

SLOW = """\
echo started > {marker}
echo "$$" > {marker}.pid
exec sleep 600
"""


class Jobs(unittest.TestCase):
    """The worker, with steps that hang or fail."""

    def setUp(self):
        self.w = kit.World(pipelines=())
        self.w.__enter__()
        self.addCleanup(self.w.__exit__)
        self.marker = os.path.join(self.w.dir, "marker")

    def pipeline(self, name, train, more=None):
        folder = os.path.join(self.w.dir, "pipelines", name)
        os.makedirs(folder)
        text = kit.PIPELINE.format(name=name)
        for old, new in (more or {}).items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        for file, content in (("pipeline.yaml", text), ("train.sh", train), ("evaluate.sh", kit.EVALUATE), ("rows.csv", "x\n1\n2\n")):
            with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
                f.write(content)
        self.w.orch("apply", f"pipelines/{name}")
        return self.w.orch_json("propose", name, "--reason", "x")["proposal"]

    def running(self):
        kit.wait_for("the step to start", lambda: os.path.exists(self.marker + ".pid") and kit.read(self.marker + ".pid").strip())
        return int(kit.read(self.marker + ".pid"))

    @staticmethod
    def alive(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def test_cancel_reaches_the_process(self):
        self.w.serve()
        self.w.worker()
        proposal = self.pipeline("slow", SLOW.format(marker=self.marker))
        pid = self.running()
        self.assertTrue(self.alive(pid))
        self.w.orch("cancel", str(proposal), "--reason", "enough")
        kit.wait_for("the process to end", lambda: not self.alive(pid), 20)
        self.assertEqual("cancelled", self.w.state(proposal))
        kit.wait_for("the job to end", lambda: self.w.sql("select state from orch.job_history") == ["cancelled"])

    def test_timeout_ends_the_whole_group(self):
        self.w.serve()
        self.w.worker()
        proposal = self.pipeline("slow", f"sleep 600 & echo $! > {self.marker}.pid; wait",
                                 {"retry: {limit: 20, backoff: 1s, max: 2s}": "retry: {limit: 0, backoff: 1s, max: 2s}", "timeout: 60s": "timeout: 1s"})
        pid = self.running()
        self.w.wait_state(proposal, "failed")
        kit.wait_for("the child to end", lambda: not self.alive(pid), 20)
        self.assertEqual(["timed_out"], self.w.sql("select state from orch.job_history"))

    def test_graceful_stop_hands_the_job_back(self):
        self.w.serve()
        worker = self.w.worker("--stop", "1s")
        self.pipeline("slow", SLOW.format(marker=self.marker))
        pid = self.running()
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(0, worker.wait(30), kit.read(worker.log)[-2000:])
        self.assertFalse(self.alive(pid))
        self.assertEqual(["queued"], self.w.sql("select state from orch.job"))
        self.assertEqual(["0"], self.w.sql("select attempt from orch.job"), "no attempt is burnt")

    def test_a_dead_workers_job_runs_elsewhere(self):
        self.w.serve()
        worker = self.w.worker()
        self.pipeline("slow", SLOW.format(marker=self.marker))
        first = self.running()
        os.unlink(self.marker + ".pid")
        kit.kill9(worker)
        self.w.worker()
        second = self.running()
        self.assertNotEqual(first, second)
        kit.wait_for("the orphaned process to end", lambda: not self.alive(first), 20)
        self.assertEqual(["silent worker"], self.w.sql("select outcome from orch.job_attempt"))

    def test_exit_75_asks_for_a_retry(self):
        self.w.serve()
        self.w.worker()
        proposal = self.pipeline("again", f"test -e {self.marker} || {{ touch {self.marker}; exit 75; }}\n" + kit.TRAIN)
        self.w.wait_state(proposal, "awaiting_approval")
        self.assertEqual(["retry"], self.w.sql("select outcome from orch.job_attempt"))

    def test_a_failed_check_blocks(self):
        self.w.serve()
        self.w.worker()
        proposal = self.pipeline("weak", kit.TRAIN, {"min: 0.5": "min: 0.95"})
        self.w.wait_state(proposal, "blocked")
        self.assertEqual(["0"], self.w.sql("select count(*) from orch.gate"))
        self.assertIn("0.95", self.w.orch("show", str(proposal)).stdout)

    def test_steps_see_a_clean_environment(self):
        self.w.serve()
        self.w.worker()
        proposal = self.pipeline("env", "env | sort\n" + kit.TRAIN)
        self.w.wait_state(proposal, "awaiting_approval")
        log = self.w.orch("logs", str(proposal)).stdout
        self.assertIn("ORCH_AS_OF=", log)
        for secret in ("ORCH_DATABASE_URL", "ORCH_WEBHOOK_SECRET", "ORCH_SLACK_SIGNING_SECRET", kit.WEBHOOK_SECRET):
            self.assertNotIn(secret, log)

    def test_apply_runs_the_bundle_not_the_folder(self):
        proposal = self.pipeline("frozen", kit.TRAIN)
        with open(os.path.join(self.w.dir, "pipelines", "frozen", "train.sh"), "w", encoding="utf-8") as f:
            f.write("exit 1\n")
        self.w.serve()
        self.w.worker()
        self.w.wait_state(proposal, "awaiting_approval")

if __name__ == "__main__":
    unittest.main()

"""The command line as people use it: exit codes, one line of error, tables and JSON, what a terminal may be shown."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/dev/orch"))

PIPELINE = """\
pipeline: {name}
owner: test-team
oncall: "#test"
data:
  - {{name: rows, file: rows.csv}}
steps:
  - {{name: train, run: [/bin/sh, train.sh]}}
  - {{name: evaluate, run: [/bin/sh, evaluate.sh], needs: [train]}}
checks:
  - {{metric: accuracy, min: 0.5}}
gates: {{promote: {{require: [{{group: ml-owners}}, {{group: risk}}]}}}}
"""
TRAIN = 'cp "$ORCH_DATA_ROWS" "$ORCH_OUTPUT/model"\nprintf "fitted \\033[31mred\\n"\necho "orch:progress 0.5 half way"\n'
EVALUATE = 'echo judging\necho "{\\"accuracy\\": ${ACCURACY:-0.9}}" > "$ORCH_OUTPUT/metrics.json"\n'
SERVER = """\
reviewers:
  - {name: dana, groups: [ml-owners]}
  - {name: erik, groups: [risk]}
  - {name: finn, groups: [ml-owners, risk]}
"""


def wait_for(what, check, seconds=60):
    end = time.monotonic() + seconds
    while not (value := check()):
        if time.monotonic() > end:
            raise AssertionError("timed out waiting for " + what)
        time.sleep(0.05)
    return value


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        script = '. tests/lib/cluster.sh; trap cluster_stop EXIT; cluster_start && echo "$PGHOST" && read -r _'
        cls.cluster = subprocess.Popen(["bash", "-c", script], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.addClassCleanup(cls.cluster.communicate, "\n")  # also when what follows fails
        cls.socket = cls.cluster.stdout.readline().strip()
        assert cls.socket, "no cluster"
        cls.folder = tempfile.mkdtemp(prefix="orch-cli-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.url = f"postgresql:///postgres?host={cls.socket}&user=postgres"
        cls.environment = {"PATH": "/usr/bin:/bin", "HOME": cls.folder, "LC_ALL": "C.UTF-8", "TZ": "UTC",
                           "ORCH_DATABASE_URL": cls.url, **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}
        cls.run_class("migrate")
        cls.write("orch.yaml", SERVER)
        for name in ("quick", "other"):
            cls.write(f"pipelines/{name}/pipeline.yaml", PIPELINE.format(name=name))
            cls.write(f"pipelines/{name}/train.sh", TRAIN)
            cls.write(f"pipelines/{name}/evaluate.sh", EVALUATE)
            cls.write(f"pipelines/{name}/rows.csv", "x\n1\n")
        cls.run_class("apply", "pipelines/quick")
        cls.tokens = {name: cls.run_class("token", "create", name, "--scope", "decide,propose", "--reviewer", name).stdout.strip()
                      for name in ("dana", "erik", "finn")}
        log = open(os.path.join(cls.folder, "worker.log"), "wb")
        cls.worker = subprocess.Popen([ORCH, "worker", "--poll", "1s"], cwd=cls.folder, env=cls.environment, stdout=log, stderr=log)
        log.close()
        cls.addClassCleanup(cls.stop_worker)

    @classmethod
    def stop_worker(cls):
        cls.worker.send_signal(signal.SIGTERM)
        cls.worker.wait(60)

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    @classmethod
    def call(cls, *words, env=None, **more):
        return subprocess.run([ORCH, *words], cwd=cls.folder, env={**cls.environment, **(env or {})}, capture_output=True,
                              text=True, timeout=120, check=False, **more)

    @classmethod
    def run_class(cls, *words):
        done = cls.call(*words)
        assert done.returncode == 0, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def orch(self, *words, code=0, env=None):
        done = self.call(*words, env=env)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done

    def refused(self, code, *words, says="", env=None):
        """An error is one line on stderr that starts with the program's name."""
        done = self.orch(*words, code=code, env=env)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("orch: "), lines[0])
        self.assertIn(says, lines[0])
        return done

    def json(self, *words, env=None):
        return json.loads(self.orch(*words, "--json", env=env).stdout)

    def as_reviewer(self, name):
        return {"ORCH_TOKEN": self.tokens[name]}

    def propose(self, pipeline="quick", reason="because", env=None, until="awaiting_approval"):
        number = self.json("propose", pipeline, "--reason", reason, "--mode", "cancel_and_replace", env=env)["proposal"]
        wait_for(f"#{number} to be {until}", lambda: self.json("show", str(number))["state"] == until)
        return str(number)

    # ---- help and usage

    def test_every_command_has_help_with_an_example(self):
        listed = re.findall(r"^  ([a-z]+) +[A-Z]", self.orch("help").stdout, re.M)
        self.assertGreater(len(listed), 20)
        for verb in listed:
            text = self.orch(verb, "--help").stdout
            self.assertIn("\nExamples\n", text, verb)
            self.assertIn(f"orch {verb}", text.split("\nExamples\n")[1], verb)
            self.assertEqual(text, self.orch("help", verb).stdout)
            self.assertLessEqual(max(map(len, text.split("\nOptions")[0].splitlines())), 100, verb)

    def test_usage_errors(self):
        self.refused(2, "statsu", says="did you mean 'orch status'?")
        self.refused(2, "status", "--wacth", says="did you mean --watch?")
        self.refused(2, "status", "--json=1", says="takes no value")
        self.refused(2, "show", says="usage: orch show PROPOSAL")
        self.refused(2, "show", "abc", says="whole number")
        self.refused(2, "show", "1", "--watch", "--timeout", "5", says="duration")
        self.refused(2, "proposals", "--limit", "0", says="1 to 500")
        self.refused(2, "lineage", "quick", says="housing@3")
        self.refused(2, "evil\x1b[31m", says=r"\x1b[31m")
        self.assertEqual(self.call().returncode, 2)

    def test_manual_and_completion(self):
        self.assertIn("## orch status", self.orch("help", "--scdoc").stdout)
        script = self.orch("completion", "bash").stdout
        script += "COMP_WORDS=(orch prop); COMP_CWORD=1; _orch; echo \"${COMPREPLY[@]}\"\n"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.split(), ["propose", "proposals"])

    # ---- database

    def test_database_unreachable(self):
        self.refused(5, "status", env={"ORCH_DATABASE_URL": "postgresql:///x?host=/nonexistent"}, says="cannot connect")
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run([ORCH, "status"], cwd=empty, capture_output=True, text=True, check=False,
                                  env={"PATH": "/usr/bin:/bin", "HOME": empty})
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("orch up", done.stderr)
            os.mkdir(os.path.join(empty, ".orch"))  # found from a folder below
            with open(os.path.join(empty, ".orch/database-url"), "w", encoding="utf-8") as f:
                f.write(self.url + "\n")
            os.mkdir(os.path.join(empty, "below"))
            done = subprocess.run([ORCH, "pipelines"], cwd=os.path.join(empty, "below"), capture_output=True, text=True, check=False,
                                  env={"PATH": "/usr/bin:/bin", "HOME": empty})
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_url_from_a_file(self):
        self.write("url", self.url + "\n")
        environment = {k: v for k, v in self.environment.items() if k != "ORCH_DATABASE_URL"}
        environment["ORCH_DATABASE_URL_FILE"] = os.path.join(self.folder, "url")
        subprocess.run([ORCH, "status"], cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, check=True)

    # ---- check and apply

    def test_apply_twice_changes_nothing(self):
        first = self.json("apply", "pipelines/other")["applied"][-1]
        again = self.json("apply", "pipelines/other")["applied"][-1]
        self.assertFalse(again["changed"])
        self.assertEqual(first["digest"], again["digest"])
        self.assertEqual(len(self.json("apply", "orch.yaml", "pipelines/other")["applied"]), 2)  # named, and lying here
        self.write("pipelines/other/train.sh", TRAIN + "# changed\n")
        changed = self.json("apply", "pipelines/other")["applied"][-1]
        self.assertTrue(changed["changed"])
        self.write("pipelines/other/train.sh", TRAIN)
        self.assertEqual(self.json("apply", "pipelines/other")["applied"][-1]["digest"], first["digest"])

    def test_nothing_is_applied_when_something_is_wrong(self):
        before = self.json("pipelines")
        self.write("bad/third/pipeline.yaml", PIPELINE.format(name="third"))
        self.write("bad/third/rows.csv", "x\n")
        self.write("bad/fourth/pipeline.yaml", PIPELINE.format(name="fourth").replace("risk", "nobody") + "kepe: 3\n")
        done = self.orch("apply", "bad/third", "bad/fourth", code=2)
        self.assertIn("bad/fourth/pipeline.yaml:12:1: unknown key 'kepe'", done.stderr)
        self.assertIn("nobody can satisfy this gate: group 'nobody'", done.stderr)
        self.assertIn("there is no file 'rows.csv'", done.stderr)
        self.assertEqual(self.json("pipelines"), before)
        self.assertEqual(self.json_of_failed("check", "bad/fourth")["files"][0]["fine"], False)
        self.refused(3, "check", "bad/none.yaml", says="no file")

    def test_the_examples_are_fine(self):
        for name in sorted(os.listdir(os.path.join(TOP, "pipelines"))):
            folder = os.path.join(TOP, "pipelines", name)
            if os.path.isdir(folder):
                self.assertIn(": fine (pipeline " + name, self.orch("--config", os.path.join(TOP, "pipelines/orch.yaml"), "check", folder).stdout)

    def test_a_revision_knows_its_commit(self):
        def git(*words):
            subprocess.run(["git", "-C", os.path.join(self.folder, "repo"), "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
                           check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "HOME": self.folder})
        self.write("repo/fifth/pipeline.yaml", PIPELINE.format(name="fifth"))
        self.write("repo/fifth/rows.csv", "x\n")
        git("init", "-q")
        self.assertIsNone(self.revision_of("repo/fifth")["git_commit"])  # nothing is committed yet
        git("add", ".")
        git("commit", "-q", "-m", "first")
        self.write("repo/fifth/train.sh", "true\n")
        revision = self.revision_of("repo/fifth")
        self.assertRegex(revision["git_commit"], "^[0-9a-f]{40}$")
        self.assertTrue(revision["git_dirty"])
        git("add", ".")
        git("commit", "-q", "-m", "second")
        self.write("repo/elsewhere", "a change outside the pipeline's folder is none of its business")
        self.write("repo/fifth/rows.csv", "x\n2\n")
        git("commit", "-q", "-a", "-m", "third")
        self.assertFalse(self.revision_of("repo/fifth")["git_dirty"])

    def revision_of(self, folder):
        self.orch("apply", folder)
        return self.json("pipelines", os.path.basename(folder))["revision"]

    def json_of_failed(self, *words):
        return json.loads(self.orch(*words, "--json", code=2).stdout)

    # ---- the story

    def test_deciding(self):
        number = self.propose(env=self.as_reviewer("finn"), reason="new labels")
        shown = self.json("show", number)
        self.assertEqual(shown["proposers"], ["finn"])
        digest = shown["gate"]["digest"]
        self.refused(4, "approve", number, says="ORCH_TOKEN")
        self.refused(4, "approve", number, env={"ORCH_TOKEN": "orch_wrong"}, says="not proven")
        self.refused(4, "approve", number, env=self.as_reviewer("finn"), says="somebody else")
        self.refused(4, "approve", number, "--digest", "sha256:00000000", env=self.as_reviewer("dana"), says="look at it anew")
        self.refused(2, "approve", number, "--digest", "sha256:00", env=self.as_reviewer("dana"))
        self.refused(2, "reject", number, env=self.as_reviewer("dana"), says="comment")
        out = self.orch("approve", number, "--digest", digest[:20], "-m", "fine", env=self.as_reviewer("dana")).stdout
        self.assertIn("waits for risk (1 more)", out)
        out = self.orch("approve", f"gate:{shown['gate']['gate']}", env=self.as_reviewer("erik")).stdout
        self.assertIn("is approved", out)
        self.refused(4, "reject", number, "-m", "too late", env=self.as_reviewer("erik"), says="was approved")
        shown = self.json("show", number)
        self.assertEqual(shown["state"], "rolling_out")
        self.assertEqual([d["reviewer"] for d in shown["gate"]["decisions"]], ["dana", "erik"])
        text = self.orch("show", number).stdout
        for words in ("new labels", "accuracy", "passed", "dana approves", "refused reviewer:finn"):
            self.assertIn(words, text)
        self.refused(4, "cancel", number, says="rolling out")
        lineage = self.orch("lineage", f"quick@{shown['version']}").stdout
        for words in ("new labels", "data rows", "sha256:", "erik approves", "train"):
            self.assertIn(words, lineage)
        self.assertIn("sound", self.orch("audit", "verify").stdout)

    def test_rejecting_and_watching(self):
        self.orch("apply", "pipelines/other")
        number = self.propose("other")
        done = self.orch("show", number, "--watch", "--timeout", "1s", code=6)
        self.assertIn("time was up", done.stderr)
        self.orch("reject", number, "-m", "Dallas got worse", env=self.as_reviewer("dana"))
        done = self.orch("show", number, "--watch", code=4)
        self.assertIn("Dallas got worse", done.stdout)
        self.assertIn("rejected", self.orch("proposals", "--state", "rejected").stdout)

    def test_logs(self):
        self.orch("apply", "pipelines/other")
        number = self.propose("other")
        text = self.orch("logs", "-f", number).stdout
        self.assertLess(text.index("== train"), text.index("== evaluate"))
        self.assertIn("fitted \x1b[31mred", text)  # a pipe gets the bytes as they were
        only = self.orch("logs", number, "--step", "evaluate").stdout
        self.assertIn("judging", only)
        self.assertNotIn("fitted", only)
        self.refused(3, "logs", number, "--step", "nix", says="no step")
        on_terminal = self.terminal("logs", number)
        self.assertIn("fitted \\x1b[31mred", on_terminal)
        self.orch("cancel", number, "--reason", "enough")
        self.assertEqual(self.json("show", number)["state"], "cancelled")

    def test_holds(self):
        self.orch("apply", "pipelines/other")
        self.refused(2, "hold", "other", says="reason")
        self.orch("hold", "other", "--reason", "feed is broken")
        self.assertIn("on hold already", self.orch("hold", "other", "--reason", "again").stdout)
        self.refused(4, "propose", "other", "--reason", "x", says="feed is broken")
        self.assertIn("feed is broken", self.orch("status").stdout)
        self.assertIn("is released", self.orch("release", "other").stdout)
        self.assertIn("is not on hold", self.orch("release", "other").stdout)

    def test_not_found(self):
        for words in (["show", "9999"], ["versions", "nix"], ["history", "nix"], ["lineage", "quick@99"], ["hold", "nix", "-r", "x"],
                      ["token", "revoke", "nix"], ["webhooks", "retry", "9999"], ["propose", "nix", "-r", "x"], ["audit", "verify", "nix"]):
            self.refused(3, *words)

    def test_reading_commands_speak_json(self):
        for words in (["status"], ["pipelines"], ["pipelines", "quick"], ["proposals"], ["versions", "quick"], ["history", "quick"],
                      ["audit"], ["audit", "verify"], ["reviewers"], ["token", "list"], ["webhooks"], ["signals"], ["version"]):
            self.assertIsInstance(self.json(*words), dict, words)
            self.assertTrue(self.orch(*words).stdout, words)

    def test_version_as_everybody_asks_for_it(self):
        self.assertEqual(self.orch("--version").stdout, self.orch("version").stdout)
        self.assertEqual(self.orch("--version", "--json").stdout, self.orch("version", "--json").stdout)

    def test_tokens(self):
        secret = self.orch("token", "create", "ci", "--scope", "signal", "--scope", "read").stdout.strip()
        self.assertRegex(secret, r"^orch_[A-Za-z0-9_-]{43}$")
        self.assertNotIn(secret, self.orch("token", "list", "--json").stdout)
        self.refused(4, "token", "create", "ci", "--scope", "signal", says="exists already")
        self.refused(2, "token", "create", "other", says="scope")
        self.refused(2, "token", "create", "other", "--scope", "decide", says="reviewer")
        self.orch("token", "revoke", "ci")
        self.refused(3, "token", "revoke", "ci")
        self.write("token", self.tokens["dana"] + "\n")
        number = self.json("propose", "quick", "--reason", "file", env={"ORCH_TOKEN_FILE": os.path.join(self.folder, "token")})
        self.assertIn("dana", self.json("show", str(number["proposal"]))["proposers"])

    # ---- terminals

    def terminal(self, *words, env=None):
        """What a terminal would get."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
            os.execve(ORCH, [ORCH, *words], {**self.environment, "TERM": "xterm", **(env or {})})
        out = b""
        try:
            while select.select([master], [], [], 60)[0] and (got := os.read(master, 65536)):
                out += got
        except OSError:
            pass  # the other side is closed
        os.close(master)
        os.waitpid(pid, 0)
        return out.decode()

    def test_outside_text_cannot_steer_a_terminal(self):
        self.orch("apply", "pipelines/other")
        self.orch("hold", "other", "--reason", "x \x1b]0;owned\x07 \u009b31m y")
        try:
            for words in (["status"], ["pipelines"], ["status", "--json"], ["pipelines", "other"], ["audit", "--pipeline", "other"]):
                text = self.terminal(*words, env={"NO_COLOR": "1"})
                self.assertIn("owned", text, words)
                self.assertNotIn("\x1b", text, words)
                self.assertNotIn("\x07", text, words)
                self.assertNotIn("\u009b", text, words)
        finally:
            self.orch("release", "other")

    def test_colours(self):
        self.assertIn("\x1b[", self.terminal("status"))
        self.assertNotIn("\x1b[", self.terminal("status", env={"NO_COLOR": "1"}))
        self.assertNotIn("\x1b[", self.terminal("status", "--no-color"))
        self.assertNotIn("\x1b[", self.orch("status").stdout)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([ORCH, "status"], cwd=self.folder, env=self.environment, stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("could not be written", done.stderr)


if __name__ == "__main__":
    unittest.main()

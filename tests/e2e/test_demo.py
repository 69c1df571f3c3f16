"""The demo's story, told by the binary under test: every chapter happens, and nothing is left behind."""
import os
import re
import signal
import subprocess
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build", "dev", "orch"))
STORY = os.path.join(TOP, "scripts", "demo_story.py")


def processes_naming(text):
    """Command lines that contain the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if text in words:
            found.append(words)
    return found


class Demo(unittest.TestCase):
    def test_the_story(self):
        done = subprocess.run([sys.executable, STORY, "--orch", ORCH, "--fast"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout)
        for words in ("housing@1 is live", "inventory drifted", "housing@2 is live", "broken data, not drift",
                      "no proposal was made", "only dana sees", "housing@3 is live", "live again after", "with no server and no worker",
                      "The story took"):
            self.assertIn(words, done.stdout)
        folder = re.search(r"/tmp/orch-demo-[^/]*", done.stdout).group()
        self.assertFalse(os.path.exists(folder))
        self.assertEqual(processes_naming(folder), [])

    def test_interrupted_it_leaves_nothing(self):
        story = subprocess.Popen([sys.executable, STORY, "--orch", ORCH, "--fast"], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        folder = None
        for line in story.stdout:
            found = re.search(r"/tmp/orch-demo-[^/]*", line)
            folder = folder or found and found.group()
            if "proposal #1" in line:
                break
        self.assertIsNotNone(folder)
        story.send_signal(signal.SIGINT)
        rest, _ = story.communicate(timeout=120)
        self.assertEqual(story.returncode, 130, rest)
        self.assertFalse(os.path.exists(folder))
        self.assertEqual(processes_naming(folder), [])


if __name__ == "__main__":
    unittest.main()

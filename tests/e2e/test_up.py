"""`orch up` and `orch down`: the private cluster and what runs on it."""
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ORCH = os.environ["ORCH_BIN"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Up(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="orch-up-")
        os.chmod(self.top, 0o755)
        self.home = self.top
        self.port = free_port()
        self.cleanups = []

    def tearDown(self):
        self.orch("down", check=False)
        for path in self.cleanups + [self.top]:
            shutil.rmtree(path, ignore_errors=True)

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ORCH_", "PG"))}
        if "ORCH_PG_HOME" in os.environ:
            env["ORCH_PG_HOME"] = os.environ["ORCH_PG_HOME"]
        env["ORCH_LISTEN"] = f"127.0.0.1:{self.port}"
        return env

    def orch(self, *words, check=True, **more):
        done = subprocess.run([ORCH, *words], cwd=self.home, env=self.env(), capture_output=True, text=True,
                              timeout=180, **more)
        if check and done.returncode != 0:
            log = subprocess.run("tail -n 20 .orch/log/*.log", shell=True, cwd=self.home, capture_output=True, text=True)
            self.fail(f"orch {words} gave {done.returncode}:\n{done.stdout}{done.stderr}{log.stdout}")
        return done

    def pid(self, name):
        with open(f"{self.home}/.orch/{name}.pid", encoding="ascii") as file:
            return int(file.read().split()[0])

    def cluster(self):
        with open(f"{self.home}/.orch/cluster.json", encoding="utf-8") as file:
            return json.load(file)

    def postmaster(self):
        with open(f"{self.cluster()['data']}/postmaster.pid", encoding="ascii") as file:
            return int(file.readline())

    def assert_gone(self, pid):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except FileNotFoundError:
                return
            time.sleep(0.05)
        self.fail(f"process {pid} still runs")

    def test_up_again_and_down(self):
        first = json.loads(self.orch("up", "--json").stdout)
        self.assertFalse(first["already_up"])
        self.assertTrue(first["private_cluster"])
        pids = [self.pid("serve"), self.pid("worker"), self.postmaster()]
        again = json.loads(self.orch("up", "--json").stdout)
        self.assertTrue(again["already_up"])
        self.assertEqual(pids, [self.pid("serve"), self.pid("worker"), self.postmaster()])
        os.mkdir(f"{self.home}/deep")
        self.orch("status", "--json")
        self.assertIn(f"pages     {again['url']}/", self.orch("up").stdout)
        self.assertIn(f"Pages: {again['url']}/", self.orch("status").stdout)
        # PostgreSQL is not reachable over TCP and never runs as root
        with open(f"{self.cluster()['data']}/postmaster.pid", encoding="ascii") as file:
            self.assertEqual(file.read().split("\n")[5].strip(), "")
        self.assertNotEqual(os.stat(f"/proc/{pids[2]}").st_uid, 0)
        self.assertEqual(os.stat(self.cluster()["socket"]).st_mode & 0o777, 0o700)
        self.assertIn("down", self.orch("down").stdout)
        for pid in pids:
            self.assert_gone(pid)
        self.assertIn("nothing was up", self.orch("down").stdout)
        self.assertNotIn("Pages:", self.orch("status", check=False).stdout)
        self.orch("up")  # a second time in the same checkout
        self.assertNotEqual(pids[0], self.pid("serve"))

    def test_what_was_killed_is_started_again(self):
        self.orch("up")
        for name in ("serve", "worker"):
            os.kill(self.pid(name), signal.SIGKILL)
            self.assert_gone(self.pid(name))
        postmaster = self.postmaster()
        os.kill(postmaster, signal.SIGKILL)
        self.assert_gone(postmaster)
        # the number in the left-over file now belongs to somebody else
        path = f"{self.cluster()['data']}/postmaster.pid"
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
        lines[0] = str(os.getpid())
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines))
        with open(f"{self.home}/.orch/serve.pid", "w", encoding="ascii") as file:
            file.write(f"{os.getpid()} 1\n")
        until = time.monotonic() + 30
        while True:  # orphaned backends hold the shared memory for a moment
            done = self.orch("up", check=False)
            if done.returncode == 0 or time.monotonic() > until:
                break
            time.sleep(0.5)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(self.postmaster(), postmaster)

    def test_the_socket_path_may_be_long(self):
        self.home = f"{self.top}/{'x' * 60}/{'y' * 60}"
        os.makedirs(self.home)
        self.orch("up", "--no-worker")
        socket_folder = self.cluster()["socket"]
        self.cleanups.append(socket_folder)
        self.assertFalse(socket_folder.startswith(self.home))
        self.assertLess(len(f"{socket_folder}/.s.PGSQL.5432"), 108)
        self.orch("down")
        self.orch("up", "--no-worker")
        self.assertEqual(socket_folder, self.cluster()["socket"])

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_a_home_that_only_root_can_enter(self):
        os.chmod(self.top, 0o700)
        self.home = f"{self.top}/checkout"
        os.mkdir(self.home)
        self.orch("up")
        data = self.cluster()["data"]
        self.cleanups += [os.path.dirname(data), self.cluster()["socket"]]
        self.assertFalse(data.startswith(self.home))
        self.orch("status")
        self.orch("down")
        self.orch("up")
        self.assertEqual(data, self.cluster()["data"])

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_as_a_normal_user(self):
        nobody = pwd.getpwnam("nobody")
        os.chown(self.top, nobody.pw_uid, nobody.pw_gid)
        os.chmod(self.top, 0o755)
        program = f"{self.top}/orch"
        shutil.copy(ORCH, program)
        run = {"cwd": self.top, "env": self.env(), "capture_output": True, "text": True, "timeout": 180,
               "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        done = subprocess.run([program, "up"], **run)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.stat(self.cluster()["data"]).st_uid, nobody.pw_uid)
        done = subprocess.run([program, "down"], **run)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_init(self):
        self.assertIn("wrote orch.yaml", self.orch("init").stdout)
        self.orch("check", "orch.yaml")
        with open(f"{self.home}/orch.yaml", "a", encoding="utf-8") as file:
            file.write("# mine\n")
        self.assertIn("already", self.orch("init").stdout)
        with open(f"{self.home}/orch.yaml", encoding="utf-8") as file:
            self.assertTrue(file.read().endswith("# mine\n"))

    def test_down_where_nothing_is(self):
        self.assertIn("nothing was up", self.orch("down").stdout)
        self.assertFalse(os.path.exists(f"{self.home}/.orch"))

    def test_an_unreachable_server_is_said(self):
        done = self.orch("--database", "postgresql:///x?host=/nowhere/at/all", "up", check=False)
        self.assertEqual(done.returncode, 5)
        self.assertFalse(os.path.exists(f"{self.home}/.orch/cluster.json"))


if __name__ == "__main__":
    unittest.main()

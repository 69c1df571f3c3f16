"""Hostile bytes against the real server: every bad head gets a 4xx problem document and nothing stops the next request.

No database is needed: the server starts without one and says so on /readyz.
"""

import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/dev/orch"))
HOST = b"Host: orch\r\n"


class Server:
    """`orch serve` on a unix socket or on a port that the system picks, without a database."""

    def __init__(self, listen="127.0.0.1:0"):
        self.scratch = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.scratch.name, "log"), "w+b")
        environment = {"PATH": os.environ["PATH"], "HOME": self.scratch.name}
        self.process = subprocess.Popen(
            [ORCH, "serve", "--json", "--listen", listen.replace("SCRATCH", self.scratch.name),
             "--database", f"host={self.scratch.name} dbname=none", "--grace", "2"],
            stderr=self.log, cwd=self.scratch.name, env=environment)
        self.address = self.wait_for_address()

    def wait_for_address(self):
        for _ in range(500):
            for line in self.lines():
                if line.get("event") == "serve.started":
                    return line["address"]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the server did not start: " + self.text())

    def text(self):
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def lines(self):
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found

    def dial(self):
        if self.address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            sock.connect(self.address[5:])
            return sock
        host, port = self.address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), timeout=20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()
            self.scratch.cleanup()


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status = int(lines[0].split(" ")[1]) if raw else 0
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()


def read_answer(sock, with_body=True):
    """One answer by its Content-Length; an empty one when the other side closes first."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            return Answer(b"")
        raw += more
    answer = Answer(raw)
    want = int(answer.headers.get("content-length", "0")) if with_body else 0
    while len(answer.body) < want:
        more = sock.recv(65536)
        if not more:
            break
        answer.body += more
    return answer


class HttpTest(unittest.TestCase):
    listen = "127.0.0.1:0"

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.listen)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        if status != 0:
            raise AssertionError(f"the server ended with {status}")

    def ask(self, raw, with_body=True):
        with self.server.dial() as sock:
            sock.sendall(raw)
            return read_answer(sock, with_body)

    def assert_alive(self):
        self.assertEqual(self.ask(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n").status, 200)

    def assert_problem(self, answer, status):
        self.assertEqual(answer.status, status, answer.raw)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        problem = json.loads(answer.body)
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["type"].startswith("urn:orch:problem:"))
        self.assertTrue(problem["title"] and problem["detail"])

    def test_plain(self):
        answer = self.ask(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assertEqual(json.loads(answer.body)["status"], "alive")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        head = self.ask(b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"\r\n", with_body=False)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], answer.headers["content-length"])

    def test_routes(self):
        self.assert_problem(self.ask(b"GET /nothing/here HTTP/1.1\r\n" + HOST + b"\r\n"), 404)
        self.assert_problem(self.ask(b"GET /v1/pipelines/../healthz HTTP/1.1\r\n" + HOST + b"\r\n"), 404)
        wrong = self.ask(b"DELETE /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assert_problem(wrong, 405)
        self.assertEqual(wrong.headers["allow"], "GET, HEAD")
        wrong = self.ask(b"GET /v1/gates/1/decisions HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assert_problem(wrong, 405)  # GET never decides
        self.assertEqual(wrong.headers["allow"], "POST")
        self.assert_problem(self.ask(b"GET /v1/pipelines HTTP/1.1\r\n" + HOST + b"\r\n"), 401)
        self.assert_problem(
            self.ask(b"GET /v1/pipelines HTTP/1.1\r\n" + HOST + b"Authorization: Bearer nonsense\r\n\r\n"), 401)
        self.assert_problem(self.ask(b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n"), 503)

    def test_openapi_is_true(self):
        paths = json.loads(self.ask(b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n").body)["paths"]
        self.assertIn("post", paths["/v1/gates/{id}/decisions"])
        for path, methods in paths.items():
            for method in methods:
                request = f"{method.upper()} {path.replace('{', '').replace('}', '')} HTTP/1.1\r\n".encode()
                answer = self.ask(request + HOST + b"Content-Length: 0\r\n\r\n")
                self.assertNotIn(answer.status, (0, 404, 405), path)

    def test_metrics(self):
        text = self.ask(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n").body.decode()
        self.assertIn("\norch_database_up 0\n", text)
        for line in text.splitlines():
            if not line.startswith("#"):
                float(line.rsplit(" ", 1)[1])

    BAD = {
        "cl and te": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "two cl": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        "equal cl": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        "cl list": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\na"),
        "cl sign": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na"),
        "cl huge": (413, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n"),
        "te gzip": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n"),
        "te twice": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "te in 1.0": (400, b"POST /x HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"),
        "folded": (400, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n"),
        "folded te": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        "folded name": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Leng: 5\r\n th\r\n\r\n"),
        "space before colon": (400, b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nabcde"),
        "bare lf": (400, b"GET /healthz HTTP/1.1\nHost: a\n\n"),
        "mixed lf": (400, b"GET /healthz HTTP/1.1\r\nX: a\nHost: a\r\n\r\n"),
        "bare cr": (400, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\rContent-Length: 4\r\n\r\n"),
        "nul in value": (400, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n"),
        "nul in path": (400, b"GET /health\0z HTTP/1.1\r\n" + HOST + b"\r\n"),
        "nul encoded": (400, b"GET /health%00z HTTP/1.1\r\n" + HOST + b"\r\n"),
        "control in path": (400, b"GET /health\x07z HTTP/1.1\r\n" + HOST + b"\r\n"),
        "newline in path": (400, b"GET /v1/pipelines/a%0d%0ab HTTP/1.1\r\n" + HOST + b"\r\n"),
        "not utf-8": (400, b"GET /v1/pipelines/%ff HTTP/1.1\r\n" + HOST + b"\r\n"),
        "no host": (400, b"GET /healthz HTTP/1.1\r\n\r\n"),
        "two hosts": (400, b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n"),
        "absolute form": (400, b"GET http://evil/healthz HTTP/1.1\r\n" + HOST + b"\r\n"),
        "bad method": (400, b"G E T /healthz HTTP/1.1\r\n" + HOST + b"\r\n"),
        "lower case method": (400, b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n"),
        "tls": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        "http/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "no version": (400, b"GET /healthz\r\n\r\n"),
        "version": (505, b"GET /healthz HTTP/3.0\r\n" + HOST + b"\r\n"),
        "two tokens": (400, b"GET /healthz HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
        "long line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
        "long head": (431, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100000 + b"\r\n\r\n"),
        "many fields": (431, b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 70 + b"\r\n"),
        "body on get": (413, b"GET /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"),
        "big body": (413, b"POST /v1/proposals HTTP/1.1\r\n" + HOST + b"Authorization: Bearer x\r\nContent-Length: 999999\r\n\r\n"),
        "double query": (400, b"GET /healthz?a=1&a=2 HTTP/1.1\r\n" + HOST + b"\r\n"),
        "expectation": (417, b"POST /x HTTP/1.1\r\n" + HOST + b"Expect: cake\r\n\r\n"),
    }

    def test_bad_heads(self):
        for name, (status, raw) in self.BAD.items():
            # "*" of the preface is no path; which of its two faults is named first does not matter
            with self.subTest(name):
                self.assert_problem(self.ask(raw), status)
        self.assert_alive()

    def test_bad_heads_behind_a_good_one(self):
        """On a connection that has served one request, the library reads first: nothing may slip through there."""
        for name, (status, raw) in self.BAD.items():
            with self.subTest(name), self.server.dial() as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
                self.assertEqual(read_answer(sock).status, 200)
                try:
                    sock.sendall(raw)
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # refused before all was sent
                answer = read_answer(sock)
                self.assertTrue(answer.status == 0 or 400 <= answer.status < 600, answer.raw)
                self.assertNotIn(b"HTTP/1.1 200", answer.raw + answer.body)
                if answer.headers.get("content-type", "").startswith("application/problem"):
                    self.assertIn(answer.status, (status, 400))
        self.assert_alive()

    def test_smuggled_request_is_not_served(self):
        inner = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"
        raw = (b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: " + str(len(inner)).encode() +
               b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner)
        with self.server.dial() as sock:
            sock.sendall(raw)
            self.assertEqual(read_answer(sock).status, 400)
            try:
                self.assertEqual(sock.recv(1), b"")
            except ConnectionResetError:
                pass

    def test_pieces_and_pipelining(self):
        request = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        with self.server.dial() as sock:
            for byte in request:
                sock.sendall(bytes([byte]))
            self.assertEqual(read_answer(sock).status, 200)
        with self.server.dial() as sock:
            sock.sendall(request * 3)
            raw = b""
            while raw.count(b"\"alive\"") < 3:
                more = sock.recv(65536)
                self.assertTrue(more)
                raw += more
            self.assertEqual(raw.count(b"HTTP/1.1 200 "), 3)

    def test_noise(self):
        seed = int.from_bytes(os.urandom(4), "big")
        print(f"seed {seed}")
        dice = random.Random(seed)
        good = b"POST /v1/proposals?a=b HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nX: y\r\n\r\n{}"
        for _ in range(300):
            raw = bytearray(good)
            for _ in range(dice.randint(1, 6)):
                at = dice.randrange(len(raw))
                choice = dice.randrange(3)
                if choice == 0:
                    raw[at] = dice.randrange(256)
                elif choice == 1:
                    raw[at:at] = dice.choice([b"\r\n", b"\n", b" ", b"\0", b":", b"\r\n ", b"%", b"\xff", b"\t"])
                else:
                    del raw[at]
            with self.server.dial() as sock:
                try:
                    sock.sendall(bytes(raw))
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(20)
                    while sock.recv(65536):
                        pass
                except OSError:
                    pass
        self.assert_alive()

    def test_disconnects(self):
        for cut in range(1, 60, 3):
            with self.server.dial() as sock:
                sock.sendall((b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n" * 2)[:cut])
        for _ in range(20):
            with self.server.dial() as sock:
                sock.sendall(b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n")  # gone before the database is found missing
        self.assert_alive()

    def test_too_many_connections(self):
        socks = []
        try:
            for _ in range(140):
                socks.append(self.server.dial())
            answer = read_answer(socks[-1])
            self.assert_problem(answer, 429)
        finally:
            for sock in socks:
                sock.close()
        for _ in range(100):
            if self.ask(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n").status == 200:
                return
            time.sleep(0.05)
        self.fail("the server did not recover")

    def test_second_server_is_refused(self):
        done = subprocess.run([ORCH, "serve", "--listen", self.server.address, "--database", "host=/nowhere"],
                              capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 4)
        self.assertIn("already listening", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1)


class UnixSocketTest(HttpTest):
    listen = "unix:SCRATCH/http.sock"

    def test_too_many_connections(self):
        self.skipTest("a unix socket has no address")


class SlowTest(unittest.TestCase):
    def test_trickled_head(self):
        server = Server()
        try:
            with server.dial() as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\n")
                answer, began = b"", time.monotonic()
                while not answer and time.monotonic() - began < 60:
                    try:
                        sock.sendall(b"X")  # a byte now and then keeps an idle timer awake, not this one
                        sock.settimeout(0.5)
                        answer = sock.recv(65536)
                    except socket.timeout:
                        continue
                self.assertIn(b"HTTP/1.1 408 ", answer)
                self.assertIn(b"application/problem+json", answer)
        finally:
            self.assertEqual(server.stop(), 0)


class StopTest(unittest.TestCase):
    def test_stop_with_requests_in_flight(self):
        server = Server()
        socks = [server.dial() for _ in range(10)]
        try:
            for sock in socks:
                sock.sendall(b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n")
            time.sleep(0.1)
        finally:
            self.assertEqual(server.stop(), 0)
            for sock in socks:
                self.assertIn(read_answer(sock).status, (0, 503))
                sock.close()


if __name__ == "__main__":
    unittest.main()

"""What the demo stands on: a readable timeline, the orch command line, its HTTP API, and a portal that signs callbacks."""
import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid


class Trouble(Exception):
    """Something did not go as the story needs it; the text says what."""


class Timeline:
    """Prints what happens: the date in the story, the seconds since the start, one line of words."""

    def __init__(self, pause):
        self.began, self.pause = time.monotonic(), pause
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, code, text):
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def head(self, text):
        print("\n" + self.paint("1", text), flush=True)
        time.sleep(self.pause)

    def line(self, date, text, colour=None):
        words = self.paint(colour, text) if colour else text
        print(f"  {date:<10} {self.paint('2', f'{time.monotonic() - self.began:6.1f} s')}  {words}", flush=True)
        time.sleep(self.pause / 4)

    def more(self, text):
        for row in text.rstrip("\n").split("\n"):
            print(f"  {'':<10} {'':>8}  {self.paint('2', row)}", flush=True)

    def command(self, words):
        print("  " + self.paint("36", "$ " + words), flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, look, seconds=60, every=0.05):
    """Looks until it sees something; Trouble when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(every)
    raise Trouble(f"waited {seconds} s for {what}")


class Orch:
    """The command line, run in the demo's folder with the demo's environment."""

    def __init__(self, binary, folder, env):
        self.binary, self.folder, self.env = binary, folder, env

    def run(self, *words, env=None, expect=0):
        """Runs one command; Trouble when its exit code is not the expected one (None: any)."""
        done = subprocess.run([self.binary, *words], cwd=self.folder, env=env or self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        if expect is not None and done.returncode != expect:
            raise Trouble(f"orch {' '.join(words)}: exit {done.returncode}\n{done.stderr}{done.stdout}")
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)


class Http:
    """The HTTP API with a bearer token."""

    def __init__(self, base, token):
        self.base, self.token = base, token

    def call(self, method, path, body=None, kind="application/json", headers=()):
        """(status, document)"""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, dict(headers), method=method)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        if data is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def get(self, path):
        status, document = self.call("GET", path)
        if status != 200:
            raise Trouble(f"GET {path}: {status} {document}")
        return document


class Portal:
    """A company's own approval page: it signs what a reviewer decided as Standard Webhooks says."""

    def __init__(self, base):
        self.base, self.key = base, os.urandom(24)
        self.secret = "whsec_" + base64.b64encode(self.key).decode()

    def decide(self, gate, verdict, reviewer, comment, digest):
        """(status, document)"""
        now = time.gmtime()
        body = json.dumps({"type": "gate.decision", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
                           "data": {"gate": gate, "verdict": verdict, "reviewer": reviewer, "comment": comment,
                                    "digest": digest}}).encode()
        message_id, stamp = "msg_" + uuid.uuid4().hex, str(int(time.time()))
        signed = hmac.new(self.key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        return Http(self.base, None).call("POST", "/v1/callbacks/webhook", body, headers={
            "webhook-id": message_id, "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(signed).decode()}.items())

"""Tells orch what a live model saw, predicted and, later, what was true. One file, no dependencies, Python 3.8 and newer.

    import orch_client

    orch = orch_client.Client("http://127.0.0.1:8077", token=os.environ["ORCH_TOKEN"], pipeline="housing")
    ...
    orch.observe({"id": "r-17", "sales": 310, "features": {"income": 3.2}, "prediction": "up", "score": 0.83})
    ...
    orch.label("r-17", "down")          # hours or weeks later, from any process

What it promises a caller that serves people:

- observe() and label() never raise and never wait for the network. They put one line into a bounded queue; a thread of its
  own sends batches. When the queue is full, or a row cannot be written as JSON, the row is dropped and counted: a model
  must not fall over because its monitoring does.
- A batch is sent again, with the same Idempotency-Key, until it was answered, for `retry_s`; the server stores it once.
- Nothing is hidden: stats() counts what was queued, sent, refused and dropped, and why the last batch failed.
- flush() and close() take a timeout. A process that ends closes the client by itself, within `exit_s`.
- After a fork (gunicorn, multiprocessing) the child starts with an empty queue and a thread of its own.

Names of keys ("id", "prediction", "score", "version", "at", "latency_ms") are the pipeline's: see its `observations:`.
"""
import atexit
import collections
import datetime
import gzip
import http.client
import json
import logging
import math
import os
import random
import ssl
import threading
import time
import urllib.parse
import uuid
import weakref

__version__ = "1.0"
__all__ = ["Client"]

log = logging.getLogger("orch_client")

LINE_MAX = 64 * 1024        # bytes of one row that the server takes
BATCH_BYTES = 1024 * 1024   # of one request, before gzip
_AGAIN = (408, 425, 429)    # and every 5xx: worth sending again
_IDLE_S = 20.0              # a connection unused for longer may have been closed by the other side, or a proxy between


def _plain(value):
    """What json cannot write: numpy's scalars and arrays, times (local ones get their zone), sets; else its text."""
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat()
    for name in ("item", "tolist", "isoformat"):
        method = getattr(value, name, None)
        if method is not None:
            try:
                return method()
            except (TypeError, ValueError):
                continue
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _finite(value):
    """JSON has no NaN and no infinity; monitors read these texts as what they say."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _line(row):
    """One row as a line, or an exception that says why it is none."""
    if not isinstance(row, dict) or not row:
        raise ValueError("a row is a dict with at least one column")
    try:
        text = json.dumps(row, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:  # a NaN somewhere; numpy's show themselves only once they were made plain
        plain = json.loads(json.dumps(row, default=_plain), parse_constant=float)
        text = json.dumps(_finite(plain), separators=(",", ":"), allow_nan=False)
    line = text.encode() + b"\n"
    if len(line) > LINE_MAX:
        raise ValueError(f"a row of {len(line)} bytes; at most {LINE_MAX} are taken")
    return line


class _Refused(Exception):
    """The server has said no; the same again would be refused again."""


class _Failed(Exception):
    """Not answered, or answered with "later"; carries the seconds that the server asks to wait."""

    def __init__(self, why, wait_s=0.0):
        super().__init__(why)
        self.wait_s = wait_s


class _Batch:
    def __init__(self, kind, lines):
        self.kind, self.lines = kind, lines
        self.key = uuid.uuid4().hex
        self.body = b"".join(lines)


class Client:
    """See the module's text. All times are seconds. The constructor opens no connection and starts no thread."""

    def __init__(self, url, token, pipeline, *, batch_rows=1000, flush_s=1.0, queue_rows=100000, queue_bytes=64 * 1024 * 1024,
                 timeout_s=10.0, retry_s=300.0, exit_s=2.0, compress=True, context=None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http:// or https:// address")
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._context = context or (ssl.create_default_context() if self._https else None)
        self._path = f"{parts.path.rstrip('/')}/v1/pipelines/{urllib.parse.quote(pipeline, safe='')}/"
        self._token = token
        self._batch_rows, self._flush_s = max(1, batch_rows), flush_s
        self._queue_rows, self._queue_bytes = queue_rows, queue_bytes
        self._timeout_s, self._retry_s, self._exit_s, self._compress = timeout_s, retry_s, exit_s, compress
        self._start()
        _clients.add(self)

    # ---- for callers

    def observe(self, row):
        """Queues one row, a dict; nested dicts are columns by their dotted names. False: it was dropped and counted."""
        return self._put("observations", row)

    def label(self, id, label, at=None):  # pylint: disable=redefined-builtin
        """Queues what was true for the row with this id: a number, a text or a boolean; `at`: when it was known, a datetime
        with a time zone or RFC 3339 text. False: it was dropped and counted."""
        row = {"id": id, "label": label}
        if at is not None:
            row["at"] = at
        return self._put("labels", row)

    def stats(self):
        """{"queued", "sent", "refused", "dropped", "retries", "waiting", "last_error"}: rows and labels together.
        refused: the server took the batch and named these lines, or would not have the batch; dropped: never stored because
        the queue was full, the row was no row, or nobody answered for retry_s."""
        with self._changed:
            return {**self._counts, "waiting": self._waiting, "last_error": self._last_error}

    def flush(self, timeout_s=10.0):
        """Waits until everything queued so far was answered (or given up). False when that took longer."""
        end = time.monotonic() + timeout_s
        with self._changed:
            self._flush = True
            self._changed.notify_all()
            while self._waiting and self._alive():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return self._waiting == 0

    def close(self, timeout_s=10.0):
        """Sends what is queued, for at most so long, and ends the thread. What is left then is dropped and counted, as are
        rows that come later. True when all was answered."""
        end = time.monotonic() + timeout_s
        with self._changed:
            dropped = self._counts["dropped"]
            self._end = end
            self._closing = True
            self._changed.notify_all()
            thread = self._thread if self._alive() else None
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, end - time.monotonic()) + 0.2)
        with self._changed:
            self._give_up_all("the client was closed")
            return self._waiting == 0 and self._counts["dropped"] == dropped

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the queue

    def _start(self):
        """A fresh queue: at the beginning, and in a child after a fork, where the parent's is the parent's to send."""
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.RLock())  # an RLock: a signal handler may observe too
        self._queues = {"observations": collections.deque(), "labels": collections.deque()}
        self._counts = {"queued": 0, "sent": 0, "refused": 0, "dropped": 0, "retries": 0}
        self._waiting = self._bytes = 0  # lines that are queued or under way
        self._oldest = None              # since when the first of them has waited
        self._last_error, self._warned = None, 0.0
        self._thread, self._connection, self._used = None, None, 0.0
        self._flush = self._closing = False
        self._end = None

    def _alive(self):
        return self._thread is not None and self._thread.is_alive()

    def _put(self, kind, row):
        try:
            if os.getpid() != self._pid:
                self._start()
            line = None
            try:
                line = _line(row)
            except Exception as error:  # pylint: disable=broad-except
                self._note(f"a row was dropped: {error}")
            with self._changed:
                if line is None or self._closing or self._waiting >= self._queue_rows or self._bytes + len(line) > self._queue_bytes:
                    self._counts["dropped"] += 1
                    return False
                self._queues[kind].append(line)
                self._counts["queued"] += 1
                self._waiting += 1
                self._bytes += len(line)
                if self._oldest is None:
                    self._oldest = time.monotonic()
                if not self._alive():
                    self._thread = threading.Thread(target=self._run, name="orch-client", daemon=True)
                    self._thread.start()
                elif self._waiting == 1 or self._waiting == self._batch_rows:
                    self._changed.notify_all()
            return True
        except Exception:  # pylint: disable=broad-except
            return False  # no memory, no thread: the caller goes on

    def _note(self, why):
        """Keeps the reason, and says it in the log once a minute."""
        self._last_error = why
        now = time.monotonic()
        if now - self._warned >= 60 or not self._warned:
            self._warned = now
            log.warning("%s", why)

    def _give_up_all(self, why):
        """Under the lock: drops what is queued."""
        lines = [line for queue in self._queues.values() for line in queue]
        for queue in self._queues.values():
            queue.clear()
        self._counts["dropped"] += len(lines)
        self._waiting -= len(lines)
        self._bytes -= sum(map(len, lines))
        if lines:
            self._last_error = why
        self._changed.notify_all()

    # ---- the thread

    def _run(self):
        while True:
            batch = self._next()
            if batch is None:
                break
            try:
                sent, refused, dropped = self._deliver(batch)
            except Exception as error:  # pylint: disable=broad-except
                self._note(f"a batch was dropped: {error!r}")
                sent, refused, dropped = 0, 0, len(batch.lines)
            with self._changed:
                for name, n in (("sent", sent), ("refused", refused), ("dropped", dropped)):
                    self._counts[name] += n
                self._waiting -= len(batch.lines)
                self._bytes -= len(batch.body)
                self._oldest = time.monotonic() if self._waiting else None
                self._flush = self._flush and self._waiting > 0
                self._changed.notify_all()
        if self._connection is not None:
            self._connection.close()

    def _next(self):
        """Waits for a full batch, an old row, a flush or the end."""
        with self._changed:
            while True:
                ready = any(len(queue) >= self._batch_rows for queue in self._queues.values())
                age = 0.0 if self._oldest is None else time.monotonic() - self._oldest
                if self._waiting and (ready or self._flush or self._closing or age >= self._flush_s):
                    return self._take()
                if self._closing:
                    return None
                self._changed.wait(None if self._oldest is None else max(0.0, self._flush_s - age))

    def _take(self):
        # Rows before labels: then a label finds its row.
        kind = "observations" if self._queues["observations"] else "labels"
        queue, lines, size = self._queues[kind], [], 0
        while queue and len(lines) < self._batch_rows and (not lines or size + len(queue[0]) <= BATCH_BYTES):
            lines.append(queue.popleft())
            size += len(lines[-1])
        return _Batch(kind, lines)

    def _deliver(self, batch):
        """-> (sent, refused, dropped)"""
        give_up, pause = time.monotonic() + self._retry_s, 0.1
        while True:
            try:
                return self._post(batch)
            except _Refused as error:
                self._note(f"a batch was refused: {error}")
                return 0, len(batch.lines), 0
            except (_Failed, OSError, http.client.HTTPException) as error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                self._note(f"a batch waits to be sent again: {error}")
                end = give_up if self._end is None else min(give_up, self._end)
                wait = max(getattr(error, "wait_s", 0.0), pause * random.uniform(0.5, 1.5))
                if time.monotonic() + wait >= end:
                    return 0, 0, len(batch.lines)
                pause = min(pause * 2, 15.0)
                with self._changed:
                    self._counts["retries"] += 1
                    if not self._closing:  # close() ends a long pause
                        self._changed.wait_for(lambda: self._closing, wait)
                        continue
                time.sleep(min(wait, 0.2))

    def _post(self, batch):
        timeout = self._timeout_s if self._end is None else max(0.1, min(self._timeout_s, self._end - time.monotonic()))
        if self._connection is not None and time.monotonic() - self._used >= _IDLE_S:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            make = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
            self._connection = make(self._host, self._port, timeout=timeout, **({"context": self._context} if self._https else {}))
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        headers = {"Content-Type": "application/x-ndjson", "Authorization": "Bearer " + self._token, "Idempotency-Key": batch.key,
                   "User-Agent": "orch-client/" + __version__}
        body = batch.body
        if self._compress and len(body) > 1024:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        self._connection.request("POST", self._path + batch.kind, body, headers)
        answer = self._connection.getresponse()
        text = answer.read(4 * 1024 * 1024)
        self._used = time.monotonic()
        if answer.will_close:
            self._connection.close()
            self._connection = None
        return self._judge(batch, answer, text)

    def _judge(self, batch, answer, text):
        try:
            document = json.loads(text)
        except ValueError:
            document = {}
        if not isinstance(document, dict):
            document = {}
        errors = document.get("rejected") or []
        if errors:
            self._note(f"line {errors[0].get('line')} of a batch was refused: {errors[0].get('error')}")
        if document.get("times_unread"):
            self._note(f"{document['times_unread']} rows of a batch have a time that cannot be read: send RFC 3339")
        if answer.status == 202:
            accepted = int(document.get("accepted", len(batch.lines)))
            return accepted, len(batch.lines) - accepted, 0
        why = f"HTTP {answer.status}: {document.get('detail') or answer.reason}"
        changed = answer.status == 409 and str(document.get("type", "")).endswith(":conflict")
        if answer.status in _AGAIN or answer.status >= 500 or changed:
            try:
                wait_s = min(60.0, float(answer.headers.get("Retry-After", 0)))
            except ValueError:
                wait_s = 0.0
            raise _Failed(why, wait_s)
        raise _Refused(why)


_clients = weakref.WeakSet()


@atexit.register
def _close_all():
    for client in list(_clients):
        if client._pid == os.getpid():  # pylint: disable=protected-access
            client.close(client._exit_s)  # pylint: disable=protected-access

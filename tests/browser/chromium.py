"""A headless Chromium driven over the DevTools protocol, by a pipe: no port, no library, nothing but Python's own.

    with chromium.Browser() as browser:
        page = browser.page()
        page.goto("http://127.0.0.1:8077/")
        page.text("h1"), page.problems
"""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--hide-scrollbars",
         "--disable-dev-shm-usage", "--no-proxy-server", "--font-render-hinting=none", "--remote-debugging-pipe"]
SECONDS_MAX = 30


def find():
    """The browser's program, or None."""
    return os.environ.get("ORCH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self, *flags):
        self.flags = flags
        self.number = 0
        self.answers = {}
        self.pages = {}
        self.buffer = b""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="orch-chromium-")
        to_child, self.to = os.pipe()
        self.back, from_child = os.pipe()

        def wire():  # the protocol's two ends are descriptors 3 and 4
            first, second = os.dup2(to_child, 100), os.dup2(from_child, 101)
            os.dup2(first, 3), os.dup2(second, 4)
            os.set_inheritable(3, True), os.set_inheritable(4, True)
        self.process = subprocess.Popen([find(), *FLAGS, *self.flags, f"--user-data-dir={self.profile}", "about:blank"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        close_fds=False, preexec_fn=wire, start_new_session=True,
                                        env={**os.environ, "HOME": self.profile})
        os.close(to_child), os.close(from_child)
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the processes that it started
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to), os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    # ---- the protocol: JSON documents that end in NUL

    def call(self, method, params=None, session=None):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        end, number = time.monotonic() + SECONDS_MAX, self.number
        while number not in self.answers:
            self.listen(end, method)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def listen(self, end, what):
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.back], [], [], left)[0]:
            raise AssertionError(f"Chromium did not answer within {SECONDS_MAX} s: {what}")
        data = os.read(self.back, 1 << 20)
        if not data:
            raise AssertionError("Chromium has ended")
        *whole, self.buffer = (self.buffer + data).split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self.answers[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].event(message["method"], message["params"])

    def page(self, width=1200, height=900):
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.call(f"{domain}.enable")
        page.size(width, height)
        return page


class Page:
    """One tab in a profile of its own. `problems` collects what a console would show, `answers` what the server said."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.problems, self.answers, self.loaded, self.requests = [], {}, 0, {}

    def call(self, method, **params):
        return self.browser.call(method, params, self.session)

    def event(self, method, params):
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.problems.append(json.dumps(params)[:500])
        elif method == "Audits.issueAdded" and params["issue"]["code"] not in ("GenericIssue", "BounceTrackingIssue", "CookieIssue"):
            self.problems.append(json.dumps(params["issue"])[:500])
        elif method == "Network.responseReceived":
            self.answers[params["response"]["url"]] = params["response"]
        elif method == "Network.requestWillBeSentExtraInfo":
            self.requests[params["requestId"]] = params["headers"]
        elif method == "Page.loadEventFired":
            self.loaded += 1

    def wait_loaded(self, before):
        end = time.monotonic() + SECONDS_MAX
        while self.loaded == before:
            self.browser.listen(end, "a page to load")

    def goto(self, url, **params):
        before = self.loaded
        answer = self.call("Page.navigate", url=url, **params)
        if answer.get("errorText"):
            raise AssertionError(f"{url}: {answer['errorText']}")
        self.wait_loaded(before)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def act(self, script):
        """Runs what leaves the page, and waits for the next one."""
        before = self.loaded
        self.run(script)
        self.wait_loaded(before)

    def text(self, selector="body"):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent).join('\\n')")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def url(self):
        return self.run("location.href")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def look(self, scheme="light", media="screen"):
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        height = self.run("Math.ceil(document.documentElement.getBoundingClientRect().height)")
        width = self.run("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def pdf(self, path):
        data = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

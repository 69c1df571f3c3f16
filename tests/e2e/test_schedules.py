"""Cron times against the times that Python's zoneinfo knows: around every change of the clock, with both day fields; and a
schedule that really fires over such a night."""
import datetime
import functools
import json
import os
import random
import time
import unittest
import zoneinfo

import kit

UTC = datetime.timezone.utc
# Half an hour, two hours, at midnight, the southern half, a country that left daylight saving, and none at all.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Sao_Paulo", "America/Havana",
         "Africa/Casablanca", "Asia/Kathmandu", "Atlantic/Azores", "Pacific/Auckland", "UTC")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@functools.lru_cache(None)
def changes(zone):
    """The moments at which the zone's clock was or will be changed, 2014 to 2027."""
    tz, at = zoneinfo.ZoneInfo(zone), datetime.datetime(2014, 1, 1, tzinfo=UTC)
    out, step = [], datetime.timedelta(hours=12)
    while at.year < 2028:
        if at.astimezone(tz).utcoffset() != (at + step).astimezone(tz).utcoffset():
            low, high = at, at + step
            while high - low > datetime.timedelta(seconds=60):
                middle = low + datetime.timedelta(minutes=(high - low).total_seconds() // 120)
                if middle.astimezone(tz).utcoffset() == low.astimezone(tz).utcoffset():
                    low = middle
                else:
                    high = middle
            out.append(high)
        at += step
    return out


def field(rng, low, high, names=None):
    """-> (text, the numbers that match, does it start with *)"""
    kind = rng.randrange(5)
    if kind == 0:
        return "*", set(range(low, high + 1)), True
    if kind == 1:
        step = rng.randint(2, min(9, high - low))
        return f"*/{step}", set(range(low, high + 1, step)), True
    if kind == 2:
        first = rng.randint(low, high)
        last = rng.randint(first, high)
        return f"{first}-{last}", set(range(first, last + 1)), False
    chosen = {rng.randint(low, high) for _ in range(rng.randint(1, 3))}
    return ",".join(names[x - low] if names and rng.random() < 0.5 else str(x) for x in chosen), chosen, False


class Cron:
    def __init__(self, rng, zone):
        minute, self.minutes, _ = field(rng, 0, 59)
        hour, self.hours, _ = field(rng, 0, 23)
        if rng.random() < 0.5:  # where clocks are changed
            chosen = sorted(rng.sample((0, 1, 2, 3, 23), rng.randint(1, 3)))
            hour, self.hours = ",".join(map(str, chosen)), set(chosen)
        day, self.days, any_day = field(rng, 1, 31)
        month, self.months, _ = ("*", set(range(1, 13)), True) if rng.random() < 0.7 else field(rng, 1, 12, MONTHS)
        weekday, self.weekdays, any_weekday = field(rng, 0, 6, DAYS)
        self.both = any_day or any_weekday
        self.text, self.zone = f"{minute} {hour} {day} {month} {weekday} {zone}", zoneinfo.ZoneInfo(zone)

    def day_matches(self, date):
        of_month, of_week = date.day in self.days, (date.weekday() + 1) % 7 in self.weekdays
        return date.month in self.months and (of_month and of_week if self.both else of_month or of_week)

    def moment(self, wall):
        """The first of two; of a wall time that does not exist, the moment after the gap."""
        at = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        if at.astimezone(self.zone).replace(tzinfo=None) == wall:
            return at
        # Python reads it with the offset of before: that lies behind the gap. Back to where the offset changes.
        offset = at.astimezone(self.zone).utcoffset()
        while (at - datetime.timedelta(minutes=1)).astimezone(self.zone).utcoffset() == offset:
            at -= datetime.timedelta(minutes=1)
        return at

    def fires(self, start, end):
        """All fires in (start, end]."""
        out, date = set(), (start - datetime.timedelta(days=2)).date()
        while date <= (end + datetime.timedelta(days=2)).date():
            if self.day_matches(date) and len(self.hours) < 24:
                out |= {self.moment(datetime.datetime.combine(date, datetime.time(h, m))) for h in self.hours for m in self.minutes}
            date += datetime.timedelta(days=1)
        if len(self.hours) == 24:  # each real hour
            at = start.replace(second=0, microsecond=0)
            while at <= end:
                local = at.astimezone(self.zone)
                if local.minute in self.minutes and self.day_matches(local.date()):
                    out.add(at)
                at += datetime.timedelta(minutes=1)
        return sorted(x for x in out if start < x <= end)


class SchedulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = kit.World()
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)

    def parsed(self, texts):
        """The cron documents that orch's own parser makes of them."""
        out = []
        for first in range(0, len(texts), 50):  # a pipeline has at most 50 monitors
            folder = os.path.join(self.world.dir, "crons", "quick")
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(self.world.dir, "pipelines/quick/pipeline.yaml")
            text = kit.read(path)
            start, end = text.index("monitors:"), text.index("retrain:")
            lines = "".join(f'  - {{name: m{i}, kind: schedule, cron: "{t}"}}\n' for i, t in enumerate(texts[first:first + 50]))
            with open(os.path.join(folder, "pipeline.yaml"), "w", encoding="utf-8") as f:
                f.write(text[:start] + "monitors:\n" + lines + text[end:])
            for name in ("train.sh", "evaluate.sh", "rows.csv"):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                    f.write("x\n1\n")
            document = self.world.orch_json("check", folder, check=False)["files"][-1]
            self.assertTrue(document["fine"], document["problems"])
            out += [m["cron"] for m in document["normalised"]["monitors"]]
        return out

    def test_random_times_over_changes_of_the_clock(self):
        seed = int(os.environ.get("ORCH_TEST_SEED") or time.time_ns())
        print(f"seed {seed} (ORCH_TEST_SEED repeats it)")
        rng = random.Random(seed)
        cases = []
        while len(cases) < 100:
            zone = rng.choice(ZONES)
            cron = Cron(rng, zone)
            if not any(cron.day_matches(datetime.date(2024, 1, 1) + datetime.timedelta(days=i)) for i in range(366)):
                continue  # a day that no year has is refused
            around = rng.choice(changes(zone) or [datetime.datetime(2025, 3, 1, tzinfo=UTC)])
            cases.append((cron, around - datetime.timedelta(hours=30, minutes=rng.randrange(60)), around + datetime.timedelta(hours=30)))
        documents = self.parsed([c.text for c, _, _ in cases])
        self.world.sql("""create function all_fires(p_cron jsonb, p_from timestamptz, p_to timestamptz) returns text language plpgsql as $$
            declare v timestamptz := p_from; out text := ''; begin
              loop v := orch.cron_next(p_cron, v); exit when v is null or v > p_to;
                out := out || ' ' || extract(epoch from v)::bigint; end loop;
              return out; end $$""")
        answers = []
        for first in range(0, len(cases), 50):  # as many as an argument holds
            rows = ", ".join(f"({i}, '{json.dumps(d)}'::jsonb, '{start.isoformat()}'::timestamptz, '{end.isoformat()}'::timestamptz)"
                             for i, ((_, start, end), d) in enumerate(zip(cases[first:first + 50], documents[first:first + 50])))
            answers += self.world.sql(f"select all_fires(c, f, t) from (values {rows}) x(i, c, f, t) order by i")
        fired = 0
        for (cron, start, end), answer in zip(cases, answers):
            expected = [int(x.timestamp()) for x in cron.fires(start, end)]
            got = [int(x) for x in answer.split()]
            fired += len(got)
            self.assertEqual(got, expected, f"{cron.text} from {start} to {end}: " + ", ".join(
                str(datetime.datetime.fromtimestamp(x, cron.zone)) for x in sorted(set(got) ^ set(expected))[:5]))
        self.assertGreater(fired, 100)

    def test_a_night_with_two_servers(self):
        """Real servers, whose database's clock is set to three seconds before the clocks go forward in Berlin: 2:30 does not exist
        that night. Then to before they go back, where 2:30 happens twice."""
        w = self.world
        w.set_monitors("quick", ['{name: nightly, kind: schedule, cron: "30 2 * * * Europe/Berlin", then: tell}',
                                 '{name: sundays, kind: schedule, cron: "0 3 1-7 * sun Europe/Berlin", then: tell}'])
        clock = "create or replace function orch.clock() returns timestamptz language sql volatile as $$ select clock_timestamp() + {} $$"
        self.addCleanup(w.sql, clock.format("interval '0'"))

        def it_is(at):
            w.sql(clock.format(f"('{at}'::timestamptz - '{datetime.datetime.now(UTC).isoformat()}'::timestamptz)"))
            w.sql("update orch.monitor set due_at = orch.cron_next(spec -> 'cron', orch.clock()) where kind = 'schedule'")

        def fired():
            return w.sql("select (detail ->> 'monitor') || ' ' || (detail ->> 'due_at') || ' ' || disposition from orch.signal order by id")
        it_is("2026-03-29T00:59:57Z")
        servers = [w.serve(), w.serve(wait=False, env={"ORCH_LISTEN": f"127.0.0.1:{kit.free_port()}"})]
        # 3:00 is the moment after the gap of 2:30, and Sunday but the 29th: both day fields are said, so either matches.
        expected = ["nightly 2026-03-29T01:00:00.000Z recorded", "sundays 2026-03-29T01:00:00.000Z recorded"]
        kit.wait_for("the schedules to fire", lambda: len(fired()) >= 2, 30)
        self.assertEqual(sorted(fired()), expected)
        time.sleep(2)
        self.assertEqual(len(fired()), 2, "once, with two servers")
        self.assertEqual(w.sql("select orch.rfc3339(due_at) from orch.monitor where kind = 'schedule' order by name"),
                         ["2026-03-30T00:30:00.000Z", "2026-04-01T01:00:00.000Z"])
        # 0:29:57Z is 2:29:57 for the first time; an hour later it is again.
        it_is("2026-10-25T00:29:57Z")
        kit.wait_for("the night's first 2:30", lambda: "nightly 2026-10-25T00:30:00.000Z recorded" in fired(), 30)
        self.assertEqual(w.sql("select orch.rfc3339(due_at) from orch.monitor where name = 'nightly'"), ["2026-10-26T01:30:00.000Z"])
        for server in servers:
            server.terminate()
            self.assertEqual(server.wait(30), 0)


if __name__ == "__main__":
    unittest.main()

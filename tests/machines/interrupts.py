"""Interrupts: an exception at any line of the library, and the loop that goes on after it."""

import sys
from collections import Counter
from pathlib import Path

import filterloader

LIBRARY = str(Path(filterloader.__file__).parent)


class Lines:
    """While active, sees each line of the library that is executed, and raises at the n-th one.

    n: None only notes the lines. Attributes: ``seen``, ``file:line`` of each, in order.
    """

    def __init__(self, n=None):
        self.n, self.count, self.seen = n, 0, []

    def __enter__(self):
        self.before = sys.gettrace()
        if self.n is None or self.count < self.n:
            sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def _call(self, frame, event, argument):
        return self._line if frame.f_code.co_filename.startswith(LIBRARY) else None

    def _line(self, frame, event, argument):
        if event != "line" or frame.f_code.co_name == "__del__":  # what is raised there is lost
            return self._line
        self.count += 1
        if self.n is None:
            self.seen.append(f"{frame.f_code.co_filename[len(LIBRARY) + 1 :]}:{frame.f_lineno}")
        elif self.count == self.n:
            sys.settrace(None)
            raise KeyboardInterrupt(f"line {frame.f_lineno} of {frame.f_code.co_filename}")
        return self._line


def places(seen, each):
    """At which of the lines seen to interrupt: ``each`` times at every line there is, spread over the run."""
    by_line = {}
    for number, line in enumerate(seen, 1):
        by_line.setdefault(line, []).append(number)
    chosen = {}
    for line, numbers in by_line.items():
        for i in range(each):
            chosen[numbers[(2 * i + 1) * len(numbers) // (2 * each)]] = line
    return sorted(chosen.items())


def drain(loader, lines, report, ids_of, catch=(KeyboardInterrupt,)):
    """A whole pass that goes on with the same iterator after what is raised; the batches' ids, and what was raised."""
    iterator, batches, raised = iter(loader), [], []
    while len(raised) < 20:
        try:
            with lines:
                batch = next(iterator)
        except StopIteration:
            break
        except catch as error:
            raised.append(error)
            continue
        batches.append(ids_of(batch))
        report(loader, batch)
    return batches, raised


def apart(batches, wanted):
    """How the rows that came differ from those wanted, in words; None where they do not."""
    came = Counter(i for batch in batches for i in batch)
    lost, twice = sorted(set(wanted) - set(came)), sorted(i for i, n in came.items() if n > 1)
    more = sorted(set(came) - set(wanted))
    parts = [("lost", lost), ("twice", twice), ("not wanted", more)]
    found = [f"{len(rows)} {name} ({', '.join(map(str, rows[:4]))}…)" for name, rows in parts if rows]
    return "; ".join(found) or None

"""Times of the calendar, once in all workers or nodes: `sprag run schedule:app --workers 2`."""

from sprag import App, Service, Singleton


class Schedule(Service):
    """A run that is due while the last one still goes is made up for, once."""

    def __init__(self, tidy, report):
        self.tidy = tidy
        self.report = report

    def on_start(self):
        self.cron("30 2 * * *", self.tidy, tz="Europe/Berlin")
        self.cron("0 8 * * MON", self.report, tz="Europe/Berlin", missed="skip")


def calendar(tidy, report):
    return App(name="calendar", providers={"schedule": Singleton(Schedule(tidy, report))})


app = calendar(lambda: print("tidied"), lambda: print("reported"))

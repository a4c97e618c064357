"""What the browser asks for."""

from sprag import Controller, HTTPError, redirect


class StartController(Controller):
    route = "/"

    def load(self):
        return redirect("/dashboard")


class DashboardController(Controller):
    route = "/dashboard"
    template = "dashboard.html"

    def load(self):
        metrics = self.service("metrics")
        return {
            "stats": metrics.current_stats(),
            "mails": self.service("email").sent,
            "orders": metrics.intake(),
        }


class OrderController(Controller):
    route = "/orders/<int:number>"  # no template: the default page shows the data

    def load(self, number):
        for order in self.service("metrics").current_stats()["latest"]:
            if order["number"] == number:
                return {"order": order}
        raise HTTPError(404, f"order {number} is not among the latest")

"""A shop's dashboard: a page of live numbers, served by the tree that makes them.

Run it from the folder above with ``sprag run app:app``, and open http://127.0.0.1:8000/dashboard.
"""

import os

from app.email import EmailService
from app.metrics import MetricsService
from app.orders import Orders
from sprag import App, shell

app_shell = shell(template="app/shell.html", css=["app.css"])

app = App(
    name="dashboard",
    routes="app.routes",
    shell=app_shell,
    providers={
        "metrics": MetricsService(),
        "email": EmailService(api_key=os.environ.get("EMAIL_KEY", "none")),
        "orders": Orders(pace=float(os.environ.get("ORDERS_PACE", "0.5"))),
    },
)

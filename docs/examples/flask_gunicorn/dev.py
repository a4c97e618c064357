"""Flask's own server for development: ``python dev.py``. It restarts itself when a file changes."""

# ruff: noqa: E402, I001 - patch before anything else is imported

from gevent import monkey

monkey.patch_all()  # Flask serves each request in a thread; now threads are greenlets

import os

from werkzeug.serving import is_running_from_reloader

from background import tree
from web import app

if __name__ == "__main__":
    # Debug mode runs this file twice: one process serves, the other only watches the files.
    if is_running_from_reloader():
        tree.start()
    app.run(debug=True, reloader_type="stat", port=int(os.environ.get("PORT", "5000")))

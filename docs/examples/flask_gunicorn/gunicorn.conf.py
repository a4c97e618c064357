"""Started with ``gunicorn web:app`` in this directory, gunicorn finds this file by itself."""

worker_class = "gevent"  # patches the standard library in each worker
workers = 2
graceful_timeout = 10  # for the requests in flight and for the tree, together


def post_worker_init(worker):
    """Start this worker's tree; what cannot start ends the worker, and gunicorn says why."""
    from background import tree

    from sprag import host

    tree.start()
    host.serve_control(tree)  # so `sprag tree` shows all workers
    worker.log.info("tree is up")


def worker_exit(_server, worker):
    """Stop it, in less than the graceful_timeout, after which gunicorn kills the worker."""
    from background import tree

    report = tree.stop(timeout=5)
    worker.log.info("tree is down: %r", report)

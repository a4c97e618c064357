"""The files of docs/deploy are what their systems accept, and what they say fits together."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from sprag._exit_codes import ExitCode
from sprag.process.deadman import OVERTIME
from sprag.workers.plan import MARGIN
from sprag_cli.commands.group import commands

DEPLOY: Final = Path(__file__).resolve().parent.parent / "docs" / "deploy"


def options_of(words: list[str]) -> dict[str, Any]:
    """Return what ``sprag`` takes of a command line."""
    assert Path(words[0]).name == "sprag"
    command = commands.commands[words[1]]
    options: dict[str, Any] = command.make_context(words[1], words[2:]).params
    return options


def unit(name: str) -> dict[str, str]:
    lines = (DEPLOY / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in ("shop.socket", "shop.service"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        there = text.replace(unit("shop.service")["ExecStart"].split()[0], sys.executable)
        (tmp_path / name).write_text(there, encoding="utf-8")
    names = [str(tmp_path / name) for name in ("shop.socket", "shop.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        check=False,
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "shop." in line]
    assert said == []


def test_the_service_gives_sprag_the_time_that_it_asks_for() -> None:
    service, socket = unit("shop.service"), unit("shop.socket")
    options = options_of(shlex.split(service["ExecStart"]))
    assert options["shutdown_timeout"] + 2 * MARGIN + OVERTIME < int(service["TimeoutStopSec"])
    assert service["Type"] == "notify"
    assert options["port"] is None  # it is the socket's
    assert socket["FileDescriptorName"] == "web"
    assert {ExitCode.GAVE_UP, ExitCode.NEVER_CAME_UP, ExitCode.NOT_CLEAN} == {1, 3, 4}


def test_kubernetes_accepts_the_manifests_and_their_parts_fit_together() -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="make check has it, in its .venv")
    yaml = import_module("yaml")
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
    for each in manifests:
        schemas.validate(each, "1.32", strict=True)
    named = {each["kind"]: each for each in manifests}
    pod = named["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    options = options_of(container["args"])
    ops = options["ops_port"][1]
    assert container["ports"] == [
        {"name": "http", "containerPort": options["port"]},
        {"name": "ops", "containerPort": ops},
    ]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ops)
    (port,) = named["Service"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    probes = [container[each] for each in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [each["httpGet"]["path"] for each in probes] == ["/healthz", "/readyz", "/healthz"]
    assert {each["httpGet"]["port"] for each in probes} == {"http"}
    needed = options["drain_delay"] + options["shutdown_timeout"] + OVERTIME
    assert needed < pod["spec"]["terminationGracePeriodSeconds"]
    labels = pod["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert named[kind]["spec"]["selector"]["matchLabels"] == labels
    assert named["Service"]["spec"]["selector"] == labels
    assert (
        named["PodDisruptionBudget"]["spec"]["minAvailable"]
        < named["Deployment"]["spec"]["replicas"]
    )


def test_nodes_of_a_cluster_keep_their_names_and_have_the_time_to_hand_over() -> None:
    yaml = pytest.importorskip("yaml", reason="make check has it, in its .venv")
    text = (DEPLOY / "cluster.yaml").read_text(encoding="utf-8")
    nodes, service, budget = yaml.safe_load_all(text)
    assert (nodes["kind"], nodes["spec"]["serviceName"]) == (
        "StatefulSet",
        service["metadata"]["name"],
    )
    pod = nodes["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    options = options_of(container["args"])
    needed = options["drain_delay"] + options["shutdown_timeout"] + OVERTIME
    assert needed < pod["spec"]["terminationGracePeriodSeconds"]
    assert container["ports"] == [{"name": "http", "containerPort": options["port"]}]
    assert budget["spec"]["maxUnavailable"] == 1
    for each in (nodes["spec"]["selector"], budget["spec"]["selector"]):
        assert each["matchLabels"] == pod["metadata"]["labels"] == service["spec"]["selector"]


def test_nomad_starts_nodes_by_the_same_command_line() -> None:
    text = (DEPLOY / "shop.nomad.hcl").read_text(encoding="utf-8")
    (args,) = re.findall(r"args *= (\[.*\])", text)
    options = options_of(json.loads(args.replace("${NOMAD_PORT_http}", "8000")))
    (kill,) = re.findall(r'kill_timeout = "(\d+)s"', text)
    assert options["shutdown_timeout"] + OVERTIME < int(kill)
    assert text.count("{") == text.count("}")


def test_kubernetes_accepts_the_nodes_of_a_cluster() -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="make check has it, in its .venv")
    text = (DEPLOY / "cluster.yaml").read_text(encoding="utf-8")
    for each in import_module("yaml").safe_load_all(text):
        schemas.validate(each, "1.32", strict=True)


def test_the_image_runs_sprag_as_process_1_and_ends_before_it_is_killed() -> None:
    text = re.sub(r"\\\n", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
    known = "FROM COPY RUN WORKDIR USER ENV EXPOSE STOPSIGNAL HEALTHCHECK CMD"
    assert {word for word, _ in lines} == set(known.split())
    said = {word: rest for word, rest in lines if word not in ("COPY", "RUN", "FROM")}
    options = options_of(json.loads(said["CMD"]))  # a list: no shell, which would keep the signals
    assert (options["host"], str(options["port"])) == ("0.0.0.0", said["EXPOSE"])
    assert options["shutdown_timeout"] + OVERTIME < 10.0  # docker stop
    asks = options_of(json.loads(said["HEALTHCHECK"].partition("CMD")[2]))
    assert asks["timeout"] < 3.0
    for name in re.findall(r"SPRAG_\w+", said["ENV"]):
        variables = {each.envvar for each in commands.commands["run"].params}
        assert name in {*variables, "SPRAG_RUNTIME_DIR"}


def test_compose_gives_the_app_its_time_and_prometheus_its_port() -> None:
    yaml = pytest.importorskip("yaml", reason="make check has it, in its .venv")
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    app = whole["services"]["shop"]
    options = options_of(app["command"])
    assert options["shutdown_timeout"] + OVERTIME < int(app["stop_grace_period"].rstrip("s"))
    assert app["ports"] == [f"{options['port']}:{options['port']}"]
    asks = options_of(app["healthcheck"]["test"][1:])
    assert asks["timeout"] < int(app["healthcheck"]["timeout"].rstrip("s"))
    (source,) = [each["source"] for each in whole["services"]["prometheus"]["configs"]]
    (job,) = yaml.safe_load(whole["configs"][source]["content"])["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"shop:{options['ops_port'][1]}"]}]

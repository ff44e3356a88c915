"""deploy/kubernetes: kustomize builds it, its objects fit Kubernetes' schemas, and the service accepts its settings."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from paths import ROOT
from service import BASE_ENVIRONMENT, BINARY

FOLDER = ROOT / "deploy/kubernetes"
# The oldest release with the `sleep` of web.yaml. Three newer ones are supported at any time.
VERSION = "1.30"

Object = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """Returns the objects that kustomize makes of the folder."""
    assert shutil.which("kubectl"), "kubectl is missing; on Debian: apt-get install kubernetes-client"
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def container(deployment: Object) -> Object:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def matches(selector: Object, labels: Object) -> bool:
    return selector.get("matchLabels", selector).items() <= labels.items()


def test_kubernetes_accepts_the_objects(objects: list[Object]) -> None:
    kinds = {item["kind"] for item in objects}
    assert kinds >= {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}
    for item in objects:
        # Kubernetes has no schema for it: it belongs to the Prometheus operator.
        if item["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(item, VERSION, strict=True)


def test_each_selector_selects_the_pods_it_means(objects: list[Object]) -> None:
    pods = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"] for item in of_kind(objects, "Deployment")}
    assert set(pods) == {"password-reset-web", "password-reset-worker"}
    both = set(pods)
    expected = {
        ("Service", "password-reset"): {"password-reset-web"},
        ("Service", "password-reset-metrics"): both,
        ("NetworkPolicy", "password-reset"): both,
    }
    for item in objects:
        name, spec = item["metadata"]["name"], item["spec"] if "spec" in item else {}
        selector = spec.get("podSelector") or spec.get("selector")
        if selector and item["kind"] != "ServiceMonitor":
            selected = {pod for pod, labels in pods.items() if matches(selector, labels)}
            assert selected == expected.get((item["kind"], name), {name}), f"{item['kind']} {name}"
    (monitor,) = of_kind(objects, "ServiceMonitor")
    monitored = [item for item in of_kind(objects, "Service") if matches(monitor["spec"]["selector"], item["metadata"].get("labels", {}))]
    assert [item["metadata"]["name"] for item in monitored] == ["password-reset-metrics"]
    job = monitored[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert set(re.findall(r'job="([^"]+)"', (ROOT / "deploy/prometheus/alerts.yaml").read_text())) == {job}


def test_each_port_is_one_that_the_service_listens_on(objects: list[Object]) -> None:
    for deployment in of_kind(objects, "Deployment"):
        ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
        assert ports.items() <= {"http": 8080, "metrics": 8081}.items()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container(deployment)[probe]["httpGet"]["port"] in ports
    for service in of_kind(objects, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {"http", "metrics"}


def test_the_pods_run_commands_that_exist(objects: list[Object]) -> None:
    for deployment in of_kind(objects, "Deployment"):
        done = subprocess.run([BINARY, *container(deployment)["args"], "--help"], env=BASE_ENVIRONMENT, capture_output=True, check=False)
        assert done.returncode == 0


def test_the_pods_have_time_to_end(objects: list[Object]) -> None:
    # The service ends within eight seconds of SIGTERM.
    for deployment in of_kind(objects, "Deployment"):
        wait = container(deployment).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= wait + 8


def test_the_service_accepts_the_settings(objects: list[Object], tmp_path: Path) -> None:
    (settings,) = of_kind(objects, "ConfigMap")
    for deployment in of_kind(objects, "Deployment"):
        assert container(deployment)["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    mounted = container(of_kind(objects, "Deployment")[0])["volumeMounts"][0]["mountPath"]
    for name in ("secret-key", "database-password", "smtp-password"):
        (tmp_path / name).write_text("correct-horse-battery-staple-71-of-these-tests-alone")
        (tmp_path / name).chmod(0o600)
    environment = {name: text.replace(mounted, str(tmp_path)) for name, text in settings["data"].items()}
    done = subprocess.run([BINARY, "config"], env=BASE_ENVIRONMENT | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The files in deploy/ fit the schemas of Kubernetes and BentoCloud, and this service."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from bentoml._internal.cloud.schemas.modelschemas import DeploymentStrategy
from bentoml._internal.cloud.schemas.schemasv2 import CreateDeploymentSchema
from bentoml._internal.utils.cattr import bentoml_cattr

from api.routes.overview import Overview
from core import metrics
from core.settings import ROOT, Settings
from runners import TABLE

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
# Variables that are read by others than Settings.
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BENTOML_HOME", "HF_HOME", "HOME"}
SERVICES = set(yaml.safe_load((ROOT / "configuration.yaml").read_text())["services"])


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def kind(name: str) -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in documents(path) if document["kind"] == name]


def is_setting(name: str) -> bool:
    return name in FOREIGN or name.lower() in Settings.model_fields


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_takes_the_manifests(path: Path) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_kustomize_lists_every_manifest_but_the_example() -> None:
    listed = documents(DEPLOY / "kubernetes" / "kustomization.yaml")[0]["resources"]
    assert set(listed) == {path.name for path in MANIFESTS} - {"secrets.example.yaml"}


def test_the_cluster_sets_what_there_is_to_set() -> None:
    (config,), (secret,) = kind("ConfigMap"), kind("Secret")
    assert all(map(is_setting, [*config["data"], *secret["stringData"]]))
    own = {name: value for name, value in config["data"].items() if name not in FOREIGN}
    read = Settings(
        **{name.lower(): json.loads(value) if name == "RUNNER_URLS" else value for name, value in own.items()}
    )
    services = {service["metadata"]["name"] for service in kind("Service")}
    for url in [*read.runner_urls.values(), read.training_url or ""]:
        assert re.fullmatch(r"http://([a-z-]+):3000", url)[1] in services  # type: ignore[index]
    assert set(read.runner_urls) == set(TABLE.enabled(read))


def test_pods_are_locked_down_and_watched() -> None:
    deployments = kind("Deployment")
    assert len(deployments) == 3
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["workingDir"] == "/home/bentoml/bento/src"  # where the image of a Bento has the code
        module = container["args"][2].partition(":")[0]
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_only_the_front_is_reached() -> None:
    (policy,), (ingress,) = kind("NetworkPolicy"), kind("Ingress")
    closed = policy["spec"]["podSelector"]["matchExpressions"][0]["values"]
    everything = {deployment["metadata"]["name"] for deployment in kind("Deployment")}
    assert everything - set(closed) == {"front"}
    (rule,) = ingress["spec"]["rules"]
    assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == {"front"}


@pytest.mark.parametrize("path", sorted((DEPLOY / "bentocloud").glob("*.yaml")), ids=lambda path: path.name)
def test_bentocloud_takes_the_files(path: Path) -> None:
    (document,) = documents(path)
    schema = bentoml_cattr.structure(document, CreateDeploymentSchema)
    assert bentoml_cattr.unstructure(schema)["services"].keys() <= SERVICES
    # BentoML's schema accepts unknown fields.
    for service in document["services"].values():
        assert service.keys() <= {"instance_type", "scaling", "deployment_strategy", "envs"}
        DeploymentStrategy(service.get("deployment_strategy", "RollingUpdate"))
    assert all(is_setting(entry["name"]) for entry in document["envs"])
    # Jobs outlive the requests that start them: a platform that scaled training to zero would end them.
    assert document["services"]["Training"]["scaling"]["min_replicas"] >= 1


def test_the_dashboard_asks_for_what_there_is() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "producer_twin.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"producer_twin_[a-z_]+", target["expr"])
    }
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    known = set(re.findall(r"producer_twin_[a-z_]+", Path(str(metrics.__file__)).read_text()))
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    source = Path(Overview.metrics.__code__.co_filename).read_text()
    assert asked <= known | set(re.findall(r"producer_twin_[a-z_]+", source))


UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "h": 3600}
PARSING = re.compile(r"\| (\d+) (.iB) \| (\d+) s \| (\d+) s \| (\d+)[^|]*\| (\d*) ?\| `([\w.]+)` \|")
LIMIT = re.compile(r"\| ([\d,]+)(?: (\w+))?[^|]*\| `([\w.]+)` \|")


def test_the_documented_limits_are_the_codes() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = LIMIT.findall(text[text.index("## Limits") : text.index("## Hostile files")])
    assert len(rows) >= 20
    for number, unit, where in rows:
        module, _, name = where.rpartition(".")
        real = getattr(import_module(module), name) if module else Settings.model_fields[name.lower()].default
        assert int(number.replace(",", "")) * UNITS.get(unit, 1) == real, where


def test_the_documented_limits_of_parsing_are_the_codes() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = PARSING.findall(text)
    assert len(rows) >= 7
    for memory, unit, cpu, seconds, at_once, each, where in rows:
        module, _, name = where.rpartition(".")
        found = getattr(import_module(module), name)
        limits = getattr(found, "limits", found)
        assert int(memory) * UNITS[unit] == limits.memory, where
        assert (int(cpu), int(seconds)) == (limits.cpu_seconds, limits.seconds), where
        if found is not limits:
            assert (int(at_once), int(each)) == (found.at_once, found.each), where

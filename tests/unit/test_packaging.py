# SPDX-License-Identifier: Apache-2.0
"""Packaging: metrics and settings that exist, alerts that have an entry in the runbook, versions that are fixed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from keeper.observe.health import HealthBoard
from keeper.observe.metrics import PREFIX, Metrics
from keeper.observe.watch import HealthCollector
from keeper.settings import CONVENTIONS, NOT_SETTINGS, _is_setting, load_settings
from tests.support.shared import ROOT

PACKAGING = ROOT / "packaging"
RULES = PACKAGING / "prometheus" / "alerts.yml"
DASHBOARD = PACKAGING / "grafana" / "dashboards" / "ballast-keeper.json"
METRIC = re.compile(rf"\b{PREFIX}_[a-z0-9_]+")
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?[a-z0-9.-]*")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = [item["query"]["query"] for item in board["templating"]["list"]]
    tested = [series["series"] for test in promtool_tests()["tests"] for series in test["input_series"]]
    return [*shown, *asked, *tested, *(rule["expr"] for rule in rules())]


def promtool_tests() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PACKAGING / "prometheus" / "alerts_test.yml").read_text())
    return found


def exported() -> dict[str, set[str]]:
    """Every sample name that the registry can give, with the labels of its family."""
    metrics = Metrics("1", 1)
    metrics.registry.register(HealthCollector(HealthBoard({}), lambda: 0.0))
    names: dict[str, set[str]] = {}
    for collector, given in metrics.registry._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ()))
        for name in given:
            names[name] = labels
    for family in HealthCollector(HealthBoard({"x": 1.0}), lambda: 0.0).collect():
        names[family.name] = {"check"} if "health_" in family.name else set()
    return names


def test_every_metric_named_exists() -> None:
    known = exported()
    named = {name for text in expressions() for name in METRIC.findall(text)}
    assert len(named) > 35
    assert named - known.keys() == set()


def test_labels_asked_for_exist() -> None:
    known = exported()
    for text in expressions():
        for name, body in re.findall(rf"({PREFIX}_[a-z0-9_]+)\{{([^}}]*)\}}", text):
            asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", body)) - {"instance", "job"}
            assert asked <= known[name], (name, asked)


def test_every_alert_says_how_bad_how_long_and_where_to_read_on() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in (ROOT / "docs" / "runbook.md").read_text().splitlines()
        if line.startswith("#")
    }
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 20
    for rule in rules():
        assert re.fullmatch(r"\d+[smh]", rule["for"]), rule
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert file == "docs/runbook.md" and anchor == rule["alert"].lower()
        assert anchor in headings, f"docs/runbook.md has no entry {rule['alert']}"


def test_every_alert_of_the_keeper_has_an_entry_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    names: set[str] = set()
    for path in sorted((ROOT / "keeper").rglob("*.py")):
        text = path.read_text()
        names |= set(re.findall(r"""\.fire\(\s*"([a-z_]+)\"""", text))
        names |= set(re.findall(r"""Note\(\s*"([a-z_]+)",[^\n]*True""", text))
    assert len(names) >= 8
    assert [name for name in sorted(names) if f"**{name}**" not in runbook] == []


def test_the_rules_pass_promtool() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool: Debian's package prometheus has it")
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("alerts_test.yml"))]):
        ran = subprocess.run([tool, *command], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_panels_have_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yml").read_text())
    return found


def variables() -> dict[str, set[str]]:
    """Names of environment variables of the keeper, by the file that sets them."""
    services = compose()["services"]
    env = (PACKAGING / "keeper.env.example").read_text()
    unit = (PACKAGING / "ballast-keeper.service").read_text()
    container = (PACKAGING / "Containerfile").read_text()
    runtime = container.partition("COPY --from=build")[2]
    return {
        "compose.yml": {name for service in ("keeper", "deploy") for name in services[service]["environment"]},
        "keeper.env.example": set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", env, re.MULTILINE)),
        "ballast-keeper.service": set(re.findall(r"^Environment=([A-Z0-9_]+)=", unit, re.MULTILINE)),
        "Containerfile": set(re.findall(r"\b([A-Z][A-Z_]+)=", runtime)) - {"PATH", "CMD"},
    }


@pytest.mark.parametrize(
    "file", sorted(["compose.yml", "keeper.env.example", "ballast-keeper.service", "Containerfile"])
)
def test_every_variable_named_is_a_setting(file: str) -> None:
    named = variables()[file] - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert len(named) >= 2
    assert [n for n in sorted(named) if not (_is_setting(n) or _is_setting(n.removesuffix("_FILE")))] == []


def test_a_wrong_variable_would_be_seen() -> None:
    assert not _is_setting("BALLAST_ALERT__URLS")
    assert _is_setting("BALLAST_ALERTS__URLS") and _is_setting("RPC_URL_1")
    assert not set(CONVENTIONS) & NOT_SETTINGS


def test_the_settings_file_of_the_containers_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose()["services"]["keeper"]["environment"].items():
        if not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    settings = load_settings(PACKAGING / "ballast.toml")
    assert settings.expected_chain_id == 31337 and not settings.execute and settings.metrics_host == ".".join("0000")


def test_every_image_has_a_fixed_version() -> None:
    images = [service["image"] for service in compose()["services"].values()]
    images += re.findall(r"^FROM (\S+)", (PACKAGING / "Containerfile").read_text(), re.MULTILINE)
    assert len(images) >= 8
    for image in images:
        assert PINNED.fullmatch(image) and "latest" not in image, image


def test_ports_are_for_this_machine_only_and_secrets_are_files() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)
        for key, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|PRIVATE_KEY|RPC_URL|DATABASE_URL|TOKEN|WEBHOOK", key)
            assert secret is None or str(value).startswith("/run/secrets/"), key
    for secret in compose()["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "packaging/secrets/private_key"], cwd=ROOT, check=False
    ).returncode
    assert ignored == 0


def test_the_container_runs_without_rights_and_is_watched() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    assert text.count("\nFROM ") == 2 and "\nUSER 10001:10001\n" in text and "HEALTHCHECK" in text
    assert text.count("--require-hashes") == 2
    assert not re.search(r"(KEY|PASSWORD|SECRET|TOKEN)\s*=", text)


def test_what_the_container_copies_exists() -> None:
    ignore = (PACKAGING / "Containerfile.dockerignore").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (PACKAGING / "Containerfile").read_text(), re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}\n" in ignore or source.startswith("packaging/"), source


def test_the_unit_is_hardened_and_does_not_restart_after_a_halt() -> None:
    unit = (PACKAGING / "ballast-keeper.service").read_text()
    wanted = ("DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=\n")
    for line in (*wanted, "Restart=on-failure", "RestartPreventExitStatus=2 3", "LoadCredential=private_key:"):
        assert line in unit
    assert "Watchdog" not in unit  # the keeper does not feed one


def test_the_unit_passes_systemd(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze: Debian's package systemd has it")
    unit = (PACKAGING / "ballast-keeper.service").read_text().replace("/opt/ballast/bin/ballast", sys.executable)
    path = tmp_path / "ballast-keeper.service"
    path.write_text(unit)
    ran = subprocess.run([tool, "verify", str(path)], capture_output=True, text=True, check=False)
    ours = [line for line in ran.stderr.splitlines() if "ballast-keeper" in line]
    assert ours == []
    shown = subprocess.run(
        [tool, "security", "--offline=true", "--threshold=20", str(path)], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stdout[-300:]


def test_the_locks_are_the_part_of_requirements_that_the_keeper_needs() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "runtime_lock.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    names = set(re.findall(r"^([a-z0-9-]+)==", (PACKAGING / "runtime.lock").read_text(), re.MULTILINE))
    assert {"web3", "psycopg", "uvicorn", "apprise"} <= names
    assert not {"pytest", "vyper", "titanoboa", "ruff"} & names

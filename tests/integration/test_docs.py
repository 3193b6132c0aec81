# SPDX-License-Identifier: Apache-2.0
"""What the documents show, held against the program: their configuration is taken, their commands and options exist."""

import pathlib
import re
import shlex

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TOP = {"version", "log", "stores", "brokers", "relays", "consumers", "admin", "alerts"}
PASSED_OVER = {"scrape_configs"}  # Prometheus' own
ENVIRONMENT = {name: "x" for name in ("SHOP_URL", "TOKEN", "ALERT_SECRET", "PAGERDUTY_KEY")} | {"SHOP_URL": "sqlite:shop.db"}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def whole(shown):
    """A part of a configuration, put where it belongs in a whole one."""
    config = {
        "version": 1,
        "stores": {"shop": "postgres://localhost/shop", "pay": "postgres://localhost/pay"},
        "brokers": {"bus": "kafka://localhost:9092"},
        "relays": [{"name": "orders", "from": {"store": "shop"}, "to": {"broker": "bus"}}],
        "consumers": [{"name": "billing", "from": {"broker": "bus", "topics": ["outbox.event.order"]}, "inbox": {"store": "pay"},
                       "handler": {"sql": "insert into paid (order_id) values (${!key})"}}],
    }
    if "version" in shown:
        return shown
    if "to" in shown:
        config["relays"][0] |= shown
    elif set(shown) <= TOP:
        config |= shown
    else:
        config["consumers"][0] |= shown
    return config


CONFIGS = [pytest.param(text, id=f"{page.stem}-{n}") for page in PAGES for n, text in enumerate(blocks(page, "yaml"))
           if not PASSED_OVER & set(yaml.safe_load(text))]


@pytest.mark.parametrize("text", CONFIGS)
def test_configuration(run, tmp_path, text):
    for secret in re.findall(r"\$\{file:[^}]*/([^}/]*)\}", text):
        (tmp_path / secret).write_text(f"0123456789abcdef-{secret}\n")
    text = re.sub(r"\$\{file:[^}]*/", f"${{file:{tmp_path}/", text)
    config = tmp_path / "onewrite.yaml"
    config.write_text(yaml.safe_dump(whole(yaml.safe_load(text)), sort_keys=False))
    run("validate", config, env=ENVIRONMENT)


def commands(page):
    """Every call of the program, in a block or in backticks, without what the shell makes of it."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from re.findall(r"^(onewrite [a-z].*)$", block, re.MULTILINE)
    yield from re.findall(r"`(onewrite [a-z][^`]*)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def test_commands(run):
    known = set(re.findall(r"^  ([a-z-]+) ", run("--help").stdout, re.MULTILINE))
    helps, wrong, count = {}, [], 0
    for page in PAGES:
        for line in commands(page):
            count += 1
            words = shlex.split(re.split(r"\s(?:#|[|&>]|--\s)", line)[0].replace("…", ""), posix=False)[1:]
            command = words[0]
            if command not in known:
                wrong.append(f"{page.name}: {line}: no command {command}")
                continue
            text = helps.setdefault(command, run(command, "--help").stdout)
            verbs = words[1].split("|") if command == "dlq" and len(words) > 1 and words[1][0] != "-" else []
            asked = [*verbs, *(word.split("=")[0] for word in words if word.startswith("-"))]
            wrong += [f"{page.name}: {line}: {word} is not in the help of {command}" for word in asked
                      if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]
    assert wrong == [] and count > 60

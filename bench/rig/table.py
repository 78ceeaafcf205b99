"""From a run's JSON to the tables of the README. Nothing here measures, and nothing is shown that was not measured."""

import json
import re
from statistics import median

from . import paths

MIB = 1024 * 1024
BEGIN, END = "<!-- {} begin: written by bench.py, not by hand -->", "<!-- {} end -->"


def seconds(value: float) -> str:
    """A time as people read it: three digits or so."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mebibytes(value: float) -> str:
    """Bytes in MiB."""
    return f"{value / MIB:.1f}" if value < 10 * MIB else f"{value / MIB:.0f}"


def middle(entry: dict, key: str) -> float:
    """The median of a figure over the runs."""
    return median(run[key] for run in entry["runs"])


def good(row: dict) -> dict:
    """The entries of a row that have a figure, by tool."""
    return {entry["tool"]: entry for entry in row.get("entries", []) if entry["runs"] and not entry["failed"]}


def best_peer(row: dict):
    """The fastest entry that is not Seaway's."""
    peers = [entry for tool, entry in good(row).items() if not tool.startswith("seaway")]
    return min(peers, key=lambda entry: middle(entry, "seconds"), default=None)


def judge(row: dict, rows: dict):
    """The ratio as it is shown, and the verdict: met, missed (but faster than the best peer), lost, failed."""
    target, own, best = row["target"], good(row).get("seaway"), best_peer(row)
    if own is None:
        return "", "failed"
    if best is None:
        return "", "no peer"
    time = middle(own, "seconds")
    ratio = time / middle(best, "seconds")
    shown = f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"
    reached, tie = ratio <= target.get("ratio", 0), True
    if target["kind"] == "row":
        other = good(rows.get(target["row"], {})).get(target["tool"])
        if other is None:
            return shown, "no peer"
        against = time / middle(other, "seconds")
        shown += f" ({against:.3f} × {target['tool']} in {target['row']})"
        reached, tie = against <= target["ratio"], ratio <= 1
    elif target["kind"] == "requests":
        fewest = min(middle(entry, "requests") for tool, entry in good(row).items() if not tool.startswith("seaway"))
        each = middle(own, "blob_requests") / target["blobs"]
        shown += f"; {each:.2f} requests a blob"
        reached, tie = each <= target["per_blob"] and middle(own, "requests") <= fewest, ratio <= 1
    elif target["kind"] == "line":
        line = time / (middle(own, "compressed") * 8 / target["bits"])
        shown += f"; {line:.2f} × line time"
        reached = line <= target["ratio"]
    verdict = "met" if reached and tie else "missed" if ratio < 1 else "lost"
    return shown, verdict


def pair(row: dict, show, *keys: str) -> str:
    """A figure of Seaway and of the best peer."""
    own, best = good(row).get("seaway"), best_peer(row)

    def text(entry):
        return show(sum(middle(entry, key) for key in keys)) if entry else "–"

    return f"{text(own)} / {text(best)}"


def clean(text: str, most: int = 160) -> str:
    """Something a tool said, fit for a cell."""
    text = re.sub(r'time="[^"]*" level=\w+ msg=|\x1b\[[0-9;]*m|^\w+: (?=exit code)', "", text)
    text = " ".join(text.replace("|", "/").replace("`", "'").split())
    return text if len(text) <= most else text[: most - 1] + "…"


def push_line(row: dict, rows: dict) -> str:
    """The line of a row."""
    if row["target"]["kind"] == "faults":
        return fault_line(row)
    if row["target"]["kind"] == "memory":
        return memory_line(row, rows)
    ratio, verdict = judge(row, rows)
    own = next((entry for entry in row.get("entries", []) if entry["tool"] == "seaway"), None)
    failed = row.get("failed") or (own and own["failed"])
    mine = seconds(middle(own, "seconds")) if own and own["runs"] and not failed else f"failed: {clean(failed or 'not run')}"
    for tool, entry in good(row).items():
        if tool.startswith("seaway "):
            mine += f" ({tool.removeprefix('seaway ')} {seconds(middle(entry, 'seconds'))})"
    others = []
    for entry in sorted(row.get("entries", []), key=lambda entry: entry["runs"] and middle(entry, "seconds") or 1e9):
        if not entry["tool"].startswith("seaway"):
            time = "failed" if entry["failed"] or not entry["runs"] else seconds(middle(entry, "seconds"))
            others.append(f"{entry['tool']} {time}")
    cells = [row["id"], row["title"], mine, ", ".join(others), ratio, row["target"]["text"], verdict,
             pair(row, mebibytes, "compressed"), pair(row, lambda value: f"{value:.2f}", "cpu"),
             pair(row, lambda value: f"{value:.0f}", "requests"), pair(row, mebibytes, "client_memory", "daemon_memory")]
    return "| " + " | ".join(cells) + " |"


def fault_line(row: dict) -> str:
    """The line of the pushes through faults."""
    counts = {}
    for attempt in row.get("attempts", []):
        done, all_ = counts.get(attempt["tool"], (0, 0))
        counts[attempt["tool"]] = (done + attempt["finished"], all_ + 1)
    mine = counts.pop("seaway", None)
    if mine is None:
        return f"| {row['id']} | {row['title']} | failed: {clean(row.get('failed', 'not run'))} |  |  | {row['target']['text']} | failed |  |  |  |  |"
    cut = [a for a in row["attempts"] if a["tool"] == "seaway" and a["fault"] == "cut" and a["finished"]]
    again = max((a["uploaded"] - a["compressed"] for a in cut), default=0)
    others = ", ".join(f"{tool} {done} of {all_}" for tool, (done, all_) in counts.items())
    most = max(done for done, _ in counts.values())
    met = mine[0] == mine[1] and again <= row["target"]["again"]
    verdict = "met" if met else "lost" if mine[0] < most else "missed"
    cells = [row["id"], row["title"], f"{mine[0]} of {mine[1]} finish", others, f"{mebibytes(max(0, again))} MiB sent again after the cut",
             row["target"]["text"], verdict, "", "", "", ""]
    return "| " + " | ".join(cells) + " |"


def memory_line(row: dict, rows: dict) -> str:
    """The line of peak memory and of bytes on disk, which were measured in S1."""
    entries = good(rows.get("S1", {}))
    own = entries.pop("seaway", None)
    if own is None:
        return f"| {row['id']} | {row['title']} | failed: see S1 |  |  | {row['target']['text']} | failed |  |  |  |  |"

    def most(entry: dict, key: str) -> float:
        return max(run[key] for run in entry["runs"])

    def text(entry: dict) -> str:
        return f"{mebibytes(most(entry, 'client_memory'))} and {mebibytes(most(entry, 'client_written'))}"

    others = ", ".join(f"{tool} {text(entry)}" for tool, entry in entries.items() if not tool.startswith("seaway "))
    met = most(own, "client_memory") <= row["target"]["memory"] and most(own, "client_written") <= row["target"]["written"]
    cells = [row["id"], row["title"], text(own), others, "", row["target"]["text"], "met" if met else "missed", "", "", "", ""]
    return "| " + " | ".join(cells) + " |"


HEAD = """| row | what | Seaway, s | peers, s | ratio to the best | to reach | verdict | compressed MiB¹ | CPU s¹ | requests¹ | memory MiB¹ |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def about(state: dict) -> str:
    """The machine, the binary and the peers."""
    machine, seaway = state["machine"], state["seaway"]
    versions = ", ".join(f"{name} {version}" for name, version in state["versions"].items())
    return "\n".join((
        f"Machine: {machine['cores']} cores, {machine['processor']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}; {state['at']}.",
        f"Seaway: {seaway['version']}, {seaway['kind']} build of {seaway['bytes'] / 1e6:.1f} MB, SHA-256 {seaway['sha256'][:12]}.",
        f"Peers: {versions}. Medians of {state['runs']} interleaved runs" + (", quick rows of more." if state["runs"] > 1 else "."),
    ))


def push_table(state: dict) -> str:
    """What stands in the README of the push rows."""
    rows = state["rows"]
    lines = [about(state), "", HEAD, *(push_line(row, rows) for row in rows.values()), ""]
    lines += ["¹ Seaway / best peer. Processor and memory are those of the client and of the daemon that works for it together.", ""]
    lines += ["Every tool of every row:", "", *details(rows)]
    return "\n".join(lines)


def details(rows: dict) -> list:
    """All figures of all tools."""
    lines = ["| row, tool | s | least – most | runs | compressed MiB | on the wire MiB | CPU s | requests | for blobs | memory MiB, client + daemon | to disk MiB, client + daemon |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows.values():
        for entry in row.get("entries", []):
            name = f"{row['id']} {entry['tool']}"
            if entry["failed"] or not entry["runs"]:
                lines.append(f"| {name} | failed: {clean(entry['failed'] or 'not run')} |  |  |  |  |  |  |  |  |  |")
                continue
            times = [run["seconds"] for run in entry["runs"]]
            cells = [
                name, seconds(middle(entry, "seconds")), f"{seconds(min(times))} – {seconds(max(times))}", str(len(times)),
                mebibytes(middle(entry, "compressed")), mebibytes(middle(entry, "wire")), f"{middle(entry, 'cpu'):.2f}",
                f"{middle(entry, 'requests'):.0f}", f"{middle(entry, 'blob_requests'):.0f}",
                f"{mebibytes(middle(entry, 'client_memory'))} + {mebibytes(middle(entry, 'daemon_memory'))}",
                f"{mebibytes(middle(entry, 'client_written'))} + {mebibytes(middle(entry, 'daemon_written'))}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    faults = [attempt for row in rows.values() for attempt in row.get("attempts", [])]
    if faults:
        lines += ["", *fault_details(faults)]
    return lines


def fault_details(attempts: list) -> list:
    """Who got through which fault."""
    tools = list(dict.fromkeys(attempt["tool"] for attempt in attempts))
    lines = ["| fault | " + " | ".join(tools) + " |", "| --- |" + " --- |" * len(tools)]
    for fault in dict.fromkeys(attempt["fault"] for attempt in attempts):
        cells = []
        for tool in tools:
            found = next((a for a in attempts if a["tool"] == tool and a["fault"] == fault), None)
            if found is None:
                cells.append("")
            elif not found["finished"]:
                cells.append(f"fails: {clean(found['failure'], 90)}")
            else:
                again = max(0, found["uploaded"] - found["compressed"])
                cells.append(f"{seconds(found['seconds'])} s, {mebibytes(again)} MiB again")
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    return lines


def write(name: str, text: str):
    """Puts a table between its marks in the README."""
    begin, end = BEGIN.format(name), END.format(name)
    readme = paths.README.read_text()
    if begin not in readme or end not in readme:
        raise SystemExit(f"bench: {paths.README} has no marks for the table {name}")
    head, rest = readme.split(begin, 1)
    tail = rest.split(end, 1)[1]
    paths.README.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}")


def write_all():
    """Rewrites every table whose JSON is there."""
    for name, make in TABLES.items():
        path = paths.RESULTS / f"{name}.json"
        if path.exists():
            write(name, make(json.loads(path.read_text())))


def deploy_table(state: dict) -> str:
    """What stands in the README of the other rows."""
    lines = [about(state), "", "| row | what | Seaway, ms | by hand, ms | ratio | to reach | verdict |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in state["rows"].values():
        own = median(row["seaway"]) * 1000
        other = median(row["by_hand"]) * 1000 if row["by_hand"] else None
        ratio = own / other if other else None
        limit, most = row["target"].get("milliseconds"), row["target"].get("ratio")
        met = (limit is None or own <= limit) and (most is None or ratio is not None and ratio <= most)
        verdict = "met" if met else "lost" if ratio and ratio > 1 else "missed"
        cells = [row["id"], row["title"], f"{own:.1f}", f"{other:.1f}" if other else "", f"{ratio:.2f}" if ratio else "",
                 row["target"]["text"], verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES = {"push": push_table, "deploy": deploy_table}

#!/usr/bin/env bash
# Standard input: the comments of a pull request, as GitHub's API gives them. Standard output: Seaway's, as a reader sees
# it: without the lines that nobody sees, with the folded parts named.
set -euo pipefail

command -v python3 >/dev/null || { cat; exit 0; }
python3 -c '
import json, re, sys
for comment in json.load(sys.stdin):
    body = comment["body"]
    if "<!-- seaway:" in body:
        body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.S)
        body = re.sub(r"<details>\s*<summary>(.*?)</summary>.*?</details>", r"> \1 (folded)", body, flags=re.S)
        print("  " + comment["user"]["login"] + " commented")
        print("\n".join("  | " + line for line in body.strip().splitlines()))
'

"""Train once without each song, and evaluate on the song left out: python -m training.leave_one_out ...

Every fold starts from the same pretrained weights, which used no real song, and is evaluated on a song that neither
phase used. If it is stopped at any moment, the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from training.config import read_config
from training.evaluate import METHODS, by_model, evaluate, table
from training.songs import open_songs
from training.weights import load_weights


def main() -> None:
    """Command line: prints a Markdown table and keeps the figures in OUT/report.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="for decoded songs")
    parser.add_argument("--rendered", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="weights of the phase pretrain")
    parser.add_argument("--out", type=Path, required=True, help="a folder for each fold, and report.json")
    parser.add_argument("--peers", action="store_true", help="the methods without training as well")
    args = parser.parse_args()
    config = read_config(args.config)
    torch.set_num_threads(config.train.threads)
    songs = open_songs(args.music, args.cache, config.data)
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "report.json"
    report: dict[str, dict[str, dict[str, float]]] = (
        json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    )
    for song in songs:
        if song.name in report:
            continue
        fold = args.out / song.name
        options = ["config", "music", "cache", "rendered", "validation", "start"]
        given = [text for name in options for text in (f"--{name}", str(getattr(args, name)))]
        train = [sys.executable, "-m", "training.train", "--phase", "finetune", "--leave-out", song.name]
        subprocess.run([*train, "--out", str(fold), *given], check=True)
        model = load_weights(config, fold / "best.pt", args.start)
        methods = {**(METHODS if args.peers else {}), "model": by_model(model)}
        report[song.name] = {name: evaluate(song, method) for name, method in methods.items()}
        kept.write_text(json.dumps(report, indent=2), encoding="utf-8")
        print(song.name, report[song.name], flush=True)
    print(table(report))


if __name__ == "__main__":
    main()

"""How long the analysis of a long text takes: each of its lines is read once more without each of its words.

Prints seconds of the clock, and of the processor, which other programs on the machine do not add to; loading the model is not among them.

    python benchmarks/long_text.py [--bytes 45000] [--words-a-line 18] [--checkpoint RUN] [--threads 1]
"""

import argparse
import os
import time
from itertools import cycle, islice

SENTENCE = "the film was really so good and I loved every minute of it but the end was rather boring"


def long_text(num_bytes: int, words_a_line: int) -> str:
    """Lines of so many words, none of them like another, as long together as asked."""
    lines: list[str] = []
    size, words = 0, cycle(SENTENCE.split())
    while size < num_bytes:
        lines.append(" ".join([str(len(lines)), *islice(words, words_a_line - 1)]) + "\n")
        size += len(lines[-1])
    return "".join(lines)[:num_bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=45_000)
    parser.add_argument("--words-a-line", type=int, default=18)
    parser.add_argument("--checkpoint", help="by default the one that comes with multigrain")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    import torch

    from multigrain.analysis.analyze import analyze_text

    torch.set_num_threads(options.threads)
    analyze_text("It was so good.", checkpoint=options.checkpoint)
    text = long_text(options.bytes, options.words_a_line)
    clock, processor = time.perf_counter(), time.process_time()
    analysis = analyze_text(text, checkpoint=options.checkpoint)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    words = [word for utterance in analysis.utterances for word in utterance.words]
    weighed = sum(word.contribution is not None for word in words)
    print(
        f"{len(text):,} bytes, {len(analysis.utterances)} utterances, {weighed:,} of {len(words):,} words weighed, {options.threads} thread(s): "
        f"{clock:.1f} s of the clock, {processor:.1f} s of the processor"
    )


if __name__ == "__main__":
    main()

"""Wrong command lines by kind: what is wrong, and for which commands. `lines()` makes the product of the table."""

import itertools

LONG = "x" * 300
MEASURING = ("gradflow", "spectrum", "forecast", "shapes")
DIAGNOSING = ("gradflow", "spectrum")
# Small enough that whatever is accepted by mistake ends at once.
SMALL = {
    "gradflow": "--hidden 4 --input 3 --batch 2 --length 5 --lengths 3,5 --no-plots",
    "spectrum": "--hidden 4 --input 3 --batch 2 --length 11 --lags 1,5 --no-plots",
    "forecast": "--iterations 3 --length 12 --warm-up 3 --no-plots",
    "shapes": "--hidden 4 --input 3",
    "plots": "",
    "compare": "",
}
NO_SIZE = ("0", "-1", "1.5", "many", "", "1e3", "9" * 30, "nan", "3,4.5")
NO_NUMBER = ("", "much", "1,2", "--")
# Option: commands that have it, and values that it must refuse.
VALUES = {
    "--hidden": (MEASURING, NO_SIZE),
    "--layers": (MEASURING, NO_SIZE),
    "--batch": (MEASURING, NO_SIZE),
    "--length": (MEASURING, NO_SIZE),
    "--input": (("gradflow", "spectrum", "shapes"), NO_SIZE),
    "--threads": (MEASURING, NO_SIZE),
    "--iterations": (("forecast",), NO_SIZE),
    "--seeds": (("forecast",), NO_SIZE),
    "--k": (("spectrum",), NO_SIZE),
    "--proj-size": (("shapes",), NO_SIZE[1:]),
    "--most": (("compare",), NO_SIZE),
    "--fail": (("compare",), ("", "slower", "slower:", "slower:5", "slower:-5%", "slower:nan%", "quicker:5%", "5%", LONG)),
    "--allow": (("compare",), ("", "colour", "torch,", "torch;os")),
    "--format": (("compare",), ("", "html")),
    "--width": (("plots",), (*NO_SIZE, "59")),
    "--seed": (MEASURING, ("-1", "2147483648", "1.5", "x", "")),
    "--timeout": (MEASURING, ("0", "-1", "nan", "inf", "soon", "")),
    "--cell": (MEASURING, ("rnn", "LSTM", "", "gru,", "lstm,rnn", ":", "m:", ":C", "nowhere_at_all:Cell", LONG)),
    "--init": (("gradflow", "spectrum", "forecast"), ("none", "", "normal", "normal:0", "normal:x", "chrono:1", LONG)),
    "--gain": (("gradflow", "spectrum", "forecast"), (*NO_NUMBER, "0", "-1", "nan", "inf", "1e999")),
    "--forget-bias": (("gradflow", "spectrum", "forecast"), (*NO_NUMBER, "nan", "inf")),
    "--clip": (("gradflow", "forecast"), ("", "norm", "norm:", "norm:0", "norm:-1", "norm:nan", "norms:1", "auto:101")),
    "--dtype": (MEASURING, ("float", "int64", "float128", "")),
    "--device": (MEASURING, ("gpu", "cuda:99", "cuda:x", "cpu:1", "", "meta")),
    "--loss": (("gradflow",), ("first", "")),
    "--lengths": (("gradflow",), ("", "1,5", "5,3", "5,5", "0", "-2,3", "a,b", "5;7", "9" * 30)),
    "--lags": (("spectrum",), ("", "0", "-1", "5,1", "a", "1,1", "400")),
    "--gains": (("spectrum",), ("", "1", "0,1", "2,1", "-1,1", "a", "nan,1", "1,inf")),
    "--drive": (("spectrum",), ("one", "")),
    "--qr-every": (("spectrum",), ("0", "-1", "never", "")),
    "--warm-up": (("spectrum", "forecast"), ("-1", "x", "", "1.5", "400")),
    "--signal": (("forecast",), ("cosine", "", "csv:", "csv:a.csv", "csv:none.csv:x", "csv:.:x", "recall:1", "recall:x",
                                 "recall:", f"csv:{LONG}:x")),
    "--preset": (("forecast",), ("best", "")),
    "--optimizer": (("forecast",), ("adamw", "")),
    "--lr": (("forecast",), (*NO_NUMBER, "0", "-1", "nan", "inf")),
    "--init-std": (("forecast",), (*NO_NUMBER, "0", "-1", "nan", "inf")),
    "--model": (DIAGNOSING, ("", "m", ":", "m:", ":f", "nowhere_at_all:f", "os:sep", "os:nothing", "math:pi",
                             "their:exits", "their_exit:f", "their:raises", "their:gives_none", "their:no_recurrence",
                             "their_error:f", "their:raises_beyond", LONG, "their:leaves_forward")),
    "--checkpoint": (DIAGNOSING, ("none.pt", ".", "text.pt", "empty.pt", "other.pt", LONG, "/dev/null")),
}  # fmt: skip
# The whole line, by command.
LINES = {
    "gradflow": ("--clop", "--hidden", "stray", "--cell gru --forget-bias 1", "--cell rnn_tanh --init chrono:9",
                 "--model their:make --hidden 3", "--model their:make --cell lstm", "--length 1",
                 "--model their:with_input --batch 3", "--model their:with_input --lengths 3,400",
                 "--cell gru,lstm --checkpoint state.pt"),
    "spectrum": ("--clop", "--k", "stray", "--cell gru --forget-bias 1", "--model their:make --gains 1,2", "--length 1",
                 "--model their:make --layers 2", "--cell gru,lstm --gains 1,2"),
    "forecast": ("--clop", "--lr", "stray", "--init-std 1 --gain 2", "--signal csv:text.csv:y", "--signal csv:bad.csv:x",
                 "--signal csv:short.csv:x", "--signal csv:flat.csv:x", "--checkpoint text.pt", "--checkpoint other.pt",
                 f"--checkpoint {LONG}", "--checkpoint .", "--checkpoint no/where.pt", "--checkpoint /dev/null",
                 "--length 2", "--cell gru --forget-bias 1"),
    "shapes": ("--clop", "stray", "--unbatched --batch 3", "--unbatched --batch-first", "--cell gru --proj-size 2",
               "--cell lstm --proj-size 4", "--cell gru,lstm", "--hidden 3+4 --layers 3", "--hidden 3+", "--hidden 3,,4"),
    "plots": ("--clop", "none", "text.csv", ". ", "empty", "other.pt", "list.json", "deep.json", "else.json",
              "newer.json", "--svg", "--svg=", "--out=", "bench.json --svg=.", f"{LONG}", "none --no-plots", "bench.json --cell lstm"),
    "compare": ("--clop", "", "none", "none none", "text.csv list.json", "deep.json deep.json", "else.json else.json",
                "empty empty", "a b c", "none none --strict"),
}  # fmt: skip
OUT = ("", "text.csv", "text.csv/in", "/dev/null", "/proc/none", f"{LONG}")


def lines():
    """(command, arguments) of every wrong line."""
    for option, (commands, values) in VALUES.items():
        for command, value in itertools.product(commands, values):
            yield command, [*SMALL[command].split(), *needed(command), f"{option}={value}"]
    for command, texts in LINES.items():
        for text in texts:
            yield command, [*(SMALL[command].split() if "their" not in text else []), *text.split()]
    for command, out in itertools.product(MEASURING, OUT):
        yield command, [*SMALL[command].split(), f"--out={out}"]


def needed(command):
    """What a line needs to be right but for what is wrong with it."""
    return {"compare": ["none", "none"], "plots": ["none"]}.get(command, [])

"""The options that measure a record again, worked out from what it says of itself, each with its value."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unrolled.networks.options import PLAIN

if TYPE_CHECKING:
    from unrolled.advising.study import Advice
    from unrolled.forecast.study import Study as Trainings
    from unrolled.gradients.study import Study as Flows
    from unrolled.learning.study import Learning
    from unrolled.networks.record import NetworkRecord
    from unrolled.networks.workload import Workload
    from unrolled.over_time.record import Parallel
    from unrolled.shapes.record import Shapes
    from unrolled.spectrum.study import SpectrumStudy
    from unrolled.speed.run import Run
    from unrolled.speed.why.record import Why
    from unrolled.sweep.record import Sweep

Options = list[tuple[str, str]]  # of a command, in order; an option without a value has an empty one
PROGRAM = "unrolled"
# What all variants of a training have in common, by the option of `forecast` that says it.
COMMON = {
    "--signal": "signal", "--length": "length", "--warm-up": "warm_up", "--hidden": "hidden_size",
    "--layers": "num_layers", "--batch": "batch_size", "--optimizer": "optimizer", "--lr": "lr",
    "--iterations": "iterations", "--device": "device",
}  # fmt: skip
# What `bench` calls the options of torch's modules.
OF_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in PLAIN}


def command_of(record: Any) -> str:
    """What to type to measure it again; nothing where the record does not say enough, as of a model by its class."""
    options = options_of(record)
    if options is None:
        return ""
    words = [word for option in options for word in option if word]
    return shlex.join([PROGRAM, _name(record), *words])


def options_of(record: Any) -> Options | None:
    """The options of that command, every setting of the record among them; None where some are not known."""
    return OPTIONS[_name(record)](record)


def _name(record: Any) -> str:
    name: str = record.FORMAT.removeprefix("unrolled.")
    return name


def _bench(run: Run) -> Options:
    """The grid where it is one by name, else each axis with the values that occur."""
    from unrolled.speed.grid import GRIDS, workloads

    results = run.results
    work = [result.workload for result in results]
    devices = tuple(dict.fromkeys(w.device for w in work))
    grids = [name for name in GRIDS if set(workloads(name, {"device": devices})) == set(work)]
    axes: dict[str, Iterable[Any]] = {"--grid": grids[:1]} if grids else _axes(work)
    axes |= {
        "--device": devices,
        "--threads": (result.threads for result in results),
        "--phase": (result.phase for result in results),
        "--implementation": (r.implementation for r in results if not r.is_another_network),
        "--against": (r.cell for r in results if r.is_another_network),
    }
    passes = max((len(result.passes) for result in results), default=0)
    more = [("--passes", str(passes))] if passes else []
    more += [("--advise", "")] if run.tried else []
    joined = [(flag, _joined(values)) for flag, values in axes.items()]
    return [option for option in joined if option[1]] + more


def _axes(work: Sequence[Workload]) -> dict[str, Iterable[Any]]:
    """What varies from one workload to another, by the option that says it."""
    return {
        "--cell": (w.cell for w in work),
        "--layers": (w.layers for w in work),
        "--batch": (w.batch_size for w in work),
        "--length": (w.seq_len for w in work),
        "--hidden": (_sizes(w) for w in work),
        "--input": (w.input_size for w in work),
        "--bidirectional": ("yes" if w.bidirectional else "no" for w in work),
        **{flag: _options(work, name) for name, flag in OF_OPTIONS.items()},
        "--dtype": (w.dtype for w in work),
    }


def _options(work: Sequence[Workload], name: str) -> Iterable[str]:
    """What an option of torch's modules is in each; nothing where nobody asked for another value than torch's own."""
    values = [getattr(w, name) for w in work]
    if set(values) == {PLAIN[name]}:
        return ()
    return ({True: "yes", False: "no"}[v] if isinstance(v, bool) else f"{v:g}" for v in values)


def _gradflow(study: Flows) -> Options | None:
    reached = {reach.network for reach in study.reaches}
    networks = [network for network in study.networks if network.name in reached]
    described = _networks(networks)
    if described is None:
        return None
    lengths = dict.fromkeys(result.length for result in study.lengths)
    asked = dict.fromkeys(each.clip for each in study.lengths or study.reaches)
    return [
        *described,
        *([("--lengths", _joined(lengths))] if lengths else []),
        *(("--clip", clip) for clip in asked),
        ("--loss", study.loss),
        *_machine(networks[0], study.seed, study.environment.threads),
    ]


def _spectrum(study: SpectrumStudy) -> Options | None:
    measured = {result.network for result in study.results}
    networks = [network for network in study.networks if network.name in measured]
    described = _networks(networks)
    if described is None:
        return None
    settings = study.settings
    drives = dict.fromkeys(result.drive for result in study.results)
    gains = study.curves[0].gains if study.curves else ()
    over = _joined(gains) or "none"
    if study.curves and _is_of_another_size(study, networks[0]):
        described = [option for option in described if option[0] != "--hidden"]  # which would be that of both
    return [
        *described,
        *([("--gains", over)] if gains or len(networks) > 1 else []),
        *([("--drive", next(iter(drives)))] if len(drives) == 1 and "given" not in drives else []),
        *([("--k", str(settings.k))] if settings.k is not None else []),
        *([("--lags", _joined(settings.lags))] if settings.lags is not None else []),
        *([("--warm-up", str(settings.warm_up))] if settings.warm_up is not None else []),
        ("--qr-every", str(settings.qr_every)),
        *_machine(networks[0], study.seed, study.environment.threads),
    ]


def _is_of_another_size(study: SpectrumStudy, network: NetworkRecord) -> bool:
    """Whether the network over gains is larger or smaller."""
    swept = {each.name: each for each in study.networks}[study.curves[0].network]
    sizes = [each.workload.hidden_size for each in (swept, network) if each.workload]
    return len(set(sizes)) > 1


def _networks(networks: Sequence[NetworkRecord]) -> Options | None:
    """The textbook's by their sizes alone; others by how they start, and somebody's model by its factory."""
    first = networks[0]
    if first.workload is None:
        if len(networks) > 1 or ":" not in first.name:
            return None
        made = [("--batch", str(first.batch_size)), ("--length", str(first.seq_len))]
        return [("--model", first.name), *(made if first.input is None else [])]
    starts = {(network.init, network.gain, network.forget_bias) for network in networks}
    described: Options = []
    if len(starts) == 1:
        described.append(("--cell", _joined(n.workload.cell for n in networks if n.workload)))
        described += [("--init", str(first.init))] if first.init != "default" else []
        described += [("--gain", _number(first.gain))] if first.gain not in (None, 1.0) else []
        described += [("--forget-bias", _number(first.forget_bias))] if first.forget_bias is not None else []
    return described + _of_workload(first.workload)


def _of_workload(work: Workload) -> Options:
    return [
        ("--hidden", _sizes(work)),
        ("--layers", str(work.layers)),
        ("--input", str(work.input_size)),
        *([("--bidirectional", "")] if work.bidirectional else []),
        ("--batch", str(work.batch_size)),
        ("--length", str(work.seq_len)),
    ]


def _machine(network: NetworkRecord, seed: int, threads: int) -> Options:
    work = network.workload
    where = [("--dtype", work.dtype), ("--device", work.device)] if work else []
    return [*where, ("--seed", str(seed)), ("--threads", str(threads))]


def _why(why: Why) -> Options:
    """The workload, the phase, and whether other sizes were measured."""
    work = why.workload
    return [
        ("--cell", work.cell),
        ("--input", str(work.input_size)),
        ("--hidden", _sizes(work)),
        ("--layers", str(work.layers)),
        ("--batch", str(work.batch_size)),
        ("--length", str(work.seq_len)),
        *([("--bidirectional", "")] if work.bidirectional else []),
        ("--phase", why.phase),
        ("--dtype", work.dtype),
        ("--device", work.device),
        ("--seed", str(work.seed)),
        ("--threads", str(why.results[0].threads)),
        *([("--no-sizes", "")] if why.model is None else []),
        *([("--no-tries", "")] if not why.tried else []),
        *([("--calls", str(why.calls))] if why.calls is not None else []),
    ]


def _shapes(shapes: Shapes) -> Options:
    """Both forms of one network, or the walkthrough."""
    first = shapes.descriptions[0].configuration
    work = first.workload
    where = [("--dtype", work.dtype), ("--device", work.device), ("--seed", str(work.seed))]
    if len({description.configuration.replace(form="fused") for description in shapes.descriptions}) > 1:
        return where
    asked = {
        "--bidirectional": work.bidirectional,
        "--batch-first": work.batch_first,
        "--unbatched": not first.batched,
        "--no-bias": not work.bias,
    }
    return [
        ("--cell", work.cell),
        ("--input", str(work.input_size)),
        ("--hidden", _sizes(work)),
        ("--layers", str(work.layers)),
        *([("--batch", str(work.batch_size))] if first.batched else []),
        ("--length", str(work.seq_len)),
        *([("--proj-size", str(work.proj_size))] if work.proj_size else []),
        *((flag, "") for flag, given in asked.items() if given),
        *where,
    ]


def _forecast(study: Trainings) -> Options | None:
    """One network under some clips, or several cells of one setting; None for a preset of other variants."""
    settings = [run.setting for run in study.runs]
    cells = dict.fromkeys(setting.cell for setting in settings)
    clips = dict.fromkeys(setting.clip for setting in settings)
    seeds = list(dict.fromkeys(setting.seed for setting in settings))
    first = settings[0]
    product = {
        first.replace(cell=cell, clip=clip, seed=seed) for cell in cells for clip in clips for seed in seeds
    }
    if product != set(settings) or seeds != list(range(first.seed, first.seed + len(seeds))):
        return _preset(study, seeds)
    start = {"init": first.init, "gain": first.gain, "forget-bias": first.forget_bias}
    if first.init_std is not None:
        start = {"init-std": first.init_std}
    return [
        *((flag, _number(getattr(first, field))) for flag, field in COMMON.items()),
        ("--cell", _joined(cells)),
        *((f"--{name}", _number(value)) for name, value in start.items() if value is not None),
        *(("--clip", clip) for clip in clips),
        *_repeated(study, seeds),
    ]


def _learn(study: Learning) -> Options | None:
    """The textbook's networks, or some that start in one way, and how they were trained."""
    described = _networks(study.networks)
    if described is None:
        return None
    settings = study.settings
    decided = ("--input", "--length", "--batch")  # by the task, or below
    return [
        ("--task", settings.task),
        ("--delays", _joined(settings.delays)),
        *([("--every-delay", "")] if settings.every_delay else []),
        *(option for option in described if option[0] not in decided),
        ("--batch", str(settings.batch_size)),
        ("--seeds", str(settings.seeds)),
        ("--iterations", str(settings.iterations)),
        ("--lr", _number(settings.lr)),
        ("--clip", settings.clip),
        *_machine(study.networks[0], study.networks[0].seed, study.environment.threads),
    ]


def _advise(advice: Advice) -> Options:
    """As it was asked for."""
    return list(advice.asked.items())


def _sweep(sweep: Sweep) -> Options:
    """The job, its axes, and every other setting that has a value."""
    from unrolled.sweep.axis import typed

    over = {axis.name for axis in sweep.axes}
    base = sweep.grid.base.items()
    return [
        (sweep.job, ""),
        *(("--over", f"{axis.name}={','.join(map(typed, axis.values))}") for axis in sweep.axes),
        *(("--set", f"{name}={typed(v)}") for name, v in base if name not in over and v is not None),
        ("--seeds", str(sweep.grid.seeds)),
        ("--seed", str(sweep.grid.seed)),
    ]


def _parallel(study: Parallel) -> Options | None:
    """Networks that start in one way; None for the default ones and for a module that was given."""
    starts = {(network.init, network.gain, network.forget_bias) for network in study.networks}
    described = _networks(study.networks) if len(starts) == 1 else None
    if described is None:
        return None
    return [
        *(option for option in described if option[0] != "--length"),
        ("--lengths", _joined(study.lengths)),
        ("--tolerance", _number(study.tolerance)),
        *([("--limit", str(study.limit))] if study.limit else []),
        *_machine(study.networks[0], study.networks[0].seed, study.environment.threads),
    ]


def _preset(study: Trainings, seeds: Sequence[int]) -> Options | None:
    """The preset of which these are the variants, with what all of them have in common."""
    from unrolled.forecast.presets import PRESETS, variants

    settings = {run.setting for run in study.runs}
    first = study.runs[0].setting
    common = {field: getattr(first, field) for field in COMMON.values()}
    for name in PRESETS:
        if settings == set(variants(name, {**common, "seed": seeds[0]}, None, len(seeds))):
            options = [(flag, _number(common[field])) for flag, field in COMMON.items()]
            return [("--preset", name), *options, *_repeated(study, seeds)]
    return None


def _repeated(study: Trainings, seeds: Sequence[int]) -> Options:
    count = [("--seed", str(seeds[0])), ("--seeds", str(len(seeds)))]
    exponents = [("--exponents", str(study.exponents))] if study.exponents or study.truth else []
    return [*count, *exponents, ("--threads", str(study.environment.threads))]


def _number(value: Any) -> str:
    """With every digit, and text as it is."""
    return value if isinstance(value, str) else repr(value)


def _sizes(work: Workload) -> str:
    sizes = work.hidden_size if isinstance(work.hidden_size, tuple) else (work.hidden_size,)
    return "+".join(map(str, sizes))


def _joined(values: Iterable[Any]) -> str:
    """Each once, with commas."""
    return ",".join(dict.fromkeys(map(str, values)))


OPTIONS: dict[str, Callable[[Any], Options | None]] = {
    "bench": _bench,
    "why": _why,
    "gradflow": _gradflow,
    "spectrum": _spectrum,
    "shapes": _shapes,
    "learn": _learn,
    "sweep": _sweep,
    "parallel": _parallel,
    "advise": _advise,
    "forecast": _forecast,
}

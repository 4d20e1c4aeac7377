"""Finding: one thing to know, what it costs and what to try. Rule: what finds it, named once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Literal

Sure = Literal["measured", "derived", "guessed"]
"""measured: read off the recording; derived: computed from it by a rule or a model; guessed: likely, not certain."""
Topic = Literal["integrity", "trace", "run", "noise", "processes", "comparison", "sweep", "memory", "machine"]


@unique
class Rule(Enum):
    """Every rule that makes findings: (topic, what it finds in one line, its name for people where that differs).

    `id` is the name in documents, in kebab-case, and a promise: scripts look for it.
    """

    # what a trace asks caution for
    CLEAN = "integrity", "nothing in the trace asks for caution", ""
    READING = "integrity", "reading the file met something: it changed meanwhile, or its cache is of no use"
    TRUNCATED_FILE = "integrity", "the file ends in the middle"
    REPAIRED_JSON = "integrity", "the file's JSON is not valid and was mended to be read", "repaired JSON"
    REPAIRED_RANGES = "integrity", "ranges of the export were mended to be read"
    UNUSABLE_EVENTS = "integrity", "events could not be placed in time and are in no table"
    RESOLUTION = "integrity", "times are whole microseconds"
    NEGATIVE_DURATIONS = "integrity", "events end before they start"
    NO_LAUNCH = "integrity", "device events have no launch in the file"
    UNLINKED_NODES = "integrity", "backward nodes lead to no forward operation in the file"
    OUTSIDE_STEPS = "integrity", "device events were launched outside every step"
    CUT_STEPS = "integrity", "the first or last step did clearly less than the others"
    ZERO_DURATIONS = "integrity", "device events last 0 ns"
    OVERLAPPING = "integrity", "device events overlap the one before them on their stream"
    CROSSING_RANGES = "integrity", "host ranges neither nest nor stand apart"
    BACKWARD_RANGES = "integrity", "a range round a backward node and its sequence number name different modules"
    EXTERNAL_IDS = "integrity", "External ids repeat the correlation and are not used"
    SHARED_LAUNCHES = "integrity", "device events share a launch that is not that of a graph"
    CUDA_GRAPHS = "integrity", "device events ran in graphs and have the scope of the launch", "CUDA graphs"
    WHOLE_CUDA_GRAPHS = "integrity", "graph launches were recorded without their kernels", "whole CUDA graphs"
    STALE_EXPORT = "integrity", "the report beside an export is newer than the export"
    OUT_OF_RANGE = "integrity", "the profiler dropped records outside its window"
    PROFILER_OVERHEAD = "integrity", "the profiler paused the program"
    UNKNOWN_KERNELS = "integrity", "kernels have names of no known category"

    # what a trace holds
    TRACE_TOTALS = "trace", "how many steps, how much time, and how busy the device was"
    KERNEL_TOTALS = "trace", "how many kernels a whole file has, and their time"
    UNATTRIBUTED_TIME = "trace", "time has no scope, by the reasons for it"
    NO_MODULES = "trace", "no range names a module"
    MODULE_TREE_MISFIT = "trace", "the module tree that was given is not the trace's"
    PROVENANCE = "trace", "how much of what compiled graphs ran was led back to modules"
    PROVENANCE_UNAVAILABLE = "trace", "nothing of what compiled graphs ran could be led back to modules"
    BACKWARD_RANGES_AGREE = "trace", "ranges round backward nodes and sequence numbers name the same modules"

    # what a run says of itself
    WARMUP_TIMES = "run", "how long each warm-up step took"
    LITTLE_WARMUP = "run", "too few warm-up steps for a steady state"
    MEAN_PRECISION = "run", "how well the mean is known, and how many steps a better one would take"
    RANGE_COST = "run", "what the module ranges cost"
    PROBE_COST = "run", "what reading the counters costs"
    PROFILING_COST = "run", "how many times as long profiled steps take as plain ones"
    PROFILING_COST_UNKNOWN = "run", "there are no plain steps to hold the profiled ones against"

    # why step times vary, or are longer than they need be
    VARIANCE = "noise", "how far the steps spread, and what that comes from"
    WARMUP_UNFINISHED = "noise", "the first measured steps still warm up"
    LEVEL_SHIFT = "noise", "from some step on, all steps take another time"
    SLOW_STEPS = "noise", "single steps take longer than the others"
    FAST_STEPS = "noise", "single steps take less time than the others"
    PERIODIC_STEPS = "noise", "every k-th step takes longer, or less long"
    TWO_SPEEDS = "noise", "the steps run at two or three speeds"
    LOST_EVERY_STEP = "noise", "every step loses time to the same cause"
    DRIFT = "noise", "the steps get slower or faster from the first to the last"
    AUTOCORRELATION = "noise", "neighbouring steps are alike"
    MEMORY_SPILL = "noise", "GPU memory spilled into system memory"
    TOO_MANY_THREADS = "noise", "there are more threads than CPUs for them"

    # several processes
    CONFIGURATION = "processes", "what was measured"
    PROCESS_SPREAD = "processes", "what processes, and the steps of one, differ by"
    UNFINISHED_RUNS = "processes", "runs were left out because they did not finish"

    # A against B
    COMPARED_SIDE = "comparison", "what one side is"
    DIFFERENT_WORK = "comparison", "the sides do different work"
    DIFFERENT_PROFILERS = "comparison", "the sides ran under different profilers"
    PROFILED_SIDES = "comparison", "both sides ran under a profiler"
    UNMATCHED_CONFIGURATION = "comparison", "one side has a configuration that the other lacks"
    SHARED_PROCESS_SIDE = "comparison", "a side's runs were all in one process"
    FEW_PROCESSES = "comparison", "a side has so few processes that its interval is wide"
    COPIED_RECORDS = "comparison", "records are copies of each other"
    NOT_INTERLEAVED = "comparison", "the sides did not take turns"
    VERDICT = "comparison", "whether B is slower, faster or the same, with the interval"
    GATE = "comparison", "whether --fail-on passes"
    PER_STEP = "comparison", "counts and times are per step, because the traces have different numbers of them"
    NO_STEPS = "comparison", "one trace or both have no steps"
    DIFFERENT_DEVICES = "comparison", "the traces are of different devices"
    DIFFERENT_INSTRUMENTS = "comparison", "the traces are of different instruments, which record different things"
    UNMATCHED_BACKWARD_RANGES = "comparison", "one trace alone has ranges round backward nodes"
    KERNEL_SPELLING = "comparison", "the instruments spell kernel names differently"
    TABLE_AGREES = "comparison", "all rows of a table agree in both traces"
    TABLE_DISAGREES = "comparison", "rows of a table disagree between the traces"

    # a sweep
    SWEEP_OUTCOMES = "sweep", "how many results there are, by their outcome"
    SHARED_PROCESS = "sweep", "results share a process"

    # what memory a step takes
    PEAK_MEMORY = "memory", "the predicted peak, by both methods"
    PEAK_PLACES = "memory", "the two methods put the peak in different places"
    FIRST_STEP_MEMORY = "memory", "the first step needs less than the others"
    MEMORY_VERDICT = "memory", "whether the step fits"
    MEMORY_UNKNOWN = "memory", "there is no memory to compare with"
    NOTHING_TO_CHANGE = "memory", "the configuration fits as it is"
    NOTHING_FITS = "memory", "nothing that was tried fits"
    COMPILE_NOT_COVERED = "memory", "compiled steps need another amount than predicted"
    MEMORY_NOT_COUNTED = "memory", "what the prediction leaves out"

    # what a machine cannot measure
    NO_GPU = "machine", "PyTorch has no GPU"
    NO_NVML = "machine", "clocks, power and throttling cannot be read"
    NO_NSYS = "machine", "Nsight Systems is missing or gives no version"
    NO_NVTX = "machine", "NVTX ranges are switched off, or do not fit this nsys"
    NO_COMPILER = "machine", "torch.compile has no compiler"
    NO_TENSORBOARD = "machine", "TensorBoard or its profiler plugin is missing"
    MISSING_COUNTERS = "machine", "some counters that explain noise cannot be read"

    def __init__(self, topic: Topic, doc: str, title: str | None = None) -> None:
        self.topic = topic
        self.doc = doc
        self.title = self.id.replace("-", " ") if title is None else title

    @property
    def id(self) -> str:
        """The name in documents: `truncated-file`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row of the report's tables: the table, and the values by which the row is found in it."""

    table: str
    key: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What is at stake: time, and its share of the whole; None where that is not known, or not what it is about."""

    ns: int | None = None
    """A step; of a recording without steps, in all of it."""
    share: float | None = None


NO_COST = Cost()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know. The sentence is complete in itself; the other fields are for scripts and for ranking."""

    rule: Rule
    what: str
    """The sentence, with its numbers."""
    cost: Cost = NO_COST
    evidence: tuple[Evidence, ...] = ()
    """Where in the report's tables it can be seen."""
    advice: str = ""
    """What to try next: a flag, a setting, a command, fit to follow the word `try`; empty where there is nothing."""
    sure: Sure = "measured"
    where: str = ""
    """The scope, step, side or rank it is about; empty where it is about all."""

"""The profile: everything that one environment decides, as one validated YAML file under `resources/profiles/`.

A profile says *what* is computed (sources, thresholds, models, sampling, recipes, benchmarks) and *how* (endpoints, executor,
concurrency, memory). The two never mix: the `engine` and `execution` sections, `endpoints` and every path are execution and
never reach an identity (`humanllm_assets/lineage/nodes.py`); the rest is identity.

What belongs here: pydantic models of the YAML and `load_profile`. What does not: reading data, starting servers.
Defaults are the paper's values (HumanLLM, KDD 2026, sections 2.1-3.2); `local.yaml` relaxes some and says so in `notes`.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path, PurePath
from string import ascii_uppercase
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from resources.errors import Explained
from resources.sources import SOURCES, SourceName
from resources.strict import Strict, check_name
from resources.thresholds import Thresholds
from resources.yaml_text import YamlError, read_yaml

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PROFILES = Path(__file__).resolve().parent / "profiles"

PROFILE_SOURCES = tuple(name for name, facts in SOURCES.items() if facts.has_profiles)
SCENARIO_SOURCES = tuple(name for name, facts in SOURCES.items() if facts.has_scenarios)


class TaskFacts(NamedTuple):
    """What every stage knows of a task; what it asks stands in `humanllm_assets/tasks/<name>.py`. No part of an identity by itself."""

    title: str
    """Its column in the reports."""
    sources: tuple[str, ...]
    """Sources whose users it is made from."""
    choices: tuple[str, ...] = ()
    """Subtasks that a benchmark of the kind `choice` asks about."""


TASKS: dict[str, TaskFacts] = {  # in the order of the paper, T1-T6
    "profile_generation": TaskFacts("Profile Generation", PROFILE_SOURCES, ("profile",)),
    "scenario_generation": TaskFacts("Scenario Generation", SCENARIO_SOURCES, ("plots",)),
    "social_qa": TaskFacts("Social QA", SCENARIO_SOURCES, ("next_action", "mental_state", "social_reasoning")),
    "writing_imitation": TaskFacts("Writing Imitation", PROFILE_SOURCES, ("by_topic", "continuation")),
    "personalized_commenting": TaskFacts("Personalized Commenting", ("reddit_comments",)),
    "item_selection": TaskFacts("Item Selection", ("amazon",)),
}


TaskName = Annotated[str, AfterValidator(lambda name: check_name(name, "task", TASKS))]
RoleName = Literal["rewriter", "labeller", "synthesizer", "judge", "contestant", "application_judge"]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # names that become partition keys and folder names


def site_of(source: str) -> str:
    """The site whose user names a source shares: commenters are Reddit users, and have their profiles there."""
    return SOURCES[source].site


class ProfileError(Explained):
    """A profile that cannot be used; the message names the file, the field and the remedy."""


# ---- sources ---------------------------------------------------------------------------------------------------------


def _stay_inside(pattern: str) -> str:
    path = PurePath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(
            f"`{pattern}` leads out of the source's folder; name a file in it, and set `folder` to where the files are"
        )
    return pattern


_LEAST_MEMORY = 64_000_000  # bytes; less does not hold one row group


def _check_memory(size: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B", size, re.IGNORECASE)
    if not found:
        raise ValueError(f"`{size}` is no size of memory; write one such as 4GB or 512MiB")
    if float(found[1]) * (1024 if found[3] else 1000) ** ("KMGT".index(found[2].upper()) + 1) < _LEAST_MEMORY:
        raise ValueError(f"{size} is too little for a step; give 64MB or more")
    return size


MemorySize = Annotated[str, AfterValidator(_check_memory)]
FilePattern = Annotated[str, AfterValidator(_stay_inside)]
SubredditName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # without r/


class Slice(Strict):
    """One partition of a source: a subreddit, a Twitter shard group, a blog chunk, an Amazon category.

    `files`: the records (globs allowed). `context_files`: Amazon's item metadata; no other source has any. Relative names are taken from the source's folder. `subreddits`: of files that hold more, as the monthly
    dumps of all of Reddit do, only these belong to the slice (upper and lower case are one); every slice reads its files whole, so
    few slices of many subreddits are faster than many of one.
    """

    files: list[FilePattern] = Field(min_length=1)
    context_files: list[FilePattern] = []
    subreddits: list[SubredditName] = []


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


Time = Annotated[datetime, AfterValidator(_utc)]  # UTC, without a zone


class Source(Strict):
    """One source of records: a folder (`~` and `${VARIABLES}` allowed) and its slices by name.

    `from`, `until`: only records of this time belong to the source: from the first moment on, and before the second. A date is its
    beginning, times are UTC.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    folder: str
    slices: dict[Key, Slice] = Field(min_length=1)
    start: Time | None = Field(default=None, alias="from")
    end: Time | None = Field(default=None, alias="until")

    @model_validator(mode="after")
    def _ordered(self) -> Source:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("`from` must be earlier than `until`")
        return self

    def selection(self, slice_name: str) -> dict[str, Any]:
        """What of a slice's rows belongs to it, as plain data for its identity; empty when all do."""
        subreddits = sorted({name.lower() for name in self.slices[slice_name].subreddits})
        times = {"from": self.start, "until": self.end}
        return ({"subreddits": subreddits} if subreddits else {}) | {k: t.isoformat() for k, t in times.items() if t}


# ---- models and roles ------------------------------------------------------------------------------------------------


class Model(Strict):
    """A model by name and revision (identity), where this environment finds it and how its servers are asked (execution).

    Exactly one of `path` (folder with safetensors), `package` (a Python package that carries a GGUF file) or `endpoints`
    (given OpenAI-compatible servers; the model is then never loaded here) must be set. `path` may also accompany
    `endpoints`, for its tokenizer. `chat_template_arguments` are what the model's chat template is rendered with besides the
    messages, when it is asked and when it is trained (identity); a model trained from it inherits them. Qwen3 thinks unless it
    gets `enable_thinking: false`.

    endpoints: a server, the base of an API as its documentation prints it, or the whole address of its chat completions.
    api_key_env: name of the environment variable that holds the endpoints' key; the key itself stands in no file.
    dialect: which fields the endpoints know. `vllm` knows all that a role can say; `openai` has no `repetition_penalty` and no
    chat-template arguments: a role or model that needs them is refused there, because its answers would not be what it says.
    server_args: extra arguments of a locally started `vllm serve`, after those of `engine.server_args`; a model trained from it
    inherits them. Prices, where given, stand in place of the engine's.
    """

    name: str
    revision: str
    path: str | None = None
    package: str | None = None
    endpoints: tuple[str, ...] = ()
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    dialect: Literal["vllm", "openai"] = "vllm"
    max_model_len: int = 8192
    server_args: tuple[str, ...] = ()
    chat_template_arguments: dict[str, bool | int | str] = {}
    price_per_million_input: float | None = Field(default=None, ge=0)
    price_per_million_output: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _somewhere(self) -> Model:
        if not (self.path or self.package or self.endpoints):
            raise ValueError("give the model a `path`, a `package` or `endpoints`")
        if not self.endpoints and (self.api_key_env or self.dialect != "vllm"):
            raise ValueError("`api_key_env` and `dialect` are about `endpoints`; give the model some, or remove them")
        if any(not url.startswith(("http://", "https://", "${")) for url in self.endpoints):
            raise ValueError("`endpoints` are addresses that begin with http:// or https://")
        if self.api_key_env and any("@" in url.partition("//")[2].partition("/")[0] for url in self.endpoints):
            raise ValueError("give either `api_key_env` or a user in the address of `endpoints`")
        if self.dialect == "openai" and self.chat_template_arguments:
            raise ValueError(
                "servers of the dialect `openai` take no `chat_template_arguments`; remove them, or set `dialect: vllm`"
            )
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """Name and revision, and the chat-template arguments where there are any."""
        identity: dict[str, Any] = {"name": self.name, "revision": self.revision}
        return identity | ({"chat_template_arguments": self.chat_template_arguments} if self.chat_template_arguments else {})

    def trained(self, name: str, revision: str, folder: Path) -> Model:
        """A model that was trained from this one: its own name and weights, served and asked as this one is."""
        inherited = {field: getattr(self, field) for field in ("max_model_len", "server_args", "chat_template_arguments")}
        return Model(name=name, revision=revision, path=str(folder), **inherited)


class Role(Strict):
    """Which model plays a role, and how it samples. All of it is identity."""

    model: Key
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    repetition_penalty: float = 1.0  # of tokens in the prompt too: not for what copies a text
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)  # of tokens that the answer has already, each time
    max_tokens: int = 1024
    max_input_tokens: int = 6144  # user text beyond this is cut, from the oldest record
    # A decoder closes every text of an answer here, and the answer counts as cut off; null = `max_tokens` alone ends it. Larger
    # bounds make a server's every token many times slower.
    max_field_chars: int | None = Field(default=None, ge=1, le=4000)
    seed: int = 0
    attempts: int = 3  # a cut-off or invalid reply is asked again this often in all, with a larger budget and another seed

    def sampling(self) -> dict[str, Any]:
        """Everything of the role but its model; all of it is identity."""
        return self.model_dump(exclude={"model"})


class Engine(Strict):
    """How answers are got. Execution only: never part of an identity."""

    concurrency: int = 256  # requests in flight over all endpoints
    timeout_s: float = 3600  # of one request, its time in the server's queue included
    patience_s: float = Field(default=300, ge=0)  # how long failures that may pass are waited for before a step stops
    server_args: list[str] = []  # extra arguments of a locally started `vllm serve`
    server_env: dict[str, str] = {}
    start_timeout_s: float = 900
    idle_stop_s: float = 300
    max_local_servers: int = 1
    port: int | None = None  # null: any free port
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0

    def cost(self, input_tokens: float, output_tokens: float, model: Model | None = None) -> float:
        """Money for so many tokens of a model, in the currency of the prices: the model's own, else the engine's."""
        price_in, price_out = self.price_per_million_input, self.price_per_million_output
        if model and model.price_per_million_input is not None:
            price_in = model.price_per_million_input
        if model and model.price_per_million_output is not None:
            price_out = model.price_per_million_output
        return (input_tokens * price_in + output_tokens * price_out) / 1e6


# ---- training and evaluation -----------------------------------------------------------------------------------------


TEMPLATE_DATE = date(2024, 7, 26)  # what Llama 3.1's template writes where nothing else is said


class Hyperparameters(Strict):
    """M2, section 3.2. `warmup_ratio` 0.5 is the paper's printed value; its released code has 0.05."""

    learning_rate: float = Field(default=5e-6, gt=0)
    batch_size: int = Field(default=64, ge=1)
    max_length: int = Field(default=8192, ge=2)
    epochs: float = Field(default=3, gt=0)
    warmup_ratio: float = Field(default=0.5, ge=0, lt=1)  # of all steps
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)  # 0 = gradients are not clipped
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    seed: int = 42
    max_steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _take_effect(self) -> Hyperparameters:
        if self.scheduler == "constant" and self.warmup_ratio:
            raise ValueError(
                f"`scheduler: constant` has no warm-up, so `warmup_ratio: {self.warmup_ratio:g}` would have no effect; "
                "write `warmup_ratio: 0`, or take `linear` or `cosine`"
            )
        if self.max_steps == 1 and self.warmup_ratio:
            raise ValueError(
                "the only step of `max_steps: 1` would be one of warm-up, with the learning rate 0; write `warmup_ratio: 0`"
            )
        return self

    def warmup_steps(self, steps: int) -> int:
        """Steps of warm-up among all `steps`; the first has the learning rate 0."""
        return math.ceil(steps * self.warmup_ratio)


class ExternalData(Strict):
    """Conversations mixed into the training data (ablation A2: SmolTalk, Orca), a JSON object per line. `share` is of the final
    data set. Layouts: ShareGPT (`conversations`), `messages`, Orca (`question`, `response`, perhaps `system_prompt`)."""

    name: Key
    path: str
    revision: str
    share: float = Field(gt=0, lt=1)


def _name_once(names: list[str]) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"`{twice[0]}` is named twice, which has no effect; name it once")
    return names


Weight = Annotated[float, Field(gt=0)]
OWN_DATA = "humanllm"  # origin of the samples of `task_datasets`, beside the names of what is mixed in


class Recipe(Strict):
    """One `sft_checkpoint` partition: base model, task data sets, mixing, hyperparameters; M1-M3, A1-A3.

    template_date: the day given to a chat template that writes today's date, so that it decides no tokens; a model's
    `chat_template_arguments` (`date_string`) win over it, and are given to servers too.
    held_out: share of the users of the train split whose samples are not trained; the loss on them is printed.
    samples: how many samples, or raw records, are drawn by seed (T7: 1,195,717). They are shared out over the tasks, and those of a task over
    its sources, as evenly as there are any: what one has too few of, the others give. null: all that there are.
    task_weights, source_weights: of an uneven sharing; what is not named has the weight 1.
    max_tokens: of all epochs together, for trainings of equal compute (A1). Whole samples are left out, by seed, until it is kept.
    """

    base_model: Key
    objective: Literal["sft", "raw_continuation"] = "sft"  # raw_continuation is ablation A1
    tasks: Annotated[list[TaskName], AfterValidator(_name_once), Field(min_length=1)] = list(TASKS)
    sources: Annotated[list[SourceName], AfterValidator(_name_once), Field(min_length=1)] = list(SOURCES)
    mix: list[ExternalData] = []
    hyperparameters: Hyperparameters = Hyperparameters()
    template_date: date = TEMPLATE_DATE
    held_out: float = Field(default=0.005, ge=0, lt=1)
    samples: int | None = Field(default=None, ge=1)
    task_weights: dict[TaskName, Weight] = {}
    source_weights: dict[SourceName, Weight] = {}
    max_tokens: int | None = Field(default=None, ge=1)
    merge_weight: float = Field(0.5, gt=0, le=1)  # weight of the fine-tuned model in the linear merge; M3: 1:1

    @model_validator(mode="after")
    def _take_effect(self) -> Recipe:
        names = [OWN_DATA, *(external.name for external in self.mix)]
        if len(set(names)) < len(names) or sum(external.share for external in self.mix) >= 1:
            raise ValueError(f"the shares of `mix` must sum to less than 1, under distinct names other than {OWN_DATA}")
        of_tasks = (("tasks", self.tasks != list(TASKS)), ("mix", self.mix), ("task_weights", self.task_weights))
        idle = [name for name, given in of_tasks if given]
        if self.objective == "raw_continuation" and idle:
            raise ValueError(
                f"`{idle[0]}` has no effect with `objective: raw_continuation`, which trains on raw records; remove it"
            )
        if self.max_tokens and self.hyperparameters.epochs % 1:
            raise ValueError("`max_tokens` is shared out over whole epochs; make `epochs` a whole number, or remove it")
        if self.samples is None and (self.task_weights or self.source_weights):
            raise ValueError("weights have no effect without `samples`, the number that is shared out; give it, or remove them")
        for what, weights, used in (("task", self.task_weights, self.tasks), ("source", self.source_weights, self.sources)):
            if unused := [name for name in weights if name not in used]:
                raise ValueError(f"the weight of `{unused[0]}` has no effect, it is no {what} of the recipe; remove it")
        return self


class Launch(Strict):
    """How training is started. Execution only."""

    processes: int = Field(default=1, ge=1)
    micro_batch: int = Field(default=1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 2
    hostfile: str | None = None
    offload_optimizer: bool = False
    gradient_checkpointing: bool = False
    save_steps: int = Field(default=500, ge=1)
    cpu: bool = False
    threads: int = Field(default=0, ge=0)  # per process; 0 = library default

    @model_validator(mode="after")
    def _take_effect(self) -> Launch:
        if self.hostfile and self.processes != 1:
            raise ValueError("`processes` has no effect beside `hostfile`, whose slots are counted; remove one of them")
        if self.offload_optimizer and (self.cpu or not self.zero_stage):
            raise ValueError("`offload_optimizer` has no effect with `cpu: true` or `zero_stage: 0`; remove it")
        return self


class Contestant(Strict):
    """One model that is benchmarked: a base model, a merged recipe, or an external model (V5)."""

    model: Key | None = None
    recipe: Key | None = None

    @model_validator(mode="after")
    def _one(self) -> Contestant:
        if (self.model is None) == (self.recipe is None):
            raise ValueError("a contestant is either a `model` or a `recipe`")
        return self


class Distractor(Strict):
    """One of the writers of wrong options (V1): a role's sampling on a model, with a seed."""

    model: Key
    seed: int = 0
    temperature: float = 0.7


class Benchmark(Strict):
    """One `benchmark_items` partition."""

    kind: str  # a module of `humanllm_assets/evaluation/benchmarks/`, looked up when the graph is built
    task: TaskName | None = None  # what is asked about, for kinds made from task samples
    sources: list[SourceName] = []  # default: every source that the task has
    folder: str | None = None  # of a public benchmark's files
    subset: str | None = None  # which part of the benchmark; the kind says which there are
    max_items: int | None = None
    distractors: list[Distractor] = Field(default=[], max_length=len(ascii_uppercase) - 1)  # options are named by letters
    max_tokens: int = 16
    temperature: float = 0.0


class HumanCheck(Strict):
    """Q5: the folder with the annotators' scored sheets, CSV files (`~` and `${VARIABLES}` allowed)."""

    sheets: str


class Execution(Strict):
    """How steps run. Execution only."""

    executor: Literal["in_process", "multiprocess"] = "multiprocess"
    max_concurrent: int = Field(default=4, ge=1)
    duckdb_memory: MemorySize = "4GB"  # of each step
    duckdb_threads: int | None = Field(default=None, ge=1)
    require_clean_code: bool = False  # training and benchmarking refuse what was computed from uncommitted code


class Profile(Strict):
    """One environment: what is computed, with which models, and where. See this module for what of it is identity.

    Names that refer to each other (models, recipes, roles) are checked when it is loaded; all wrong ones are named at once.
    """

    name: str
    description: str
    notes: list[str] = []  # printed beside every number this profile produces
    sources: dict[SourceName, Source]
    thresholds: Thresholds = Thresholds()
    models: dict[Key, Model]
    roles: dict[RoleName, Role]
    recipes: dict[Key, Recipe]
    launch: dict[Key, Launch] = {}  # by base model; "default" for the rest
    contestants: dict[Key, Contestant]
    benchmarks: dict[Key, Benchmark]
    human_check: HumanCheck | None = None
    engine: Engine = Engine()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _references(self) -> Profile:
        wrong: list[str] = []

        def need(kind: str, key: str, known: Any, where: str) -> None:
            if key not in known:
                near = difflib.get_close_matches(key, list(known), 1)
                hint = f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(sorted(known))}"
                wrong.append(f"{where} names the {kind} `{key}`, which is not defined{hint}")

        for name, source in self.sources.items():
            if SOURCES[name].site != "reddit" and (split := [k for k, part in source.slices.items() if part.subreddits]):
                wrong.append(f"sources.{name}.slices.{split[0]} has `subreddits`, which only files of Reddit have; remove it")
        for name, role in self.roles.items():
            need("model", role.model, self.models, f"roles.{name}")
        for name, recipe in self.recipes.items():
            need("model", recipe.base_model, self.models, f"recipes.{name}")
        for name in self.launch.keys() - {"default"}:
            need("model", name, self.models, f"launch.{name}")
        for name, contestant in self.contestants.items():
            if contestant.model:
                need("model", contestant.model, self.models, f"contestants.{name}")
            if contestant.recipe:
                need("recipe", contestant.recipe, self.recipes, f"contestants.{name}")
        for name, benchmark in self.benchmarks.items():
            for d in benchmark.distractors:
                need("model", d.model, self.models, f"benchmarks.{name}.distractors")
        wrong += _check_slices(self.sources)
        for where, names in (
            ("calibration.sources", self.thresholds.calibration.sources),
            ("qc.kept_bands", self.thresholds.qc.kept_bands),
        ):
            for name in names:
                need("source", name, PROFILE_SOURCES, f"thresholds.{where}")
        for role in ("rewriter", "labeller", "synthesizer", "judge", "contestant"):
            if role not in self.roles:
                wrong.append(f"roles.{role} is missing")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def launch_for(self, base_model: str) -> Launch:
        """How training from a base model is started: its own entry, else `default`, else the class's defaults."""
        return self.launch.get(base_model) or self.launch.get("default") or Launch()


def _check_slices(sources: Mapping[str, Source]) -> list[str]:
    """What is wrong with slices that answer those of another source, or that have files which nothing reads."""
    wrong: list[str] = []
    for source, given in sources.items():
        facts, posts = SOURCES[source], SOURCES[source].answers
        known = sources[posts].slices if posts and posts in sources else {}
        for name, files in given.slices.items():
            where = f"sources.{source}.slices.{name}"
            if posts and name not in known:
                wrong.append(
                    f"{where} answers the slice `{name}` of {posts}, which is not declared; add sources.{posts}.slices.{name} "
                    "with the files of the posts, or remove it"
                )
            if files.context_files and not facts.has_context:
                instead = f"; the posts come from sources.{posts}.slices.{name}" if posts else ""
                wrong.append(
                    f"{where}.context_files is read by nobody: records of {source} have no context files; remove it{instead}"
                )
    return wrong


_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def _expand(node: Any, unset: set[str]) -> Any:
    """Fill `${NAME}` and `${NAME:-default}` from the environment. A name without default stays as it is written."""
    if isinstance(node, str):

        def value(m: re.Match[str]) -> str:
            if m[1] in os.environ:
                return os.environ[m[1]]
            if m[2] is not None:
                return m[2]
            unset.add(m[1])
            return m[0]

        return _VARIABLE.sub(value, node)
    if isinstance(node, dict):
        return {k: _expand(v, unset) for k, v in node.items()}
    if isinstance(node, list):
        return [_expand(v, unset) for v in node]
    return node


def profile_path(name: str) -> Path:
    """The YAML of a profile: a name under `resources/profiles/` or a path to a file."""
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise ProfileError(
            f"profile `{name}` does not exist (looked for {path}); set HUMANLLM_PROFILE to one of: {known}, or to the path of a YAML file"
        )
    return path


def parse_profile(text: str, origin: str) -> Profile:
    """Validate a profile's YAML text.

    Raises:
        ProfileError: one line per problem, each with the field's path, what is wrong and, for an unknown key, the nearest
            known one.
    """
    try:
        raw = read_yaml(text, own=False)
    except YamlError as e:
        raise ProfileError(f"{origin} {e}") from e
    if not isinstance(raw, dict):
        raise ProfileError(f"{origin} must hold a mapping; see resources/profiles/local.yaml for an example")
    unset: set[str] = set()
    try:
        return Profile.model_validate(_expand(raw, unset))
    except ValidationError as e:
        lines = [f"  {'.'.join(map(str, p['loc'])) or 'profile'}: {_explain(p)}" for p in e.errors()]
        raise ProfileError(f"{origin} cannot be used:\n" + "\n".join(lines)) from e


def _explain(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        near = difflib.get_close_matches(key, sorted(_all_fields()), 1)
        return f"unknown key `{key}`; " + (f"did you mean `{near[0]}`?" if near else "remove it")
    return str(problem["msg"]).removeprefix("Value error, ")


def _all_fields() -> set[str]:
    return {field.alias or name for c in Strict.__subclasses__() for name, field in c.model_fields.items()}


def load_profile(name: str | None = None) -> Profile:
    """Load the profile `name`, or the one that HUMANLLM_PROFILE names, or `local`.

    Raises:
        ProfileError: the profile does not exist or does not validate.
    """
    path = profile_path(name or os.environ.get("HUMANLLM_PROFILE") or "local")
    return parse_profile(path.read_text(encoding="utf-8"), str(path))


def resolve_path(value: str) -> Path:
    """A path of a profile: `~` expanded, relative ones taken from the project's root.

    Raises:
        ProfileError: the value still holds an unset `${VARIABLE}`.
    """
    if m := _VARIABLE.search(value):
        raise ProfileError(
            f"the profile's path `{value}` needs the environment variable {m[1]}; set it, for example: export {m[1]}=/path"
        )
    path = Path(value).expanduser()
    return path if path.is_absolute() else PROJECT_ROOT / path

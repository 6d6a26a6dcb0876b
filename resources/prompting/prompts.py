"""Prompt templates: one Markdown file per LLM call under `prompts/`, read here.

A file starts with YAML front matter (`name`, `role`, `schema`, `description`), then has one `## system`, `## user` or
`## assistant` heading per message. Bodies are jinja2 with StrictUndefined. `schema` is `text` or `module:Class` (dots may
lead further, `module:OBJECT.attribute`), a pydantic model of the answer.

User text is data: whatever closing tag the template itself uses as a delimiter (`</record>`) is broken in every value that
is filled in, so that a text cannot end its own delimiters.

What belongs here: loading, rendering and the identity of a prompt, and the JSON schema of an answer. What does not: asking.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import operator
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import jinja2
from pydantic import BaseModel

from resources.canonical import canonical_json
from resources.errors import Explained
from resources.profile import PROJECT_ROOT, RoleName
from resources.yaml_text import YamlError, read_yaml

PROMPTS = PROJECT_ROOT / "prompts"
_FIELDS = {"name", "role", "schema", "description"}
_FRONT = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.S)
_HEADING = re.compile(r"^## (system|user|assistant)[ \t]*$", re.M)
_CLOSING = re.compile(r"</([A-Za-z][\w-]*)")


class PromptError(Explained):
    """A prompt file that cannot be used or a value that is missing; the message names the file and the remedy."""


def json_schema(schema: type[BaseModel], max_field_chars: int | None = None) -> dict[str, Any]:
    """The JSON schema of an answer as it is sent to a server.

    Titles and descriptions are left out: servers ignore them, and rewording a docstring must not change an identity. With
    `max_field_chars` every string gets a `maxLength` of at most that, and never one below its `minLength`.
    """

    def clean(node: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("title", "description", "default", "examples"):
                continue
            if key in ("properties", "$defs"):
                out[key] = {name: clean(child) for name, child in value.items()}
            elif key in ("anyOf", "allOf", "oneOf", "prefixItems"):
                out[key] = [clean(child) for child in value]
            elif isinstance(value, dict) and key in ("items", "additionalProperties"):
                out[key] = clean(value)
            else:
                out[key] = value
        if max_field_chars and out.get("type") == "string" and "enum" not in out and "const" not in out:
            out["maxLength"] = max(out.get("minLength", 0), min(out.get("maxLength", max_field_chars), max_field_chars))
        return out

    return clean(schema.model_json_schema())


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt. `text` is the body with line ends and trailing blanks normalised."""

    name: str
    role: RoleName
    description: str
    schema_name: str
    text: str

    @classmethod
    def load(cls, name: str, folder: Path = PROMPTS) -> Prompt:
        """Read `<folder>/<name>.md`.

        Raises:
            PromptError: no such file, bad front matter, no `## user` message, or a template that jinja2 cannot parse.
        """
        path = folder / f"{name}.md"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.md"))) or "none"
            raise PromptError(f"the prompt `{name}` does not exist in {folder}; known prompts: {known}")
        return cls._parse(name, path, path.read_text(encoding="utf-8"))

    @classmethod
    @functools.cache  # by content: an edited file is noticed, and a plan of hundreds of partitions parses each prompt once
    def _parse(cls, name: str, path: Path, content: str) -> Prompt:
        match = _FRONT.match(content.replace("\r\n", "\n"))
        if not match:
            raise PromptError(
                f"{path} must start with front matter between two lines `---` that names {', '.join(sorted(_FIELDS))}"
            )
        try:
            front = read_yaml(match[1])
        except YamlError as e:
            raise PromptError(f"the front matter of {path} {e}") from e
        if not isinstance(front, dict) or set(front) != _FIELDS:
            raise PromptError(f"the front matter of {path} must have exactly the fields {', '.join(sorted(_FIELDS))}")
        if front["name"] != name:
            raise PromptError(f"{path} calls itself `{front['name']}`; name it like its file, `{name}`")
        if front["role"] not in get_args(RoleName):
            raise PromptError(f"{path} names the role `{front['role']}`; use one of {', '.join(get_args(RoleName))}")
        text = "\n".join(line.rstrip() for line in match[2].splitlines()).strip() + "\n"
        prompt = cls(name, front["role"], str(front["description"]), str(front["schema"]), text)
        try:
            roles = [role for role, _ in prompt._templates]
        except jinja2.TemplateSyntaxError as e:
            raise PromptError(f"{path}: the template cannot be parsed: {e.message} (line {e.lineno} of its message)") from e
        if "user" not in roles:
            raise PromptError(f"{path} has no `## user` message; add one")
        return prompt

    @cached_property
    def _templates(self) -> list[tuple[str, jinja2.Template]]:
        tags = sorted(set(_CLOSING.findall(self.text)))
        closing = re.compile(rf"<(\s*/\s*(?:{'|'.join(tags)})\b)", re.I) if tags else None

        def as_data(value: Any) -> Any:
            return closing.sub(r"< \1", value) if closing and isinstance(value, str) else value

        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, finalize=as_data, autoescape=False)
        parts = _HEADING.split(self.text)
        if parts[0].strip():
            raise PromptError(
                f"the prompt `{self.name}` has text before its first `## system` or `## user` heading; move it below"
            )
        return [(role, environment.from_string(body.strip())) for role, body in zip(parts[1::2], parts[2::2], strict=True)]

    def render(self, **values: Any) -> tuple[tuple[str, str], ...]:
        """The messages, as (role, content).

        Raises:
            PromptError: a value that the template uses is not given.
        """
        try:
            return tuple((role, template.render(**values).strip()) for role, template in self._templates)
        except jinja2.UndefinedError as e:
            raise PromptError(
                f"the prompt `{self.name}` cannot be rendered: {e.message}; given: {', '.join(sorted(values))}"
            ) from e

    @cached_property
    def schema(self) -> type[BaseModel] | None:
        """The pydantic model of the answer, or None for free text.

        Raises:
            PromptError: the front matter names something that is not a pydantic model.
        """
        if self.schema_name == "text":
            return None
        module, _, attribute = self.schema_name.partition(":")
        try:
            found = operator.attrgetter(attribute)(importlib.import_module(module))
        except (ImportError, AttributeError, ValueError) as e:
            raise PromptError(
                f"the prompt `{self.name}` names the schema `{self.schema_name}`, which cannot be loaded: {e}"
            ) from e
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            raise PromptError(f"the prompt `{self.name}` names `{self.schema_name}`, which is not a pydantic model")
        return found

    @cached_property
    def identity(self) -> dict[str, str | None]:
        """What makes answers to this prompt stale when it changes: the name, the text's sha256, and the answer's JSON schema."""
        schema = canonical_json(json_schema(self.schema)).decode() if self.schema else None
        return {"name": self.name, "text_sha256": hashlib.sha256(self.text.encode()).hexdigest(), "schema": schema}

"""The whole configuration: one frozen dataclass of sections, a sentence per field, and its fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

from pydantic import ConfigDict

from pipeline.config.audit import AuditConfig
from pipeline.config.clips import ClipConfig, DuplicateConfig, ShardConfig, SplitConfig
from pipeline.config.curate import ClassifierConfig, DecisionConfig, LabelConfig
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.engine import EngineConfig
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.renamed import with_first_names
from pipeline.config.section import Section
from pipeline.config.source import ArcadeConfig, DownloadConfig, RulesConfig, SourceConfig
from pipeline.config.tokens import TokensConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig, check_lam_window
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run of the graph can be told; the defaults are the `platformers` preset."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    preset: str = "platformers"
    """Name of the preset that this configuration started from."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """Where videos come from."""
    arcade: ArcadeConfig = field(default_factory=ArcadeConfig)
    """What the embedded source records."""
    rules: RulesConfig = field(default_factory=RulesConfig)
    """Which search results are kept."""
    download: DownloadConfig = field(default_factory=DownloadConfig)
    """How videos are fetched."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """How items are spread over worker processes."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """What a clip is and how it is stored."""
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)
    """When two clips are near-duplicates."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How sources are divided into train, val and test."""
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    """What clips look like to a frozen network."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """How clips are chosen for labelling."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """The quality classifier."""
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    """How scores and flags become keep, drop or review."""
    audit: AuditConfig = field(default_factory=AuditConfig)
    """How a decision is audited."""
    shards: ShardConfig = field(default_factory=ShardConfig)
    """The training shards."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The video tokenizer."""
    latent_actions: LatentActionConfig = field(default_factory=LatentActionConfig)
    """The latent action model."""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """The dynamics model."""
    tokens: TokensConfig = field(default_factory=TokensConfig)
    """The token shards, which are made on request."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """What all training runs share."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the world model is measured."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """How the world is played."""

    def __post_init__(self) -> None:
        check_lam_window(self.latent_actions.window, self.dynamics.context)
        if self.dynamics.unseen_actions and self.latent_actions.update_every:
            raise UserError(
                f"dynamics.unseen_actions = {self.dynamics.unseen_actions}: which actions the footage shows is learned "
                f"once, and latent_actions.update_every = {self.latent_actions.update_every} changes them: set "
                "latent_actions.update_every = 0 with latent_actions.unquantized_steps above 0, or unseen_actions = 0"
            )
        context, window = self.dynamics.context, self.tokenizer.window
        if context > window and self.tokenizer.architecture != "vit":
            # a context of one frame would hold no action
            lower = f"lower dynamics.context to {window}, or " if window > 1 else ""
            raise UserError(
                f"dynamics.context = {context}: the tokenizer encodes at most tokenizer.window = {window} frames at "
                f"once: {lower}raise tokenizer.window to {context}"
            )


def fingerprint(*parts: object, length: int = 12) -> str:
    """Return a short hash of configuration sections and other JSON-able values: equal inputs, equal hash.

    A setting that was renamed enters under its first name, so that ids stay what they were.
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _plain(part: object) -> object:
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    values = dataclasses.asdict(part)
    return with_first_names(part.section_name, values) if isinstance(part, Section) else values

"""Configuration of the audits of a decision."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeInt

from pipeline.config.section import Count, Section


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Section, name="audit"):
    """How a decision is audited: which of its clips people rate afterwards (`lampworks label --audit`)."""

    kept: Count = 100
    """Kept clips to rate, a random sample: they give the precision of the set."""
    dropped: Count = 100
    """Dropped clips, and clips in review, to rate, more of those near the cut: with the kept ones they give the
    recall."""
    seed: NonNegativeInt = 0
    """Seed of both samples."""

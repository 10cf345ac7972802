"""Croissant (mlcommons.org/croissant): a data set's description for people and search engines."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote

import numpy as np

from repro.datasets.spec import SPLITS, ResolvedSpec
from repro.datasets.store import Dataset
from repro.files import sha256

TERMS = """
    arrayShape citeAs column equivalentProperty extract field fileObject fileProperty fileSet format
    includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex
    repeated replace samplingRate separator source subField transform
"""
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS.split()},
}
HDF5 = "application/x-hdf5"


def croissant(spec: ResolvedSpec, dataset: Dataset | None = None) -> dict:
    """Return the Croissant 1.1 description of a data set, as JSON-LD.

    Parameters
    ----------
    spec : ResolvedSpec
        The data set.
    dataset : Dataset, optional
        Its file; without one the description has no file, no checksum and no fields, since
        Croissant ties a field to a file. Reads the whole file for its SHA-256.
    """
    card = spec.card
    description = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"{spec.name}_{spec.preset}_{spec.experiment}",
        "description": f"{card.title}. {card.about}",
        "license": f"https://spdx.org/licenses/{card.licence}.html",
        "version": f"{spec.version}.0.0",
        "creator": {"@type": "sc:Organization", "name": "The repro authors"},
        "rai:dataCollection": f"{card.kind} by {spec.generator}",
        "rai:dataLimitations": [*card.limitations, *card.deviations],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": build_command(spec)},
        "identifier": spec.fingerprint,
    }
    if dataset is None:
        return description
    return {
        **description,
        "distribution": [_file_object(dataset)],
        "recordSet": [_splits(), _samples(spec, dataset)],
    }


def build_command(spec: ResolvedSpec) -> str:
    """Return the command that builds this data set, every choice spelt out."""
    choices = {**spec.parameters, **spec.counts}
    settings = [f"--set {key}={shlex.quote(_as_text(value))}" for key, value in choices.items()]
    return " ".join(
        [f"repro data build {spec.study} --preset {spec.preset} --seed {spec.seed}", *settings]
    )


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _file_object(dataset: Dataset) -> dict:
    return {
        "@type": "cr:FileObject",
        "@id": _identifier(dataset),
        "name": dataset.path.name,
        "contentUrl": _identifier(dataset),
        "contentSize": f"{dataset.path.stat().st_size} B",
        "encodingFormat": HDF5,
        "sha256": sha256(dataset.path),
    }


def _identifier(dataset: Dataset) -> str:
    """Return a file's name as a URL may hold it."""
    return quote(dataset.path.name)


def _splits() -> dict:
    urls = ["https://mlcommons.org/definitions/" + s for s in ("training", "validation", "test")]
    urls = [url + "_split" for url in urls]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "description": "What each value of `split` means.",
        "key": {"@id": "splits/code"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"splits/{name}",
                "name": name,
                "description": about,
                "dataType": kind,
            }
            for name, about, kind in (
                ("code", "the value of `split`", "sc:Integer"),
                ("name", "the split's name", "sc:Text"),
                ("url", "the split's definition", "sc:URL"),
            )
        ],
        "data": [
            {"splits/code": code, "splits/name": name, "splits/url": url}
            for code, (name, url) in enumerate(zip(SPLITS, urls, strict=True))
        ],
    }


def _samples(spec: ResolvedSpec, dataset: Dataset) -> dict:
    fields = [
        _field(dataset, name, v.dtype, v.shape, f"{v.about} [{v.unit}]" if v.unit else v.about)
        for name, v in spec.variables.items()
    ]
    split = _field(dataset, "split", "uint8", (), "the sample's split")
    split["references"] = {"field": {"@id": "splits/code"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": f"{spec.n_samples} samples: the first axis of every variable.",
        "field": [*fields, split],
    }


def _field(
    dataset: Dataset, name: str, dtype: str, shape: tuple[int, ...], description: str
) -> dict:
    field = {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": description,
        "dataType": _data_type(dtype),
        "source": {"fileObject": {"@id": _identifier(dataset)}, "extract": {"column": name}},
    }
    if shape:
        field |= {"isArray": True, "arrayShape": ",".join(map(str, shape))}
    return field


def _data_type(dtype: str) -> str:
    return "sc:Float" if np.dtype(dtype).kind == "f" else "sc:Integer"

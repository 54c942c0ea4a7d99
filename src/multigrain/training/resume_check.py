"""Is the run in a folder the one that is to be continued? Asked before anything of it is touched."""

from typing import Any

from multigrain.data.joint_store import JointStore
from multigrain.data.store import Store
from multigrain.errors import TrainingError
from multigrain.models.base import MultimodalModel
from multigrain.training.recipe import Recipe
from multigrain.training.run_folder import RunFolder


def text_encoder_facts(model: MultimodalModel) -> dict[str, Any]:
    """For run.json and results.json: which language model reads the text, and how many parameters are trained; empty without one."""
    if model.text_encoder is None:
        return {}
    reader = model.text_encoder.reader
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    facts = {"name": reader.source.name, "mode": reader.settings.mode, "sha256": reader.source.sha256}
    return {"text_encoder": facts, "trained_parameters": trained}


def check_resume(folder: RunFolder, recipe: Recipe, store: Store | JointStore, seed: int, model: MultimodalModel) -> None:
    """Checks that the run in a folder is the one that is to be continued.

    Raises:
        TrainingError: it is no run, or was started with another recipe, seed, language model or data set.
    """
    before, after = folder.recipe().decisive(), recipe.decisive()
    advice = "A run is resumed with what it was started with: `multigrain train --resume RUN` alone; or start it anew with --overwrite."
    for section in {**before, **after}:
        old, new = before.get(section, {}), after.get(section, {})
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                raise TrainingError(f"{folder.path} was started with {section}.{key} = {old.get(key)!r}, not {new.get(key)!r}. {advice}")
    info = folder.info()
    if info["seed"] != seed:
        raise TrainingError(f"{folder.path} was started with seed {info['seed']}, not {seed}. {advice}")
    encoder, was_encoder = text_encoder_facts(model).get("text_encoder", {}), info.get("text_encoder", {})
    if encoder.get("sha256") != was_encoder.get("sha256"):
        raise TrainingError(
            f"{folder.path} was started with the text encoder {was_encoder.get('name')!r}, content {str(was_encoder.get('sha256'))[:12]}, but what "
            f"{encoder.get('name')!r} names now has {str(encoder.get('sha256'))[:12]}: it has changed. Bring the old one back, or start the run "
            "anew with --overwrite."
        )
    if info["store_fingerprint"] != store.fingerprint:
        was, name, now = _changed_store(info, store)
        raise TrainingError(
            f"{folder.path} was started on a store with the fingerprint {was[:12]}..., but {name} now has {now[:12]}...: its content has changed. "
            "Bring the old store back, or start the run anew with --overwrite."
        )


def _changed_store(info: dict[str, Any], store: Store | JointStore) -> tuple[str, str, str]:
    """Of a store whose content is not what it was: the old fingerprint, where it is, and the new fingerprint."""
    former = {facts["name"]: facts["fingerprint"] for facts in info.get("stores", ())}
    for name, own in store.stores.items() if isinstance(store, JointStore) else ():
        if former.get(name, own.fingerprint) != own.fingerprint:
            return former[name], str(own), own.fingerprint
    return info["store_fingerprint"], str(store), store.fingerprint

"""Opening what a recipe names as its data: one store, or several as one."""

from multigrain.data.joint_store import JointStore, common_task
from multigrain.data.store import Store
from multigrain.schema import Task
from multigrain.training.recipe import Recipe


def open_data(recipe: Recipe) -> Store | JointStore:
    """The store, or the stores as one, with their common task as the recipe changes it.

    Raises:
        StoreError: there is no such store, or the stores do not go together.
        RecipeError: labels that do not fit the common task and are not mapped to it.
    """
    data, change = recipe.data, recipe.task
    if data.stores is None:
        assert data.store is not None
        return Store.open(data.store)
    stores = [Store.open(source.path) for source in data.stores]
    is_told = change.minimum is not None and change.maximum is not None and all(source.labels is not None for source in data.stores)
    base = Task() if is_told else common_task(data.stores, stores)
    return JointStore(data.stores, stores, change.apply(base), data.modalities)

"""That shapes in signatures are checked while tests run; without it a wrong one would be a comment."""

import importlib
import inspect

import pytest
import torch
from jaxtyping import TypeCheckError

from multigrain.losses import l1
from multigrain.schema import Task
from shape_checks import modules_with_shapes


def test_there_are_such_modules():
    assert {"multigrain.schema", "multigrain.losses", "multigrain.layers.attention", "multigrain.models.mcmut"} <= set(modules_with_shapes())


@pytest.mark.parametrize("name", modules_with_shapes())
def test_every_function_is_checked(name: str):
    module = importlib.import_module(name)
    own = [value for value in vars(module).values() if inspect.isfunction(value) and value.__module__ == name]
    classes = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == name]
    own += [value for one in classes for value in vars(one).values() if inspect.isfunction(value) and value.__qualname__.startswith(one.__qualname__)]
    assert [one.__qualname__ for one in own if one.__code__.co_filename == module.__file__ and not hasattr(one, "__wrapped__")] == []


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError):
        l1(Task(), torch.zeros(3, 1), torch.zeros(4, 1))

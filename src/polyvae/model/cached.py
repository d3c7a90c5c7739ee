"""Values that are computed once, unless gradients are asked for that the first look did not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import torch

Value = TypeVar("Value")


class cached(Generic[Value]):
    """`functools.cached_property` of a tensor: a value of `torch.no_grad` serves no later look that takes gradients."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached[Value]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> cached[Value] | Value:
        if instance is None:
            return self
        # Under its own name Python finds a value without asking here.
        name = self.name if torch.is_grad_enabled() else f"{self.name} without gradients"
        if name not in instance.__dict__:
            instance.__dict__[name] = self.function(instance)
        return instance.__dict__[name]
